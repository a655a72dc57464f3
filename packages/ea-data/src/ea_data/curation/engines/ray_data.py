"""Stages through Ray Data, on this machine or on a cluster whose machines see the same files.

A stage never raises for a file, so that no block of Ray is lost with it; outcomes come back as rows. On a
machine of its own Ray is started without its dashboard, which anyone who reaches it can give work to.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ea_data.control.extras import load
from ea_data.curation.stage import Item
from ea_data.curation.work import Outcome, Task, perform

__all__ = ["RayData"]

_MOST_BLOCKS: Final = 1000
_STARTS: Final = 3
_STORE_BYTES: Final = 300 * 2**20
"""Tasks and outcomes are small; frames never go through Ray."""


class RayData:
    """Ray Data with a fixed number of workers, each of which keeps its stage open.

    Args:
        workers: Actors at work.
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
        data = load("ray.data")
        rows = [{"number": number, "task": _text(task)} for number, task in enumerate(tasks)]
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS))
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # how far a stage is, is told by the run
        workers = data.ActorPoolStrategy(size=min(self._workers, len(rows)))
        waiting: dict[int, list[Outcome]] = {}
        following = 0
        try:
            for row in dataset.map(_Worker, compute=workers, num_cpus=1).iter_rows():
                waiting[row["number"]] = [Outcome(**each) for each in json.loads(row["outcomes"])]
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise ValueError(f"Ray: {str(cause).strip().splitlines()[-1][:500]}") from error

    def close(self) -> None:
        """Leave the cluster; end Ray where this started it."""
        if self._started:
            self._ray.shutdown()
            self._started = False

    def _start(self) -> None:
        if self._ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options |= {
                "num_cpus": self._workers + 1,  # one for what is no actor
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
            }
        else:
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
        context = load("ray.data").DataContext.get_current()
        context.enable_progress_bars = False


class _Worker:
    """What an actor of Ray is."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        outcomes = [asdict(outcome) for outcome in perform(_task(row["task"]))]
        return {"number": row["number"], "outcomes": json.dumps(outcomes)}


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
