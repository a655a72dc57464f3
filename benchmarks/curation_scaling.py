"""How much faster is curation with two workers than in one process?

A corpus of drawn clips goes through the plan `offline` three times: in this process, by a pool of processes,
and by Ray on this machine, which is started before its run is timed. Wall time says how soon a run is done,
processor time what it cost: with as many busy neighbours as cores the first grows and the second hardly does.
Gate: all engines write the same manifest, and no clip is lost.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from curation import draw
from ea_data.curation.curate import Engines, curate
from ea_data.curation.engines.base import open_engine
from ea_data.curation.plan import load_plan
from ea_data.curation.report import RunReport
from ea_data.curation.stage import Item
from ea_data.curation.work import Task
from quiet import load
from report import GateError, Report

HEIGHT, WIDTH, RATE = 240, 320, 12
SECONDS = 3.25
LOOK_EVERY = 0.25
ENGINES = ("inline", "processes", "ray")


@dataclass
class Spent:
    """What a run took.

    Attributes:
        wall: Seconds by the clock.
        processor: Seconds of processors, of this process and all below it.
    """

    wall: float = 0.0
    processor: float = 0.0
    _of: dict[int, float] = field(default_factory=dict)

    def look(self, top: psutil.Process) -> None:
        """Note what every process has taken so far; one that has ended keeps what was seen last."""
        for process in (top, *top.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self._of[process.pid] = times.user + times.system

    @property
    def noted(self) -> float:
        """Of all processes."""
        return sum(self._of.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--clips", type=int, default=200, help="clips [default: 200]")
    parser.add_argument("--workers", type=int, default=2, help="of the pool and of Ray [default: 2]")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="[default: all]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    engines = ["inline", *(name for name in arguments.engines if name != "inline")]
    spent: dict[str, Spent] = {}
    reports: dict[str, RunReport] = {}
    manifests: set[bytes] = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_clips(folder / "in", arguments.clips)
        for engine in engines:
            with _started(engine, arguments.workers), _measured() as spent[engine]:
                reports[engine] = curate(
                    load_plan("offline"),
                    folder / "in",
                    folder / engine,
                    engines=Engines(name=engine, workers=arguments.workers),
                    samples=0,
                )
            manifests.add((folder / engine / "metadata.jsonl").read_bytes())
    kept = reports["inline"].kept
    if len(manifests) > 1 or kept < arguments.clips:
        raise GateError(f"{len(manifests)} manifests, {kept} of {arguments.clips} clips kept")
    figures = {f"{engine}_speedup": spent["inline"].wall / spent[engine].wall for engine in engines[1:]} | {
        f"{engine}_clips_per_second": arguments.clips / spent[engine].wall for engine in engines
    }
    figures |= {
        f"{engine}_processor_seconds_per_clip": spent[engine].processor / arguments.clips
        for engine in engines
    }
    stages = {count.label: round(count.seconds, 2) for count in reports["inline"].counts}
    settings = {
        "clips": f"{arguments.clips} of {SECONDS:g} s, {WIDTH}x{HEIGHT} at {RATE} fps, H.264",
        "workers": arguments.workers,
        **before,
        "note": "speedup is of wall time, and needs a quiet core for each worker; Ray is started before",
    }
    details: dict[str, Any] = {
        "wall_seconds": {engine: round(spent[engine].wall, 2) for engine in engines},
        "processor_seconds": {engine: round(spent[engine].processor, 2) for engine in engines},
        "stage_seconds_of_one_process": stages,
    }
    return Report(figures=figures, gate={"kept": kept, "manifests": 1}, settings=settings, details=details)


def _make_clips(folder: Path, count: int) -> None:
    folder.mkdir()
    for number, speed in enumerate(np.geomspace(1.0, 3.0, count)):
        draw(folder / f"{number:04}.mp4", number, float(speed), SECONDS, size=(HEIGHT, WIDTH), rate=RATE)


@contextmanager
def _started(engine: str, workers: int) -> Iterator[None]:
    """Ray takes seconds to start, on a cluster once for many runs."""
    if engine != "ray":
        yield
        return
    own = open_engine("ray", workers=workers)
    item = Item(path=Path(), kind="text", columns={"caption": "A clip."})
    assert len(list(own.run([Task(stage="clean", options="{}", items=(item,))]))) == 1
    try:
        yield
    finally:
        own.close()


@contextmanager
def _measured() -> Iterator[Spent]:
    spent, top, done = Spent(), psutil.Process(os.getpid()), threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_EVERY):
            spent.look(top)

    spent.look(top)
    earlier = spent.noted
    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    try:
        yield spent
    finally:
        spent.wall = time.perf_counter() - begin
        done.set()
        watcher.join()
        spent.look(top)
        spent.processor = spent.noted - earlier
