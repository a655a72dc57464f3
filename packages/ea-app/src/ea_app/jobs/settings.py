"""How jobs are run."""

import re
from dataclasses import dataclass, field

from ea_app.jobs.pruning import Bounds

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How jobs are run.

    Attributes:
        workers: Processes that run jobs, each with a model of its own.
        devices: Device of every worker for jobs that do not name one; none: "auto" for a single worker, and
            "cuda:0", "cuda:1" and so on for several.
        preload: Model that workers load before there is a job; None loads with the first one.
        queue_limit: Jobs that may wait.
        timeout: Seconds that a job may take once it runs, where it does not say itself; None for any time.
        grace: Seconds that a cancelled job has to stop by itself before its worker is killed.
        timeout_grace: The same for a job that took too long.
        attempts: A job that was interrupted so often is not begun again by itself.
        resume: Whether jobs that were interrupted go on when a supervisor starts.
        step_seconds: Least seconds between two steps that are kept.
        memory_limit: Bytes of data that a worker may have, beyond what its libraries take; None for what the
            machine has. Only on Linux.
        bounds: How much history is kept.
        ray: Address of a Ray cluster that workers are placed on, see `ea_app.jobs.ray_process`; None for
            processes of this machine. `devices` then are those of whatever machine; none is "auto".
    """

    workers: int = 1
    devices: tuple[str, ...] = ()
    preload: str | None = None
    queue_limit: int = 100
    timeout: float | None = None
    grace: float = 10.0
    timeout_grace: float = 2.0
    attempts: int = 3
    resume: bool = True
    step_seconds: float = 10.0
    memory_limit: int | None = None
    bounds: Bounds = field(default_factory=Bounds)
    ray: str | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        for name, least in (("workers", 1), ("queue_limit", 1), ("attempts", 1), ("grace", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.devices and len(self.devices) != self.workers:
            raise ValueError(f"devices must be {self.workers}, one a worker, got {len(self.devices)}")
        for device in self.devices:
            if not _DEVICE.fullmatch(device):
                raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
        for name in ("timeout", "memory_limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0 or None, got {value}")

    def device_of(self, worker: int) -> str:
        """The device of a worker for jobs that do not name one."""
        if self.devices:
            return self.devices[worker]
        return "auto" if self.workers == 1 or self.ray is not None else f"cuda:{worker}"
