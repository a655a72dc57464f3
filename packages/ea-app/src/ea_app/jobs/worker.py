"""A worker: `python -m ea_app.jobs.worker PARENT`. It runs the tasks of one supervisor, one at a time.

It ends when its supervisor ends, whatever it is doing. After an error that may have left something behind it
ends by itself, and the supervisor starts another.
"""

import json
import os
import queue
import sys
import threading
import traceback

from ea_app.jobs import guard
from ea_app.jobs.channel import Channel, Message
from ea_app.jobs.states import HARMLESS, Reason

ENDED_BY_ITSELF = 75
"""Exit code after an error that was reported."""


def main(arguments: list[str]) -> int:
    """Run until told to stop."""
    channel = Channel.of_child()
    guard.die_with_parent(int(arguments[0]))
    guard.ignore_interrupts()
    guard.be_the_first_to_go()
    settings = json.loads(arguments[1])
    return Worker(channel, settings.get("memory_limit")).run()


class Worker:
    """Listens in one thread, so that it hears of a cancel or of the end, and works in the other.

    Args:
        channel: To the supervisor.
        memory_limit: See `Settings`.
    """

    def __init__(self, channel: Channel, memory_limit: int | None) -> None:
        from ea_app.api.job import CancelToken  # noqa: PLC0415
        from ea_app.jobs.runner import Runner  # noqa: PLC0415  (torch: seconds, after the guards are up)

        if memory_limit is not None:
            guard.limit_memory(memory_limit)
        self._channel = channel
        self._runner = Runner(channel.send)
        self._token = CancelToken
        self._work: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._current: tuple[str, CancelToken] | None = None
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()

    def run(self) -> int:
        """Work until told to stop; returns the exit code."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._channel.send({"is": "ready", "pid": os.getpid()})
        while (message := self._work.get()) is not None:
            if message["do"] == "load":
                self._load(message)
            elif (reason := self._job(message)) is not None and reason not in HARMLESS:
                return ENDED_BY_ITSELF
        return 0

    def _listen(self) -> None:
        for message in self._channel.messages():
            if message.get("do") == "cancel":
                self._cancel(str(message["id"]))
            elif message.get("do") == "stop":
                self._work.put(None)
            else:
                self._work.put(message)
        # The supervisor is gone. What is being computed is of no use to anybody now, and is kept on disk.
        os._exit(1)

    def _cancel(self, job_id: str) -> None:
        with self._lock:
            self._cancelled.add(job_id)
            if self._current is not None and self._current[0] == job_id:
                self._current[1].cancel()

    def _load(self, message: Message) -> None:
        """Load a model ahead; a model that cannot be loaded is a matter for the first job."""
        try:
            self._runner.load(str(message["model"]), str(message["device"]))
        except Exception:  # noqa: BLE001  (reported when a job needs it)
            traceback.print_exc()
            self._runner.forget()

    def _job(self, message: Message) -> Reason | None:
        """Run a task; returns why it failed."""
        from ea_app.jobs.runner import failure  # noqa: PLC0415
        from ea_app.jobs.task import Task  # noqa: PLC0415
        from ea_dit.diffusion.loop import Cancelled  # noqa: PLC0415

        task, token = Task(**message["task"]), self._token()
        with self._lock:
            self._current = (task.id, token)
            if task.id in self._cancelled:
                token.cancel()
        try:
            last, reason = self._runner.run(task, token), None
        except Cancelled:
            last, reason = {"is": "cancelled", "id": task.id}, None
        except Exception as error:  # noqa: BLE001  (the outermost frame of a job: whatever it is ends one job)
            traceback.print_exc()
            reason, text, field = failure(error)
            last = {"is": "failed", "id": task.id, "reason": str(reason), "error": text, "field": field}
        finally:
            with self._lock:
                self._current = None
                self._cancelled.discard(task.id)
        self._channel.send(last)
        return reason


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
