"""Keeping a job on disk while it runs, so that it can go on after anything: a crash, a cancel, a restart."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from ea_app.api.latents import STEP_FILE, Kept, latents_path, read_state, write_state
from ea_app.options import InputError
from ea_dit.pipelines import GenerationRequest
from ea_dit.pipelines.states import WindowState

RESUME_DIR = "resume-dir"
"""What mistakes about the folder are called."""

STEP_SECONDS = 10.0
"""Least seconds between two steps that are kept."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where and how often a job is kept.

    Attributes:
        folder: Of one job; made if it is not there.
        seconds: Least seconds between two steps that are kept. Latents that are ready to be decoded always
            are.
    """

    folder: str | Path
    seconds: float = STEP_SECONDS


class Checkpoint:
    """The folder of one job.

    Args:
        resume: Where it is, and how often steps are kept.
        key: Of the job, see `job_key`.
        record: What makes the result; it goes into the files.

    Raises:
        InputError: The folder cannot be used, or holds another job.
    """

    def __init__(self, resume: Resume, key: str, record: Mapping[str, Any]) -> None:
        self._folder = Path(resume.folder).expanduser()
        self._key, self._record, self._seconds = key, record, resume.seconds
        self._next = time.monotonic() + resume.seconds
        self.notices: list[str] = []
        """What could not be used or kept."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(RESUME_DIR, f"cannot use {self._folder}: {error.strerror or error}") from None

    def states(self) -> tuple[WindowState, ...]:
        """Where the job was: its windows that are done, and the step of the one that was begun.

        Damaged files are passed over with a notice: the job goes on from what is before them.

        Raises:
            InputError: The folder holds another job.
        """
        found: list[WindowState] = []
        while (state := self._read(latents_path(self._folder, len(found)))) is not None:
            found.append(state)
            if len(found) == state.windows:
                return tuple(found)
        begun = self._read(self._folder / STEP_FILE)
        return (*found, begun) if begun is not None and begun.window == len(found) else tuple(found)

    def save(self, state: WindowState) -> None:
        """Keep a state if it is time for it.

        Raises:
            InputError: Latents that are ready to be decoded cannot be written.
        """
        kept = Kept(state=state, key=self._key, record=self._record)
        if state.finished:
            try:
                write_state(latents_path(self._folder, state.window), kept)
            except OSError as error:
                reason = f"cannot write latents in {self._folder}: {error.strerror or error}"
                raise InputError(RESUME_DIR, reason) from error
            (self._folder / STEP_FILE).unlink(missing_ok=True)
            return
        if time.monotonic() < self._next:
            return
        try:
            write_state(self._folder / STEP_FILE, kept)
        except OSError as error:  # a step less to go on from is no reason to stop
            self.notices.append(f"{RESUME_DIR}: a step could not be kept: {error.strerror or error}")
        self._next = time.monotonic() + self._seconds

    def _read(self, path: Path) -> WindowState | None:
        if not path.exists():
            return None
        try:
            kept = read_state(path)
        except InputError as error:
            self.notices.append(f"{RESUME_DIR}: {error.reason}; it is passed over")
            return None
        if kept.key != self._key:
            raise InputError(RESUME_DIR, f"{self._folder} holds another job; empty it or name another folder")
        return kept.state


def clear(folder: Path) -> None:
    """Remove what a job kept."""
    for path in (folder / STEP_FILE, *folder.glob("latents-*.safetensors")):
        path.unlink(missing_ok=True)


def job_key(request: GenerationRequest, record: Mapping[str, Any]) -> str:
    """A hash of all that decides a result but for its last bits: request, pixels, model, dtype, version.

    Args:
        request: With its conditions, whose contents count, not where they came from.
        record: With model, weights, loras and machine.
    """
    digest = xxhash.xxh3_128()
    parts = {
        "request": request.to_dict(),
        "model": record["model"]["fingerprint"],
        "weights": {key: entry["xxh3"] for key, entry in record.get("weights", {}).items()},
        "loras": [(entry["xxh3"], entry["weight"]) for entry in record.get("loras", ())],
        "dtype": record["machine"]["dtype"],
        "vae_dtype": record["machine"].get("vae_dtype"),
        "program": record["versions"]["ea-app"],
        "linear": record["machine"].get("linear"),
    }
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for condition in request.conditions:
        digest.update(type(condition).__name__.encode())
        for field in fields(condition):
            _add(digest, field.name, getattr(condition, field.name))
    return digest.hexdigest()


def _add(digest: Any, name: str, value: object) -> None:
    digest.update(name.encode())
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{plain.dtype}{tuple(plain.shape)}{sys.byteorder}".encode())
        digest.update(plain.view(-1).view(torch.uint8).numpy())
    else:
        digest.update(repr(value).encode())
