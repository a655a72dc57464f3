"""What is known of a job."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ea_app.jobs.states import ACTIVE, ENDED, Reason, State


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job at one moment.

    Attributes:
        id: 24 hexadecimal digits; files are named after it.
        number: Jobs are run in the order of their numbers.
        state: See `State`.
        prompt: As it was given.
        options: Checked options by key, the seed among them, as plain values.
        model: Name of the model.
        seed: Also when it was drawn.
        timeout: Seconds that it may take once it runs; None for any time.
        allow_pickle: Whether weights may be read from pickles.
        working_directory: Where relative names of files start.
        inputs: Hashes of its input files by name, as they were when it was queued.
        created: When it was queued, in seconds since 1970, as all times.
        started: When a worker took it, None before.
        ended: When it was done, failed or was cancelled.
        attempts: How often a worker took it.
        stage: What is being done, see `ea_app.api.Progress`; empty before.
        step: Steps of the stage that are done.
        total: Steps of the stage in all.
        remaining: Seconds that the stage will still take, None when it is not known.
        ahead: Jobs that are run before it; 0 unless it is queued.
        error: Why it failed or was interrupted, one line.
        error_field: The option that is wrong, where one is.
        reason: Kind of failure.
        notices: What the user should know.
        output: The file that it makes; it is there when the state is "done".
        preview: Picture of what is being made, where there is one.
        thumbnail: Small picture of the result, where there is one.
        timings: Seconds by stage.
        record: What is in the result, see `ea_app.api.record`.
        version: Grows with every change.
    """

    id: str
    number: int = 0
    state: State = State.QUEUED
    prompt: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "default"
    seed: int = 0
    timeout: float | None = None
    allow_pickle: bool = False
    working_directory: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    stage: str = ""
    step: int = 0
    total: int = 0
    remaining: float | None = None
    ahead: int = 0
    error: str | None = None
    error_field: str | None = None
    reason: Reason | None = None
    notices: tuple[str, ...] = ()
    output: Path | None = None
    preview: Path | None = None
    thumbnail: Path | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None
    version: int = 0

    @property
    def active(self) -> bool:
        """Whether a worker has it."""
        return self.state in ACTIVE

    @property
    def over(self) -> bool:
        """Whether it is done, failed or was cancelled."""
        return self.state in ENDED

    def to_dict(self) -> dict[str, Any]:
        """As plain values, safe for JSON."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name in _PATHS:
            plain[name] = None if plain[name] is None else str(plain[name])
        return {**plain, "notices": list(self.notices), "state": str(self.state)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`; keys of later versions are passed over.

        Raises:
            ValueError: A state or reason that is not known.
        """
        known = {entry.name for entry in fields(cls)}
        plain = {name: value for name, value in values.items() if name in known}
        for name in _PATHS:
            plain[name] = None if plain.get(name) is None else Path(plain[name])
        plain["state"] = State(plain["state"])
        plain["reason"] = None if plain.get("reason") is None else Reason(plain["reason"])
        plain["notices"] = tuple(plain.get("notices", ()))
        return cls(**plain)


_PATHS = ("output", "preview", "thumbnail")
