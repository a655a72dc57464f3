"""The file of a result, written while its frames are made."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ea_app.api.output import staged
from ea_app.api.record import embedded
from ea_app.options import InputError
from ea_data.media import BackgroundWriter, MediaError, in_background, open_writer
from ea_dit.pipelines.pipeline import to_uint8


class _UnfinishedError(Exception):
    """Tells what is open that the file is not to be kept."""


class ResultFile:
    """Takes frames as they are decoded; file and JSON appear together when the record is known.

    A block: if it ends before `finish`, nothing is left, and what was there before is still there.

    Args:
        path: The file to write; None writes nothing.
        record: What makes the result, to be completed before `finish`.
    """

    def __init__(self, path: Path | None, record: dict[str, Any]) -> None:
        self._path, self._record = path, record
        self._stack = ExitStack()
        self._writer: BackgroundWriter | None = None
        self._temporary: Path | None = None
        self._seconds = self._since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        error = _UnfinishedError() if error is None else error
        self._stack.__exit__(type(error), error, trace)  # nothing is open after `finish`

    def collect(self, decoded: Iterable[Tensor]) -> Tensor:
        """Take frames one portion after the other, and keep them.

        Args:
            decoded: float32 (1, 3, T, H, W) in 0 ... 1, on the CPU.

        Returns:
            All as uint8 (T, H, W, 3): a long video is never in memory as floating point numbers.

        Raises:
            InputError: The file cannot be written.
        """
        portions: list[Tensor] = []
        for frames in decoded:
            portions.append(to_uint8(frames)[0])
            if self._path is not None:
                self._add(self._path, portions[-1])
        return torch.cat(portions)

    def finish(self) -> None:
        """Put the file and the JSON in place; adds the seconds that writing held up the run to the record.

        Raises:
            InputError: They cannot be written.
        """
        if self._path is not None:
            with self._writing(self._path):
                self._stack.close()

    def _add(self, path: Path, frames: Tensor) -> None:
        with self._writing(path):
            if self._writer is None:
                self._writer = self._open(path)
            self._writer.add(frames.numpy())

    def _open(self, path: Path) -> BackgroundWriter:
        enter = self._stack.enter_context
        self._temporary = enter(staged(path, self._record))
        self._stack.callback(self._note_seconds)
        writer = open_writer(
            self._temporary,
            fps=self._record["request"]["fps"],
            metadata=lambda: embedded(self._record, path),
        )
        return enter(in_background(enter(writer)))

    def _note_seconds(self) -> None:
        seconds = self._seconds + time.perf_counter() - self._since
        self._record["timings"]["write"] = round(seconds, 3)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Measures, and names the output in errors."""
        self._since = time.perf_counter()
        try:
            yield
        except MediaError as error:
            raise InputError("output", str(error).replace(str(self._temporary), str(path))) from error
        except OSError as error:
            raise InputError("output", f"cannot write {path}: {error.strerror or error}") from error
        finally:
            self._seconds += time.perf_counter() - self._since
