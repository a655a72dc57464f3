"""A disk that is full ends a run with one clear line; nothing partial stays, and more room continues the run.

The disk is a small one of memory in a mount namespace of its own, where the system lets us make one.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from curation_workers import plan_file, results_of

UNSHARE = ["unshare", "--map-root-user", "--mount"]
DRIVER = """
import json, pathlib, shutil, subprocess, sys
disk, size, saved, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
def mount(options): subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)
mount(f"size={size}k")
done = subprocess.run(command, capture_output=True, text=True)
left = [path.relative_to(disk).as_posix() for path in pathlib.Path(disk).rglob("*")]
mount("remount,size=64m")
again = subprocess.run(command, capture_output=True, text=True)
shutil.copytree(pathlib.Path(disk, "out"), saved)
print(json.dumps({"code": done.returncode, "error": done.stderr, "left": left, "again": again.returncode}))
"""


def _can_mount(folder):
    if shutil.which("unshare") is None:
        return False
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("size", "engine"),
    [
        (120, "inline"),  # full while a clip is cut
        pytest.param(120, "processes", marks=pytest.mark.slow),
        pytest.param(16, "inline", marks=pytest.mark.slow),  # while results are kept
        pytest.param(260, "inline", marks=pytest.mark.slow),  # while clips are placed
    ],
)
def test_a_full_disk(footage, undisturbed, tmp_path, size, engine):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _can_mount(disk):
        pytest.skip("no mounts here")
    words = ["run", str(plan_file(tmp_path)), str(footage), str(disk / "out"), "--samples", "0"]
    command = [sys.executable, "-m", "ea_data.cli", *words, "--engine", engine, "--workers", "2"]
    driver = [*UNSHARE, sys.executable, "-c", DRIVER, str(disk), str(size), str(tmp_path / "saved"), *command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(driver, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["code"] == 2
    assert "No space left on device" in told["error"].splitlines()[-1]
    assert "Traceback" not in told["error"]
    assert [name for name in told["left"] if ".part" in name or name == "out/metadata.jsonl"] == []
    assert told["again"] == 0
    assert results_of(tmp_path / "saved") == undisturbed
