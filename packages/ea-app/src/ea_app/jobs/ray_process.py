"""Workers on other machines: Ray places them, restarts nothing, and carries the messages.

On its machine an actor starts the very worker process that runs here otherwise, so that a job is as killable
there as here. The queue, its states and the history stay where the supervisor is; the state folder and the
models have to be at the same paths on all machines.

Ray Serve's router is not used: it gives requests to any replica, while a queue has one owner, and a cancel
has to reach the worker that has the job.
"""

import importlib
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ea_app.jobs.channel import Message
from ea_app.jobs.errors import JobsError
from ea_app.jobs.process import WorkerProcess

RUNNING: Final = "auto"
"""The cluster that a `ray start` on this machine belongs to."""
LOCAL: Final = "local"
"""A Ray of its own, on this machine only."""

_MARKER: Final = "ray-workers-see-this"
_POLL_SECONDS: Final = 10.0
_END_SECONDS: Final = 5.0


def connect(address: str) -> dict[str, float]:
    """Join a cluster, or start one.

    Args:
        address: `RUNNING`, `LOCAL`, or HOST:PORT of a head.

    Returns:
        What it has: "CPU", "GPU" and so on.

    Raises:
        JobsError: Ray is not installed, or there is no cluster.
    """
    ray = _ray()
    if not ray.is_initialized():
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
        if address == LOCAL:
            # Ray gives way to all other programs otherwise, so that nothing moves on a busy machine.
            options |= {"include_dashboard": False, "_system_config": {"worker_niceness": 0}}
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise JobsError(
                f"there is no Ray cluster at {address!r}: {reason}; start one with ray start --head, or use "
                f"{LOCAL!r}"
            ) from error
    return ray.cluster_resources()


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray = _ray()
    if ray.is_initialized():
        ray.shutdown()


class RemoteWorker:
    """Runs in an actor, on whatever machine: a worker process, and what it says.

    Args:
        number: Of the worker.
        folder: The state folder.
        memory_limit: See `Settings`.

    Raises:
        JobsError: This machine does not see the state folder.
    """

    def __init__(self, number: int, folder: str, memory_limit: int | None) -> None:
        if not (Path(folder) / _MARKER).is_file():
            raise JobsError(
                f"{socket.gethostname()} does not see {folder}; the state folder has to be shared"
            )
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[WorkerProcess | OSError] = queue.SimpleQueue()
        self._arguments = (number, Path(folder), memory_limit, lambda _, message: self._heard.put(message))
        # A worker ends with the thread that started it, so that one lives as long as the actor.
        threading.Thread(target=self._own, daemon=True).start()
        made = self._made.get()
        if isinstance(made, OSError):
            raise JobsError(f"{socket.gethostname()} cannot start a worker: {made}")
        self._process = made

    def _own(self) -> None:
        try:
            self._made.put(WorkerProcess(*self._arguments))
        except OSError as error:
            self._made.put(error)
        threading.Event().wait()

    def send(self, message: Message) -> bool:
        """Hand a message to the process."""
        return self._process.send(message)

    def about(self) -> tuple[str, int]:
        """Name of the machine, and number of the process."""
        return socket.gethostname(), self._process.pid

    def messages(self) -> tuple[list[Message | None], str]:
        """What was said since the last call, waiting for it for a while; None is the end, and then why."""
        try:
            found = [self._heard.get(timeout=_POLL_SECONDS)]
        except queue.Empty:
            return [], ""
        while not self._heard.empty():
            found.append(self._heard.get())
        return found, self._process.how_it_ended() if None in found else ""


class RayProcess(WorkerProcess):
    """A worker process on a machine of the cluster, from here. See `WorkerProcess` for the arguments."""

    def __init__(
        self,
        number: int,
        folder: Path,
        memory_limit: int | None,
        on_message: Callable[[WorkerProcess, Message | None], None],
    ) -> None:
        self.number = number
        self.ready = self.was_ready = False
        self._on_message = on_message
        self._why = "its worker does not answer"
        self._pid = 0
        (folder / _MARKER).touch()
        self._ray = _ray()
        gpus = 1 if self._ray.cluster_resources().get("GPU", 0) else 0
        # Two calls at once: one waits for messages while the other hands one over.
        placed = self._ray.remote(RemoteWorker).options(
            num_cpus=0 if gpus else 1, num_gpus=gpus, max_concurrency=3, max_restarts=0
        )
        self._actor = placed.remote(number, str(folder), memory_limit)
        self._thread = threading.Thread(target=self._listen, name=f"worker-{number}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Number of the process on its machine, 0 before it is known."""
        return self._pid

    def send(self, message: Message) -> bool:
        """Send a message; whether it was sent, its end comes as a message."""
        self._actor.send.remote(message)
        return True

    def kill(self) -> None:
        """End it at once."""
        self._ray.kill(self._actor, no_restart=True)

    def end(self) -> None:
        """End it, and wait for that."""
        self.kill()
        self._thread.join(_END_SECONDS)

    def how_it_ended(self) -> str:
        """In words, after it has."""
        return self._why

    def _listen(self) -> None:
        try:
            host, self._pid = self._ray.get(self._actor.about.remote())
            self._why = f"its worker on {host} does not answer"
            while True:
                messages, why = self._ray.get(self._actor.messages.remote())
                for message in messages:
                    if message is None:
                        self._why = f"{why} on {host}"
                        return
                    self._on_message(self, message)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            self._why = f"its worker is gone: {' '.join(str(cause or error).split())[:300]}"
        finally:
            self._on_message(self, None)
            self._ray.kill(self._actor, no_restart=True)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise JobsError("needs Ray, which is not installed: pip install 'ea-app[ray]'") from None
