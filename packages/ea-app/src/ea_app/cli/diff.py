"""`ea-app diff`."""

import argparse
import json
from pathlib import Path
from typing import Any

from ea_app.api.comparison import Comparison, Pixels, compare
from ea_app.cli.console import Console

_LONGEST = 60


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns 0 when the recorded frames are the same, 1 when they differ."""
    console = Console(quiet=arguments.quiet)
    first, second = (Path(name).expanduser() for name in (arguments.first, arguments.second))
    found = compare(first, second, pixels=arguments.pixels)
    if arguments.json:
        console.say(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return 0 if found.identical else 1
    for difference in found.differences:
        about = "" if difference.weight == "decides" else " (may change the last bits)"
        console.say(f"{difference.field}: {_shown(difference.first)} -> {_shown(difference.second)}{about}")
    if found.pixels is not None:
        console.say(_told(found.pixels))
    console.say(_verdict(found))
    return 0 if found.identical else 1


def _verdict(found: Comparison) -> str:
    deciding = [difference.field for difference in found.differences if difference.weight == "decides"]
    if found.identical:
        return "identical frames" + (", although these fields differ" if found.differences else "")
    if deciding:
        return f"the frames differ because of {', '.join(deciding)}"
    if found.differences:
        return "the frames differ; the request is the same, and the machine or the versions are not"
    return "the frames differ although all fields are the same: a step that does not repeat itself"


def _told(pixels: Pixels) -> str:
    if pixels["first"] is None:
        return "pixels: the files show the same"
    share = f"{pixels['changed']:.0%} of the frames, from frame {pixels['first']} on"
    return (
        f"pixels: at most {pixels['largest']} of 255, mean {pixels['mean']:g}, {pixels['psnr']} dB; {share}"
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
