"""Stages through Ray Data, on this machine or on a cluster whose machines see the same files.

The work is done by tasks of Ray and not by actors: the processes of tasks live from stage to stage, so that
libraries are imported once, while every stage would start actors of its own. A stage never raises for a file;
outcomes come back as rows. What a process takes with it when it ends (a crash of a decoder, too little
memory) is tried once more, each in a block by itself, and is then left out and listed; by itself Ray would
try it for ever. On a machine of its own Ray is started without its dashboard, which anyone who reaches it can
give work to.
"""

import json
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ea_data.control.extras import load
from ea_data.curation.stage import Item
from ea_data.curation.work import Outcome, Task, perform

__all__ = ["RayData", "check_reachable"]

_BLOCKS_OF_A_WORKER: Final = 8
"""A task of Ray costs tens of milliseconds, more than a small file takes."""
_LARGEST_BLOCK: Final = 32
_MOST_BLOCKS: Final = 1000
_STARTS: Final = 3
_STORE_BYTES: Final = 300 * 2**20
"""Tasks and outcomes are small; frames never go through Ray."""

_PATIENCE: Final = 10.0
"""Seconds to wait for an address."""
_LAST_PORT: Final = 65_535

_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # 15 by default: beside other work the processes would get next to no time, and a run not end.
    "RAY_worker_niceness": "0",
}
_LOST: Final = Outcome(problem="reading ended its process")


class RayData:
    """Ray Data with a fixed number of tasks at work, in processes that keep their stages open.

    Args:
        workers: Tasks at work at once. One of a stage whose `device` is of CUDA takes a GPU.
        address: Of a cluster; None starts Ray on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        self._ray = load("ray")
        self._workers, self._address = workers, address
        self._started = False

    def run(self, tasks: Sequence[Task]) -> Iterator[list[Outcome]]:
        """See `Engine`.

        Raises:
            ValueError: The cluster cannot be reached, or a stage cannot be opened there.
        """
        if not tasks:
            return
        self._start()
        found: dict[int, list[Outcome]] = {}
        following = 0
        for most_blocks in (self._few_blocks(len(tasks)), len(tasks)):
            missing = {n: tasks[n] for n in range(following, len(tasks)) if n not in found}
            for number, outcomes in self._outcomes(missing, most_blocks):
                found[number] = outcomes
                while following in found:
                    yield found.pop(following)
                    following += 1
        for number in range(following, len(tasks)):
            yield found.get(number) or [_LOST] * len(tasks[number].items)

    def close(self) -> None:
        """Leave the cluster; end Ray where this started it."""
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _few_blocks(self, count: int) -> int:
        """So many that workers end at about the same time and little is lost with one of them."""
        return min(max(_BLOCKS_OF_A_WORKER * self._workers, -(-count // _LARGEST_BLOCK)), _MOST_BLOCKS)

    def _outcomes(self, tasks: dict[int, Task], most_blocks: int) -> Iterator[tuple[int, list[Outcome]]]:
        """Those of all tasks but the ones whose block was lost, as they come."""
        if not tasks:
            return
        data = load("ray.data")
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is told by the run
        rows = [{"number": number, "task": _text(task)} for number, task in tasks.items()]
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), most_blocks))
        dataset.context.enable_progress_bars = False
        dataset.context.max_errored_blocks = -1
        workers = data.TaskPoolStrategy(size=min(self._workers, len(rows)))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            # Of `ray_remote_args_fn`: until Ray 2.64 the only way to say how often to try.
            made = dataset.map(
                _perform,
                compute=workers,
                num_cpus=1,
                num_gpus=_gpus(next(iter(tasks.values()))) or None,
                ray_remote_args_fn=_once,
            )
        try:
            for row in made.iter_rows():
                if row["refused"]:
                    raise ValueError(row["refused"])
                yield row["number"], [Outcome(**each) for each in json.loads(row["outcomes"])]
        except self._ray.exceptions.RayError as error:
            raise ValueError(f"Ray: {str(error).strip().splitlines()[-1][:500]}") from error

    def _start(self) -> None:
        if self._ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            options |= {
                "num_cpus": self._workers,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
            }
        else:
            check_reachable(self._address)
            options["address"] = self._address
        for attempt in range(1, _STARTS + 1):
            try:
                self._ray.init(**options)
                break
            except Exception as error:
                self._ray.shutdown()
                if attempt == _STARTS or self._address is not None:
                    where = self._address or "this machine"
                    raise ValueError(f"Ray at {where}: {' '.join(str(error).split())[:300]}") from error
        self._started = True


def check_reachable(address: str) -> None:
    """Refuse a cluster that is not there at once; Ray itself tries for many minutes.

    Args:
        address: HOST:PORT.

    Raises:
        ValueError: Nobody listens there, or it is no address.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError(f"address is {address[:80]!r}; allowed: HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ValueError(f"Ray at {address} cannot be reached: {error.strerror or error}") from error


def _perform(row: dict[str, Any]) -> dict[str, Any]:
    """What a task of Ray does; a stage that cannot be opened is told apart from files that cannot be read."""
    try:
        outcomes = [asdict(outcome) for outcome in perform(_task(row["task"]))]
    except ValueError as error:
        return {"number": row["number"], "outcomes": "[]", "refused": str(error) or type(error).__name__}
    return {"number": row["number"], "outcomes": json.dumps(outcomes), "refused": ""}


def _once() -> dict[str, Any]:
    return {"max_retries": 0}


def _gpus(task: Task) -> int:
    """Of one task; Ray hides GPUs from tasks that ask for none."""
    return int(str(json.loads(task.options).get("device", "cpu")).startswith("cuda"))


def _text(task: Task) -> str:
    items = [
        {"path": str(item.path), "kind": item.kind, "columns": dict(item.columns), "folder": str(item.folder)}
        for item in task.items
    ]
    return json.dumps({"stage": task.stage, "options": task.options, "items": items})


def _task(text: str) -> Task:
    values = json.loads(text)
    items = [
        Item(**{**item, "path": Path(item["path"]), "folder": Path(item["folder"])})
        for item in values["items"]
    ]
    return Task(stage=values["stage"], options=values["options"], items=tuple(items))
