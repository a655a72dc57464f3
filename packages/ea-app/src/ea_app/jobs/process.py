"""A worker process, from outside."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from ea_app.jobs.channel import Channel, Message
from ea_app.jobs.folders import log_path

_LOG_BYTES = 1 << 20
_TAIL_BYTES = 4000
_END_SECONDS = 5.0


class WorkerProcess:
    """Starts a worker and listens to it in a thread.

    Must be made in a thread that lives as long as the worker may: on Linux it is that thread whose end ends
    the worker.

    Args:
        number: Of the worker, 0 and up.
        folder: The state folder, for its log.
        memory_limit: See `Settings`.
        on_message: Called in that thread with every message, and with None when the process has ended.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        memory_limit: int | None,
        on_message: Callable[["WorkerProcess", Message | None], None],
    ) -> None:
        self.number = number
        self.ready = False
        self.was_ready = False
        self._log = log_path(folder, number)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.unlink()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                # -P: a file in the present folder is no module of ours.
                [
                    sys.executable, "-P", "-m", "ea_app.jobs.worker",
                    str(os.getpid()), json.dumps({"memory_limit": memory_limit}),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(self._process.stdout, self._process.stdin)
        self._on_message = on_message
        self._thread = threading.Thread(target=self._listen, name=f"worker-{number}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, message: Message) -> bool:
        """Send a message; whether the process could be reached."""
        return self._channel.send(message)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """End it, wait for that, and close the pipes."""
        self.send({"do": "stop"})
        self.kill()
        self._thread.join(_END_SECONDS)

    def how_it_ended(self) -> str:
        """In words, after it has."""
        code = self._process.poll()
        if code is None:
            return "its worker process does not answer"
        if code >= 0:
            return f"its worker process ended with exit code {code}{self._last_line()}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = ", as the system does where memory runs out" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"its worker process was ended by {name}{why}"

    def _last_line(self) -> str:
        """The last line of the log: mostly what an exception says."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:300]}" if last else ""

    def _listen(self) -> None:
        for message in self._channel.messages():
            self._on_message(self, message)
        self._process.wait()
        self._channel.close()
        self._on_message(self, None)
