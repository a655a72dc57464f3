"""What tests of curation share: a plan that takes little time, and what a run leaves."""

import json
from pathlib import Path

LIGHT = """\
about: Quick stages of every form.
stages:
  - probe
  - looks
  - duplicates
  - scenes
  - cut
  - quality
  - motion: {method: vectors, unit: percent, least: 0.01, most: 50}
  - captions
  - clean
"""


def plan_file(folder: Path) -> Path:
    path = folder / "light.yaml"
    path.write_text(LIGHT)
    return path


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def results_of(output: Path) -> dict[str, bytes]:
    """All that a run gives and that has to be the same every time."""
    clips = sorted((output / "clips").rglob("*.*"))
    files = {path.relative_to(output).as_posix(): path.read_bytes() for path in clips}
    return {name: (output / name).read_bytes() for name in ("metadata.jsonl", "excluded.jsonl")} | files
