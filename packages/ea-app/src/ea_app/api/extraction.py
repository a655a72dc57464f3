"""Control signals that a job makes on the way: `--control-from VIDEO --control canny`.

The record keeps the file, the kind with its version and the options, so that a replay makes the same signal.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ea_app.options import InputError, concerning
from ea_data.control.kinds import KINDS, Kind, NetworkOptions, find_kind
from ea_data.control.makers import open_maker
from ea_data.control.options import Options

KINDS_WITHOUT_WEIGHTS: Final = tuple(
    name for name, kind in KINDS.items() if not issubclass(kind.options, NetworkOptions)
)
"""Kinds that read no weights: what anybody may ask for, since no file and no hub is named with them."""

_NOT_RECORDED: Final = ("offline", "allow_pickle")
"""What a record must not decide for whoever replays it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extraction:
    """How a control signal is made of a file.

    Attributes:
        kind: What it shows.
        options: Of that kind.
    """

    kind: Kind
    options: Options

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Self | None:
        """What the options of a job ask for; None where no signal is to be made.

        Raises:
            InputError: No such kind, or wrong options of it.
        """
        if "control_from" not in values:
            if values.get("control") in KINDS:
                raise InputError(
                    "control", f"{values['control']} is a kind of signal; --control-from VIDEO says of what"
                )
            return None
        with concerning("control"):
            kind = find_kind(values["control"])
        if not values.get("control_options", "-").strip():
            raise InputError("control-options", "must be NAME=VALUE, several with commas, got nothing")
        with concerning("control-options"):
            return cls(kind=kind, options=kind.options.of_text(kind.name, values.get("control_options", "")))

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], *, allow_pickle: bool) -> Self:
        """What a record says; nothing is downloaded for it.

        Args:
            entry: Result of `to_entry`.
            allow_pickle: Read weights in pickles.

        Raises:
            InputError: A kind or version that is not here, or options that the kind does not have.
        """
        with concerning("control"):
            kind = find_kind(entry["kind"])
            if entry["version"] != kind.version:
                raise ValueError(
                    f"{kind.name} has changed since (its version was {entry['version']}, now {kind.version})"
                )
            here = {"offline": True, "allow_pickle": allow_pickle} if kind.has_weights else {}
            names = {field.name for field in dataclasses.fields(kind.options)}
            settings = {name: value for name, value in here.items() if name in names}
            return cls(kind=kind, options=kind.options.of(kind.name, {**entry["options"], **settings}))

    def to_entry(self) -> dict[str, Any]:
        """What goes into a record."""
        options = dataclasses.asdict(self.options)
        kept = {name: value for name, value in options.items() if name not in _NOT_RECORDED}
        return {"kind": self.kind.name, "version": self.kind.version, "options": kept}

    def apply(
        self, frames: NDArray[np.uint8], notify: Callable[[str], None] | None = None
    ) -> tuple[NDArray[np.uint8], Self]:
        """Make the signal.

        Args:
            frames: (T, H, W, 3).
            notify: Is told what is about to be downloaded.

        Returns:
            (T, H, W, 3), and the extraction with names of weights that always mean the same ones.

        Raises:
            InputError: Options that do not go together, or weights that are not there or wrong.
            ValueError: Something is not installed.
        """
        with self._concerning_options():
            maker = open_maker(self.kind.name, self.options, notify=notify)
        still = frames.strides[0] == 0  # one picture for all frames
        made = np.stack(list(maker(frames[:1] if still else frames)))
        made = np.broadcast_to(made, frames.shape) if still else made
        return made, dataclasses.replace(self, options=maker.options)

    @contextmanager
    def _concerning_options(self) -> Iterator[None]:
        """Name mistakes that begin with an option of the signal after the option that gives those."""
        try:
            yield
        except ValueError as error:
            begin = str(error).split(maxsplit=1)[:1]
            if begin and begin[0].rstrip(":") in {field.name for field in dataclasses.fields(self.options)}:
                raise InputError("control-options", str(error)) from error
            raise


@contextmanager
def concerning_source(extraction: Extraction | None) -> Iterator[None]:
    """Name mistakes in the control video after the option that gave it."""
    try:
        yield
    except InputError as error:
        if extraction is None or error.field != "control":
            raise
        raise InputError("control-from", error.reason) from error


def is_extraction_entry(entry: object) -> bool:
    """Whether an entry has the form of `Extraction.to_entry`."""
    return (
        isinstance(entry, dict)
        and entry.keys() == {"kind", "version", "options"}
        and isinstance(entry["kind"], str)
        and isinstance(entry["version"], int)
        and isinstance(entry["options"], dict)
        and not set(_NOT_RECORDED) & entry["options"].keys()
    )
