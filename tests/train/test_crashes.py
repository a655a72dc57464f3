"""Processes that are killed at random instants leave nothing corrupt, and the end is the same."""

import json
import os
import subprocess
import sys

import pytest
from tests.train import crashes


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_run_survives_kills_at_any_instant(kills, tmp_path):
    root = os.fspath(__file__).removesuffix("/tests/train/test_crashes.py")
    paths = os.pathsep.join([root, *sys.path])
    done = subprocess.run(
        [sys.executable, crashes.__file__, str(tmp_path), str(kills), "7"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["failed"] == []
    assert (counts["damaged"], counts["went_back"], counts["lost_more"], counts["other_end"]) == (0, 0, 0, 0)
    assert counts["kills"] == kills
    assert counts["finished"] >= 1
    if kills >= 100:
        assert counts["inside_a_save"] >= 0.2 * kills
