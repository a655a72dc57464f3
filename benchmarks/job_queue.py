"""What the queue costs beside the pipeline alone, and how fast it gets over a cancel and a kill.

Gate: a job of the queue gives the frames that the engine gives in this process.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from ea_app.jobs import JobView, Settings, State, Supervisor
from quiet import load
from report import GateError, Report, spread

PROMPT = "a red circle moves to the right on a blue background"
_LONG = 1000
_WAIT_SECONDS = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--repeats", type=int, default=5, help="jobs of each kind [default: 5]")
    parser.add_argument("--kills", type=int, default=3, help="workers that are killed [default: 3]")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--device", default="cpu")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(preload=arguments.model, devices=(arguments.device,))
        start = time.perf_counter()
        with Supervisor(Path(folder) / "state", settings) as jobs:
            _job(jobs, arguments, seed=0)
            first = time.perf_counter() - start
            here, there = _resident(os.getpid()), _resident(_pid(jobs))
            seconds, bare = _side_by_side(jobs, arguments, Path(folder))
            cancels = [_cancel(jobs, arguments) for _ in range(arguments.repeats)]
            restarts = [_restart(jobs, arguments) for _ in range(arguments.kills)]
    figures = {
        "overhead": statistics.median(seconds) / statistics.median(bare) - 1,
        "cancel_seconds": max(cancels),
        "restart_seconds": max(restarts),
        "first_job_seconds": first,
        "idle_gigabytes": (here + there) / 1e9,
    }
    details = {
        # The runner of benchmarks imports torch, which a supervisor does not.
        "idle_gigabytes": {"this_process": round(here / 1e9, 3), "worker": round(there / 1e9, 3)},
        "queued_seconds": spread(seconds),
        "bare_seconds": spread(bare),
        "cancels": [round(value, 4) for value in cancels],
        "restarts": [round(value, 3) for value in restarts],
        **before,
    }
    settings = {"repeats": arguments.repeats, "steps": arguments.steps, "prompt": PROMPT}
    return Report(figures=figures, gate={"identical_frames": 1.0}, settings=settings, details=details)


def _submit(jobs: Supervisor, arguments: argparse.Namespace, seed: int, steps: int) -> JobView:
    return jobs.submit(PROMPT, model=arguments.model, device=arguments.device, seed=seed, steps=steps)


def _job(jobs: Supervisor, arguments: argparse.Namespace, seed: int) -> JobView:
    view = jobs.wait(_submit(jobs, arguments, seed, arguments.steps).id, _WAIT_SECONDS)
    if view.state is not State.DONE:
        raise GateError(f"a job is {view.state}: {view.error}")
    return view


def _side_by_side(
    jobs: Supervisor, arguments: argparse.Namespace, folder: Path
) -> tuple[list[float], list[float]]:
    """Seconds of the same jobs in the queue and in this process, in turns."""
    from ea_app.api import Engine  # torch: after the memory of the supervisor was read

    engine = Engine.load(arguments.model, device=arguments.device)
    queued: list[float] = []
    bare: list[float] = []
    for seed in range(arguments.repeats + 1):
        start = time.perf_counter()
        view = _job(jobs, arguments, seed)
        queued.append(time.perf_counter() - start)
        start = time.perf_counter()
        job = engine.job(PROMPT, seed=seed, steps=arguments.steps)
        result = engine.generate(job, output=folder / "bare.mp4")
        bare.append(time.perf_counter() - start)
        if view.record is None or view.record["frames"]["xxh3"] != result.frames_hash:
            raise GateError("a job of the queue gives other frames than the engine")
    return queued[1:], bare[1:]  # the first of each is slower


def _running(jobs: Supervisor, arguments: argparse.Namespace) -> str:
    """A job that is being denoised."""
    job = _submit(jobs, arguments, 0, _LONG).id
    for view in jobs.follow(job, _WAIT_SECONDS):
        if view.stage == "denoise" and view.step >= 2:
            return job
    raise GateError(f"a job got nowhere: {jobs.get(job).error}")


def _cancel(jobs: Supervisor, arguments: argparse.Namespace) -> float:
    """Seconds from a cancel to a worker that is free."""
    job = _running(jobs, arguments)
    start = time.perf_counter()
    jobs.cancel(job)
    if jobs.wait(job, _WAIT_SECONDS).state is not State.CANCELLED or jobs.workers()[0].job is not None:
        raise GateError("a cancelled job did not stop")
    return time.perf_counter() - start


def _restart(jobs: Supervisor, arguments: argparse.Namespace) -> float:
    """Seconds from the death of a worker until the next job runs."""
    job = _running(jobs, arguments)
    start = time.perf_counter()
    os.kill(_pid(jobs), signal.SIGKILL)
    jobs.wait(job, _WAIT_SECONDS)
    after = _submit(jobs, arguments, 1, arguments.steps).id
    for view in jobs.follow(after, _WAIT_SECONDS):
        if view.stage == "denoise":
            break
    taken = time.perf_counter() - start
    jobs.wait(after, _WAIT_SECONDS)
    return taken


def _pid(jobs: Supervisor) -> int:
    pid = jobs.workers()[0].pid
    if pid is None:
        raise GateError("there is no worker")
    return pid


def _resident(pid: int) -> int:
    """Bytes of memory of a process; 0 where the system does not say."""
    status = Path(f"/proc/{pid}/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0
