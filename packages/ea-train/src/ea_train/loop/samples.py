"""Clips of a run, in its folder: when they are due, what is written, what is there already."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ea_data.media import write_text, write_video
from ea_data.media.atomic import atomic_path
from ea_train.config import RunConfig
from ea_train.loop.run_folder import may_change
from ea_train.panels import contact_sheet, grid_frames
from ea_train.samples import ClipMaker, Panel
from ea_train.schema import flatten, to_mapping
from ea_train.tasks.base import Task

FOLDER = "samples"


class SampleFolder:
    """The folder `samples` of a run: `step-000123.mp4`, a `.png` sheet of it, and a `.json` of what it shows.

    Args:
        directory: Run folder.
        config: Of the run.
        task: Of the run.
        clips: What makes them.
    """

    def __init__(self, directory: Path, config: RunConfig, task: Task, clips: ClipMaker) -> None:
        self._folder = directory / FOLDER
        self._loop = config.loop
        self._clips = clips
        facts = {"run": _digest(config, task.inputs), "clips": clips.describe()}
        self._facts: dict[str, Any] = json.loads(json.dumps(facts))  # as a file gives them back

    def due(self, step: int) -> bool:
        """Whether clips belong to this step (counted from 1)."""
        every = self._clips.every or self._loop.validate_every
        return step == self._loop.steps or bool(every and step % every == 0)

    def files(self, step: int) -> tuple[Path, Path]:
        """The film and the sheet of a step."""
        stem = f"step-{step:06d}"
        return self._folder / f"{stem}.mp4", self._folder / f"{stem}.png"

    def has(self, step: int) -> bool:
        """Whether this run made them already: one that goes on repeats steps, and gets the same clips."""
        facts = self._folder / f"step-{step:06d}.json"
        try:
            found = json.loads(facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        here = all(path.is_file() for path in self.files(step))
        return here and all(found.get(name) == value for name, value in self._facts.items())

    def write(self, step: int, rows: Sequence[Sequence[Panel]]) -> None:
        """Write them; the `.json` comes last and says that all is there.

        Raises:
            OSError: The folder cannot be made.
            ValueError: A file cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        film, sheet = self.files(step)
        facts = film.with_suffix(".json")
        facts.unlink(missing_ok=True)
        write_video(film, grid_frames(rows), fps=self._clips.fps)
        with atomic_path(sheet) as temporary:
            contact_sheet(rows).save(temporary)
        columns = [panel.label for panel in rows[0]]
        text = json.dumps({"step": step, "columns": columns, **self._facts}, ensure_ascii=False, indent=1)
        write_text(facts, f"{text}\n")


def _digest(config: RunConfig, inputs: Mapping[str, str]) -> str:
    """Of all that decides the weights of a step."""
    values = flatten(json.loads(json.dumps(to_mapping(config))))
    kept: dict[str, Any] = {name: value for name, value in values.items() if not may_change(name)}
    text = json.dumps([kept, dict(inputs)], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
