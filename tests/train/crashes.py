"""Kill runs at random instants and let them go on: `python crashes.py FOLDER KILLS SEED [MINUTES]`.

It prints counts as JSON. After so many minutes no more runs are killed.

Each run is a fork of this process, which has loaded what runs need and never computes: a process that has
used autograd cannot be forked. A third of the kills waits for a checkpoint to be under way.
"""

import contextlib
import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from safetensors import safe_open
from tests.train import ranks

from ea_train.loop import checkpoint
from ea_train.loop import trainer as trainer_module
from ea_train.loop.manifest import damage_of

STEPS = 20


def fork_run(folder):
    """A child that trains in `folder` until it is finished."""
    if child := os.fork():
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        ranks.run(folder, loop={"steps": STEPS, "checkpoint_every": 1, "grad_accum": 2})
        Path(f"{folder}.modules").write_text("\n".join(sys.modules))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  a child ends here, whatever happened
        Path(f"{folder}.error").write_text(repr(error))
        os._exit(1)


def load_what_runs_load(folder):
    """Import what a run imports on its way, so that no fork has to."""
    assert os.waitpid(fork_run(folder), 0)[1] == 0, "the first run failed"
    for name in Path(f"{folder}.modules").read_text().split("\n"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def bits(folder):
    """All tensors of the last checkpoint, as bytes."""
    found = {}
    for path in sorted(checkpoint.checkpoint_folder(folder / "checkpoints", STEPS).glob("*.safetensors")):
        with safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118
                found[f"{path.stem}.{name}"] = file.get_tensor(name).tobytes()
    return found


def last_logged(folder):
    """Number of the last step whose line is whole."""
    try:
        lines = (folder / "log.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return 0
    return json.loads(lines[-1])["step"] if lines else 0


def drafts(run, child):
    """Checkpoints that this child has begun and not finished; an earlier one may have left others."""
    return list((run / "checkpoints").glob(f".step-*.{child}.tmp"))


def wait_for_save(run, child, rng):
    """Return somewhere inside the next save, or when the child has ended."""
    while not drafts(run, child):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
    time.sleep(rng.uniform(0, 0.004))


def main(folder, kills, seed, minutes=float("inf")):
    """Run, kill, look, go on."""
    trainer_module.open_trackers = lambda loop, directory, finished: []
    rng = random.Random(seed)
    load_what_runs_load(folder / "first")
    began = time.monotonic()
    until = began + 60 * minutes
    assert os.waitpid(fork_run(folder / "straight"), 0)[1] == 0, "the straight run failed"
    lasts = time.monotonic() - began
    expected = bits(folder / "straight")
    counts = {"kills": 0, "inside_a_save": 0, "finished": 0, "damaged": 0, "went_back": 0, "lost_more": 0}
    counts |= {"other_end": 0, "failed": []}
    number = newest = 0
    while (counts["kills"] < kills and time.monotonic() < until) or not counts["finished"]:
        run = folder / f"run-{number}"
        child = fork_run(run)
        if counts["kills"] < kills and time.monotonic() < until:
            time.sleep(rng.uniform(0, lasts))
            if rng.random() < 1 / 3:
                wait_for_save(run, child, rng)
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        steps = checkpoint.checkpoint_steps(run / "checkpoints")
        if status == 0:
            counts["finished"] += 1
            counts["other_end"] += bits(run) != expected
            number, newest = number + 1, 0
            continue
        if not os.WIFSIGNALED(status):
            counts["failed"].append(Path(f"{run}.error").read_text())
            break
        counts["kills"] += 1
        counts["inside_a_save"] += bool(drafts(run, child))
        folders = [(checkpoint.checkpoint_folder(run / "checkpoints", step), step) for step in steps]
        counts["damaged"] += sum(damage_of(*one) is not None for one in folders)
        reached = steps[-1] if steps else 0
        counts["went_back"] += reached < newest
        counts["lost_more"] += reached < last_logged(run) - 1
        newest = reached
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
