"""Write the measured figures into a model card: `python benchmarks/model_card.py [--model default-control]`.

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

ASSETS = Path(__file__).parents[1] / "packages/ea-app/src/ea_app/assets"
FIRST, LAST = "<!-- figures -->", "<!-- end of figures -->"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _decibel(value: float) -> str:
    return f"{value:.1f} dB"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _yes(value: float) -> str:
    return "yes" if value == 1 else "no"


def _pixels(value: float) -> str:
    return f"{value:.1f} pixels"


Row = tuple[str, str, str, Callable[[float], str]]
"""Benchmark, figure, words, and how the number is written."""

ROWS: tuple[Row, ...] = (
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
CONTROL_ROWS: tuple[Row, ...] = (
    ("control_following", "edge_f1", "edges given: F1, one pixel off allowed", _percent),
    ("control_following", "edge_f1_shuffled", "the same clips against edges of other scenes", _percent),
    ("control_following", "edge_f1_none", "no edges given", _percent),
    ("control_following", "trajectory_pixels", "trajectory given: mean distance at 64x64", _pixels),
    ("control_following", "trajectory_pixels_shuffled", "the same clips against other trajectories", _pixels),
    ("control_following", "trajectory_pixels_none", "no trajectory given", _pixels),
)
CAMERA_ROWS: tuple[Row, ...] = (
    (
        "camera_following",
        "camera_direction_picture",
        "camera and first picture given: its move is seen",
        _percent,
    ),
    ("camera_following", "camera_direction_alone", "camera alone given: its move is seen", _percent),
    ("camera_following", "camera_direction_none", "neither given", _percent),
    ("camera_following", "shift_pixels_picture", "how far off the background goes, with a picture", _pixels),
    ("camera_following", "shift_pixels_alone", "the same with the camera alone, at 64x64", _pixels),
    ("camera_following", "shift_pixels_none", "the same with neither", _pixels),
)
CARDS = {"default": ROWS, "default-control": CONTROL_ROWS, "default-camera": CAMERA_ROWS}
"""The rows of each bundled model; figures without a bar stand beside those that have one."""


def table(results: Path, rows: tuple[Row, ...] = ROWS) -> str:
    """The rows of every figure, with its bar, if it has one, and whether it is reached."""
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    for name, figure, words, write in rows:
        value = _figures(results / f"{name}.json").get(figure)
        bar = next((bar for bar in BENCHMARKS[name].bars if bar.figure == figure), None)
        if bar is None:
            lines.append(f"| {words} | | {'not measured' if value is None else write(value)} | |")
            continue
        limit = bar.least if bar.least is not None else bar.most
        assert limit is not None
        wanted = "yes" if write is _yes else f"{'≥' if bar.least is not None else '≤'} {write(limit)}"
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
    parser.add_argument("--model", default="default", choices=tuple(CARDS), help="whose rows")
    parser.add_argument("--card", type=Path, help="model card [default: that of the bundled model]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    card = arguments.card or ASSETS / arguments.model / "model_card.md"
    try:
        text = rewrite(card.read_text(encoding="utf-8"), table(arguments.results, CARDS[arguments.model]))
    except (ValueError, OSError) as error:
        print(f"model_card: error: {error}", file=sys.stderr)
        return 2
    card.write_text(text, encoding="utf-8")
    print(f"wrote {card}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
