"""Write the measured figures into a model card: `python benchmarks/model_card.py`.

The table between the two marker lines is made from `results/*.json`; everything else is left as it is.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry import BENCHMARKS
from report import RESULTS

CARD = Path(__file__).parents[1] / "packages/ea-app/src/ea_app/assets/default/model_card.md"
FIRST, LAST = "<!-- figures -->", "<!-- end of figures -->"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _decibel(value: float) -> str:
    return f"{value:.1f} dB"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _yes(value: float) -> str:
    return "yes" if value == 1 else "no"


ROWS: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("prompt_following", "colour", "colour of held-out prompts", _percent),
    ("prompt_following", "shape", "shape of held-out prompts", _percent),
    ("prompt_following", "motion", "motion of held-out prompts", _percent),
    ("image_to_video", "first_frame_psnr", "first frame given: PSNR (median)", _decibel),
    ("image_to_video", "motion", "first frame given: the motion happens", _percent),
    ("image_to_video", "both_ends_first_psnr", "both ends given: first frame", _decibel),
    ("image_to_video", "both_ends_last_psnr", "both ends given: last frame", _decibel),
    ("vae_reconstruction", "psnr", "autoencoder, held-out scenes: PSNR", _decibel),
    ("vae_reconstruction", "ssim", "autoencoder, held-out scenes: SSIM", lambda value: f"{value:.3f}"),
    ("cold_start", "seconds_64x64x17", "command to file, new process, 64x64x17, 25 steps", _seconds),
    ("cold_start", "seconds_128x128x17", "the same at 128x128x17", _seconds),
    ("cold_start", "help_seconds", "`ea-app --help`", lambda value: f"{value:.2f} s"),
    ("cold_start", "identical_twice", "the same request twice: identical frames", _yes),
    ("cold_start", "identical_replay", "`replay`: identical frames", _yes),
)
"""Benchmark, figure, words, and how the number is written."""


def table(results: Path) -> str:
    """The rows of every figure, with its bar and whether it is reached."""
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    for name, figure, words, write in ROWS:
        bar = next(bar for bar in BENCHMARKS[name].bars if bar.figure == figure)
        limit = bar.least if bar.least is not None else bar.most
        assert limit is not None
        wanted = "yes" if write is _yes else f"{'≥' if bar.least is not None else '≤'} {write(limit)}"
        value = _figures(results / f"{name}.json").get(figure)
        if value is None:
            lines.append(f"| {words} | {wanted} | not measured | |")
        else:
            verdict = "reached" if bar.passed(value) else "missed"
            lines.append(f"| {words} | {wanted} | {write(value)} | {verdict} |")
    return "\n".join(lines)


def rewrite(card: str, rows: str) -> str:
    """The card with another table between its markers.

    Raises:
        ValueError: The card lacks a marker.
    """
    before, first, rest = card.partition(FIRST)
    _, last, after = rest.partition(LAST)
    if not first or not last:
        raise ValueError(f"the card has no {FIRST!r} followed by {LAST!r}")
    return f"{before}{FIRST}\n{rows}\n{LAST}{after}"


def _figures(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}


def main() -> int:
    """Exit code 0, or 2 when the card cannot be rewritten."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", type=Path, default=CARD, help="model card [default: the bundled model's]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    try:
        text = rewrite(arguments.card.read_text(encoding="utf-8"), table(arguments.results))
    except (ValueError, OSError) as error:
        print(f"model_card: error: {error}", file=sys.stderr)
        return 2
    arguments.card.write_text(text, encoding="utf-8")
    print(f"wrote {arguments.card}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
