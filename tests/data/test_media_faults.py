"""Mutated files: every reader gives frames or one `MediaError`, soon and in little memory.

A thousand of each: `pytest -m slow tests/data/test_media_faults.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mutations.py")


def _read_mutated(kind: str, count: int, folder: Path) -> None:
    command = [sys.executable, str(SCRIPT), kind, str(count), "1", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["unexpected"] == []
    assert found["outcomes"]["refused"] > count
    assert found["outcomes"]["read"] > count / 10
    assert found["slowest"] < 2  # seconds of the processor for one reader of one file
    assert found["peak"] < 1e9


@pytest.mark.parametrize("kind", ["videos", "images"])
def test_some_mutated_files(tmp_path: Path, kind: str) -> None:
    _read_mutated(kind, 90, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["videos", "images"])
def test_a_thousand_mutated_files(tmp_path: Path, kind: str) -> None:
    _read_mutated(kind, 1000, tmp_path)
