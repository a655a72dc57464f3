"""The examples of docs/jobs.md run and print what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```\n(?:.*?)^```\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_examples(number, tmp_path):
    script, printed = BLOCKS[number]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if number == 1:
        assert lines == printed.splitlines()
    else:
        states = list(dict.fromkeys(line.split()[0] for line in lines[:-1]))
        assert states[-1] == "done"
        assert set(states) <= {line.split()[0] for line in printed.splitlines()}
        assert re.fullmatch(r"[0-9a-f]{24}\.mp4 1 [0-9.]+ None", lines[-1])
