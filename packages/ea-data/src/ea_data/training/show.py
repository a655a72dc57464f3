"""One sample as a model would see it in an epoch: its pixels, and every choice that was made for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ea_data.control.camera import read_camera
from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.manifest import Entry
from ea_data.training.collate import ClipBatch
from ea_data.training.dataset import TrainingDataset

__all__ = ["Shown", "find_entry", "place_of", "show"]

Frames = NDArray[np.uint8]

_CHUNK: Final = 4096
_DECIMALS: Final = 4


@dataclass(frozen=True)
class Shown:
    """A sample in its batch.

    Attributes:
        frames: (T, H, W, 3) uint8, as the model is shown it.
        masked: The same, with black where the model has to make pixels; None without masks.
        control: What steers it; None without.
        rays: (T, 6, H, W) float32, of the camera; None without.
        fps: Frames per second of the clip, for playing it.
        facts: Everything that was chosen, ready for JSON.
    """

    frames: Frames
    masked: Frames | None
    control: Frames | None
    rays: NDArray[np.float32] | None
    fps: float
    facts: Mapping[str, Any]


def find_entry(entries: Sequence[Entry], name: str) -> int:
    """The row of a manifest that is meant.

    Args:
        entries: Rows.
        name: Number of the row among all of the manifest, from 0, or the name of its file, with as many
            folders as it needs.

    Returns:
        Its place in `entries`, which have no wrong rows.

    Raises:
        ValueError: No such row, or several.
    """
    if not entries:
        raise ValueError("the manifest has no row that can be used; allowed: 1 or more")
    if re.fullmatch(r"[0-9]+", name):
        digits = name.lstrip("0") or "0"
        places = (place for place, entry in enumerate(entries) if str(entry.row) == digits)
        if (place := next(places, None)) is None:
            raise ValueError(
                f"there is no row {name[:40]} that can be used; allowed: numbers of such rows, from "
                f"{entries[0].row} to {entries[-1].row}, or the name of a file"
            )
        return place
    wanted = PurePath(name).parts
    found = [number for number, entry in enumerate(entries) if entry.path.parts[-len(wanted) :] == wanted]
    if not wanted or not found:
        raise ValueError(f"no row has the file {name[:200]!r}; allowed: the name of one, or a number from 0")
    if len(found) > 1:
        numbers = ", ".join(str(entries[place].row) for place in found[:10])
        raise ValueError(
            f"{len(found)} rows have the file {name[:200]!r}; allowed: one of their numbers, {numbers}"
        )
    return found[0]


def place_of(dataset: TrainingDataset, entry: int, epoch: int) -> tuple[int, int]:
    """Where a row of the manifest first comes in an epoch.

    Returns:
        Place of its batch in the epoch, and its own in the batch.

    Raises:
        ValueError: It is in no batch; with the reason.
    """
    wanted = dataset.entries[entry]
    path, line, row = wanted.path, wanted.line, wanted.row
    if reasons := [left.reason for left in dataset.left_out if (left.path, left.line) == (path, line)]:
        raise ValueError(f"row {row} cannot be trained on: {reasons[0]}")
    order = dataset.order.epoch(epoch)
    for start in range(0, len(order), _CHUNK):
        batches = order.at(np.arange(start, min(start + _CHUNK, len(order))))
        hits = np.flatnonzero(dataset.rows[batches.rows] == entry)
        if len(hits):
            ends = np.cumsum(batches.lengths)
            batch = int(np.searchsorted(ends, hits[0], side="right"))
            return start + batch, int(hits[0] - (ends[batch] - batches.lengths[batch]))
    raise ValueError(
        f"row {row}, {path}, is in no batch of epoch {epoch}: no bucket takes it there, or it is left out "
        "by remainder 'drop'"
    )


def show(dataset: TrainingDataset, entry: int, epoch: int) -> Shown:
    """The sample of a row of the manifest, where it first comes in an epoch.

    Raises:
        ValueError: It is in no batch, or cannot be read.
    """
    batch_place, place = place_of(dataset, entry, epoch)
    keys = dataset.keys_at(epoch, batch_place)
    batch = dataset[keys]
    if batch.keys[place] != keys[place]:
        path, row = dataset.entries[entry].path, dataset.entries[entry].row
        (reason, *_) = [failure.reason for failure in batch.broken if failure.path == path]
        raise ValueError(f"row {row} cannot be read, another takes its place: {reason}")
    choices, sample = dataset.sample(keys[place], batch.shape)
    mask = None if batch.masks_BTHW is None else batch.masks_BTHW[place].numpy()
    frames = _pictures(batch.pixels_BTCHW[place])
    return Shown(
        frames=frames,
        masked=None if mask is None else np.where(mask[..., None], np.uint8(0), frames),
        control=None if batch.control_BTCHW is None else _pictures(batch.control_BTCHW[place]),
        rays=None if batch.rays_BTCHW is None else batch.rays_BTCHW[place].numpy(),
        fps=_rate(sample.seconds),
        facts={
            **_row_facts(dataset, entry, epoch),
            "batch": _batch_facts(dataset, batch, batch_place, place),
            "source": {**dataset.known(entry)._asdict(), "fps": round(sample.fps, _DECIMALS)},
            "frames": list(choices.frames),
            "seconds": [round(second, _DECIMALS) for second in sample.seconds],
            "caption": batch.texts[place],
            "caption_dropped": choices.caption_dropped,
            "flipped": choices.flipped,
            "mask": None
            if mask is None
            else {"kind": batch.mask_kinds[place], "share": round(float(mask.mean()), _DECIMALS)},
            "reference": choices.reference,
            "control": _control_facts(dataset, entry, choices.frames),
        },
    )


def _row_facts(dataset: TrainingDataset, entry: int, epoch: int) -> dict[str, Any]:
    row = dataset.entries[entry]
    return {
        "row": row.row,
        "line": row.line,
        "file": str(row.path),
        "type": row.type,
        "text": row.text,
        "epoch": epoch,
        "seed": dataset.recipe.seed,
    }


def _batch_facts(dataset: TrainingDataset, batch: ClipBatch, batch_place: int, place: int) -> dict[str, Any]:
    shape = batch.shape
    return {
        "number_in_epoch": batch_place,
        "batches_of_epoch": dataset.order.num_batches(batch.keys[0].epoch),
        "bucket": _bucket_name(dataset, batch),
        "place": place,
        "rows": [dataset.entries[choices.entry].row for choices in batch.choices],
        "frames": shape.frames,
        "height": shape.height,
        "width": shape.width,
        "repeat": shape.repeat,
        "replaced": [str(failure) for failure in batch.broken],
    }


def _bucket_name(dataset: TrainingDataset, batch: ClipBatch) -> str:
    layout, index = dataset.recipe.layout, batch.keys[0].bucket
    if isinstance(layout, ResolutionBuckets):
        bucket = layout[index]
        return f"{bucket.resolution}, {bucket.num_frames} frames, {bucket.aspect}"
    if not layout.enable_bucket:
        return f"{batch.kind}s"
    return f"{batch.kind}s of aspect {ASPECTS.names[index % len(ASPECTS)]}"


def _control_facts(dataset: TrainingDataset, entry: int, frames: Sequence[int]) -> dict[str, Any] | None:
    kind, path = dataset.recipe.control, dataset.entries[entry].control_path
    if kind == "none":
        return None
    facts: dict[str, Any] = {"kind": kind, "file": None if path is None else str(path)}
    if kind == "camera" and path is not None:
        facts |= _camera_facts(
            read_camera(path).stretched(dataset.known(entry).frames).world_to_camera, frames
        )
    return facts


def _camera_facts(world_to_camera: NDArray[np.float64], frames: Sequence[int]) -> dict[str, Any]:
    """How the camera gets from the first frame to the last, as the first camera sees it."""
    first, last = world_to_camera[frames[0]], world_to_camera[frames[-1]]
    places = [-pose[:, :3].T @ pose[:, 3] for pose in (first, last)]
    turn = first[:, :3] @ last[:, :3].T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    move = first[:, :3] @ (places[1] - places[0])
    return {
        "moves_right_down_forward": [round(float(value), _DECIMALS) + 0.0 for value in move],
        "turns_degrees": round(float(angle), 2),
    }


def _pictures(pixels_TCHW: torch.Tensor) -> Frames:
    bytes_THWC = ((pixels_TCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, 3)
    return bytes_THWC.contiguous().numpy()


def _rate(seconds: Sequence[float]) -> float:
    """Frames per second of a clip, within what files of videos can say."""
    length = seconds[-1] - seconds[0]
    return float(np.clip((len(seconds) - 1) / length, 0.1, 240)) if length > 0 else 8.0
