"""One sample of a synthesized folder: its files, its row of the manifest, and the proof that it is whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ea_data.media import MediaError, write_text, write_video
from ea_data.synthetic.clips import SCENE_KINDS, Scene, caption_of, draw, record, sample
from ea_data.synthetic.render import check_size
from ea_data.synthetic.signals import Signal, find_signal
from ea_data.synthetic.vocabulary import Split, split_of

__all__ = ["RECORDS", "Plan", "make_sample", "read_sample"]

RECORDS: Final = "records"
"""Folder of the files that say that a sample is finished, one each."""

_LOSSLESS: Final = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a folder of samples holds; sample `index` is a function of this and the index alone.

    Attributes:
        num_frames: Frames of a clip; 1 makes pictures.
        height: Pixels, even for clips.
        width: Pixels, even for clips.
        fps: Frames per second.
        scenes: Kinds of scenes, which take turns.
        controls: Names of control signals; the first one is the `control_file_path` of a row.
        seed: Of the scenes, 0 or more.
        split: "train", "heldout" or "all", see `sample`.

    Raises:
        ValueError: A name is unknown or comes twice, or a number is out of range.
    """

    num_frames: int = 17
    height: int = 64
    width: int = 64
    fps: float = 8.0
    scenes: tuple[str, ...] = SCENE_KINDS
    controls: tuple[str, ...] = ()
    seed: int = 0
    split: Split = "train"

    def __post_init__(self) -> None:
        check_size(self.num_frames, self.height, self.width)
        if self.num_frames > 1 and (self.height % 2 or self.width % 2):
            raise ValueError(f"height and width are {self.height} and {self.width}; allowed for clips: even")
        if not 0.1 <= self.fps <= 240:
            raise ValueError(f"fps is {self.fps}; allowed: 0.1 to 240")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed: 0 or more")
        split_of(self.split)
        for name in self.scenes:
            if name not in SCENE_KINDS:
                raise ValueError(f"scene kind is {name!r}; allowed: {', '.join(SCENE_KINDS)}")
        for name in self.controls:
            find_signal(name)
        for what, names in (("scenes", self.scenes), ("controls", self.controls)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} are {', '.join(names)}; allowed: each name once")
        if not self.scenes:
            raise ValueError(f"scenes is empty; allowed: one or more of {', '.join(SCENE_KINDS)}")

    def scene(self, index: int) -> Scene:
        """The scene of a sample."""
        turn, number = index % len(self.scenes), index // len(self.scenes)
        return sample(self.scenes[turn], self.seed, number, split=self.split)

    @property
    def type(self) -> str:
        """The type of every row."""
        return "image" if self.num_frames == 1 else "video"

    def folders(self) -> tuple[str, ...]:
        """Names of the folders that files go to."""
        return (f"{self.type}s", *self.controls, RECORDS)

    def files(self, index: int) -> dict[str, str]:
        """Names of a sample's files relative to the folder; the clip's has the key "file_path"."""
        picture = ".png" if self.num_frames == 1 else ".mp4"
        files = {"file_path": f"{self.type}s/{index:07d}{picture}"}
        for name in self.controls:
            suffix = picture if find_signal(name).video else find_signal(name).suffix
            files[f"{name}_file_path"] = f"{name}/{index:07d}{suffix}"
        return files

    def row(self, index: int) -> dict[str, Any]:
        """The row of a sample in the manifest."""
        scene, files = self.scene(index), self.files(index)
        text = caption_of(scene, motion=self.num_frames > 1)
        row: dict[str, Any] = {"file_path": files["file_path"], "text": text, "type": self.type}
        if self.controls:
            row["control_file_path"] = files[f"{self.controls[0]}_file_path"]
        # What training asks of a file, so that it need not be opened for that.
        facts = {"num_frames": self.num_frames, "height": self.height, "width": self.width}
        rate = {} if self.num_frames == 1 else {"fps": self.fps}
        return row | files | facts | rate | {"scene": record(scene)}


def make_sample(folder: Path, plan: Plan, index: int) -> dict[str, Any]:
    """Write the files of a sample, and last of all the record that proves them.

    Returns:
        Its row.

    Raises:
        MediaError: A file cannot be written.
    """
    row, files = plan.row(index), plan.files(index)
    clip = draw(plan.scene(index), num_frames=plan.num_frames, height=plan.height, width=plan.width)
    note = json.dumps(row, ensure_ascii=False)
    write_video(folder / files["file_path"], clip.frames, fps=plan.fps, metadata=note, repeatable=True)
    for name in plan.controls:
        signal, path = find_signal(name), folder / files[f"{name}_file_path"]
        if signal.video is not None:
            frames = np.repeat(signal.video(clip)[..., None], 3, axis=3)
            write_video(path, frames, fps=plan.fps, crf=_LOSSLESS, metadata=_note(signal), repeatable=True)
        elif signal.text is not None:
            write_text(path, signal.text(clip))
    digests = {name: _digest(folder / name) for name in files.values()}
    write_text(_record(folder, index), json.dumps({"row": row, "files": digests}, ensure_ascii=False) + "\n")
    return row


def read_sample(folder: Path, plan: Plan, index: int) -> dict[str, Any] | None:
    """The row of a sample that is finished and whole; None where anything is missing or has changed."""
    try:
        found = json.loads(_record(folder, index).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    row, files = plan.row(index), set(plan.files(index).values())
    if not isinstance(found, dict) or found.get("row") != json.loads(json.dumps(row)):
        return None
    digests = found.get("files")
    if not isinstance(digests, Mapping) or set(digests) != files:
        return None
    return row if all(_digest(folder / name) == digests[name] for name in files) else None


def _note(signal: Signal) -> str:
    return json.dumps({"control": signal.name, "made_by": "ea-data synthesize"})


def _record(folder: Path, index: int) -> Path:
    return folder / RECORDS / f"{index:07d}.json"


def _digest(path: Path) -> str:
    """Hash of a file's content; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
