"""What tests of curation share: little footage, a plan that takes little time, and what a run leaves."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from curation_corpus import FPS, SCENE, pan

from ea_data.media import write_video

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


def make_footage(folder: Path) -> Path:
    """Clean clips, one with a cut, and files that cannot be read."""
    for number in range(3):
        write_video(folder / f"clip {number}.mp4", pan(number), fps=FPS)
    (folder / "sub").mkdir()
    first, second = pan(11, SCENE), pan(12, SCENE) // 2 + 100
    write_video(folder / "sub" / "ütwo.mp4", np.concatenate((first, second)), fps=FPS)
    (folder / "broken.mp4").write_bytes((folder / "clip 0.mp4").read_bytes()[:5000])
    (folder / "text.mp4").write_text("this is no video")
    return folder


def killed_runs(footage: Path, folder: Path, engine: str, kills: int, longest: float | None = None) -> Path:
    """Kill a run with all its processes so often, at random moments, and let it finish then.

    What a run has to do grows less with every kill; one that ends before it is killed begins anew, so that
    kills come at every stage.

    Args:
        footage: What to run on.
        folder: To write to.
        engine: Of the runs.
        kills: How often.
        longest: Seconds that a whole run takes; measured with one more if None.

    Returns:
        What the last run wrote.
    """
    output = folder / "out"
    words = ["run", str(plan_file(folder)), str(footage), str(output), "--samples", "0"]
    command = [sys.executable, "-m", "ea_data.cli", *words, "--engine", engine, "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    if longest is None:
        begin = time.monotonic()
        subprocess.run(command, env=environment, capture_output=True, check=True)
        longest = time.monotonic() - begin
        shutil.rmtree(output)
    moments, killed = random.Random(0), 0
    while killed < kills:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(moments.uniform(0.1, 0.9) * longest)
            shutil.rmtree(output)  # it was quicker
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output
