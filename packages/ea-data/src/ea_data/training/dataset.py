"""The data set that opens files: from the rows of a manifest to batches, each a function of its number.

The order of batches, their shapes and all that is drawn follow from the recipe and from what is known of the
files (frames, height, width); a batch opens its own files and decodes only the frames that it shows.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch.utils.data import Dataset

from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.geometry.crop import shrink_size
from ea_data.manifest import Entry
from ea_data.media import Limits
from ea_data.training.choices import SampleChoices, clip_of, draw_choices, draw_mask
from ea_data.training.collate import ClipBatch, plan_shape, stack_clips
from ea_data.training.facts import FileFacts, Progress, gather_facts
from ea_data.training.failures import BrokenSample, FailureLog, Report
from ea_data.training.reading import OpenedSample, SampleReader
from ea_data.training.recipe import DataRecipe
from ea_data.training.rows import UNUSABLE, batch_order, checked_facts
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import BatchShape, repeat_videos

__all__ = ["TRAINING_LIMITS", "TrainingDataset"]

TRAINING_LIMITS: Final = Limits(max_seconds=4 * 3600.0, max_bytes=64 << 30)
"""Bounds of files that are trained on: whole films are opened, a few frames are read."""

_MOST_REPLACEMENTS: Final = 100
_SHOWN: Final = 3
_MAX_THREADS: Final = 64


class TrainingDataset(Dataset[ClipBatch]):
    """Samples and batches of a manifest.

    A file that cannot be used is named once, by `report`, and counted in `failures`. One that is known from
    the beginning (it cannot be opened, or is too short) is in no batch; one that breaks later is replaced by
    the next row of its bucket in the order of its epoch.

    As the `dataset` of a torch `DataLoader` it takes the lists of keys of a `BucketSampler`, with
    `batch_size=None`; see `ea_data.training.loader`. Processes that load may be forked or spawned.

    Args:
        entries: Rows, as `read_manifest(path).entries`.
        recipe: How they become samples and batches.
        limits: Bounds of files; `TRAINING_LIMITS` if None.
        facts_cache: JSON file in which sizes and lengths are kept that the rows do not say; nothing is
            written if None.
        threads: That decode a video; 1 suits a loader with several processes.
        report: Called with each file that cannot be used, once; by default a `BrokenSampleWarning`.
        progress: Called with (done, total) while files are looked at.

    Attributes:
        entries: As given.
        recipe: As given.
        rows: (N,) the entry of every row: pictures first, then the videos `recipe.video_repeat` times.
        order: Of the batches.
        left_out: Entries that are in no batch.
        failures: How often which file failed, in this process.

    Raises:
        ValueError: No usable file, or a batch size that no bucket fills.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        recipe: DataRecipe | None = None,
        *,
        limits: Limits | None = None,
        facts_cache: str | Path | None = None,
        threads: int = 1,
        report: Report | None = None,
        progress: Progress | None = None,
    ) -> None:
        if not 0 <= threads <= _MAX_THREADS:
            raise ValueError(f"threads is {threads}; allowed: 0 (one per core) to {_MAX_THREADS}")
        self.entries = tuple(entries)
        self.recipe = recipe or DataRecipe()
        limits = limits or TRAINING_LIMITS
        self._reader = SampleReader(
            self.recipe.control,
            limits,
            threads,
            self.recipe.clip.timeout,
            "bicubic" if self.recipe.buckets is not None else "bilinear",
        )
        cache = None if facts_cache is None else Path(facts_cache)
        found = gather_facts(self.entries, limits, cache=cache, progress=progress)
        pairs = zip(self.entries, found, strict=True)
        checked = [checked_facts(self.recipe, entry, facts) for entry, facts in pairs]
        facts = [facts if isinstance(facts, FileFacts) else UNUSABLE for facts in checked]
        self._facts = np.array(facts, np.int64).reshape(-1, len(UNUSABLE))
        self.left_out = tuple(facts for facts in checked if isinstance(facts, BrokenSample))
        self.failures = FailureLog(report)
        self.failures.add(self.left_out)
        if len(self.left_out) == len(self.entries):
            raise ValueError(f"no row can be trained on; allowed: 1 or more{_first(self.left_out)}")
        is_video = np.array([entry.type == "video" for entry in self.entries])
        self.rows = repeat_videos(is_video, self.recipe.video_repeat)
        self.order = batch_order(self.recipe, is_video[self.rows], self._facts[self.rows])
        self.order.num_batches(0)

    def __len__(self) -> int:
        """Batches of the first epoch."""
        return self.order.num_batches(0)

    def __getitem__(self, keys: Sequence[SampleKey]) -> ClipBatch:
        """The batch of some keys, as a `BucketSampler` gives them.

        Raises:
            ValueError: No file of the bucket can be read, or a hundred cannot; the last reasons are named.
        """
        wanted, broken = list(keys), list[BrokenSample]()
        spare = self._spare(wanted)
        opened: dict[int, tuple[SampleChoices, OpenedSample]] = {}
        shape = self.shape(wanted)
        while len(opened) < len(wanted):
            place = next(place for place in range(len(wanted)) if place not in opened)
            try:
                opened[place] = self._open(wanted[place], shape)
            except ValueError as error:
                broken.append(self._broken(wanted[place], str(error)))
                wanted[place] = self._next(spare, broken)
                other = self.shape(wanted)
                if other != shape:
                    opened.clear()
                    shape = other
        return self._batch(wanted, [opened[place] for place in range(len(wanted))], shape, tuple(broken))

    def batch(self, number: int, *, lead: int | None = None) -> ClipBatch:
        """A batch by its number over all epochs; the same in any process, after any other.

        Args:
            number: From 0.
            lead: Number of the first batch of the step, for choices that all ranks make alike; `number` if
                None.

        Raises:
            ValueError: As `__getitem__`, or a negative number.
        """
        batch = self[self.keys(number, lead=lead)]
        self.failures.add(batch.broken)
        return batch

    def keys(self, number: int, *, lead: int | None = None) -> list[SampleKey]:
        """The keys of the samples of a batch; see `batch`."""
        epoch, place = self.order.locate(number)
        return self.keys_at(epoch, place, lead=None if lead is None else self.order.locate(lead))

    def keys_at(self, epoch: int, place: int, *, lead: tuple[int, int] | None = None) -> list[SampleKey]:
        """The keys of the samples of a batch, by its epoch and its place in it.

        Raises:
            ValueError: There is no such batch.
        """
        found = self.order.epoch(epoch).at([place])
        bucket = int(found.buckets[0])
        return [SampleKey(row, bucket, epoch, place, lead or (epoch, place)) for row in found.rows.tolist()]

    def shape(self, keys: Sequence[SampleKey]) -> BatchShape:
        """What the samples of a batch are made to be, before any of them is opened."""
        facts = [self.known(self.rows[key.row]) for key in keys]
        kind, layout = self.entry(keys[0]).type, self.recipe.layout
        if isinstance(layout, ResolutionBuckets):
            return plan_shape(layout, self.recipe.seed, keys[0], kind, [], 1)
        # The sizes that EasyAnimate decodes to, from which it chooses.
        most = max(layout.image_sample_size, layout.video_sample_size)
        sizes = [shrink_size(one.height, one.width, most) for one in facts]
        lengths = [1 if kind == "image" else clip_of(self.recipe, one.frames).count for one in facts]
        return plan_shape(layout, self.recipe.seed, keys[0], kind, sizes, min(lengths))

    def entry(self, key: SampleKey) -> Entry:
        """The row of the manifest that a key asks for."""
        return self.entries[self.rows[key.row]]

    def sample(self, key: SampleKey, shape: BatchShape) -> tuple[SampleChoices, OpenedSample]:
        """One sample alone, as it is in a batch of this shape: what was drawn for it, and its pixels.

        Raises:
            ValueError: It cannot be read.
        """
        return self._open(key, shape)

    def describe(self) -> str:
        """The recipe and a digest of all rows: two data sets that say the same give the same batches.

        Paths count from the folder that all files have in common, so that it may be moved; a file that
        changes and keeps its name, size and length is not noticed.
        """
        recipe = json.dumps(self.recipe.deciding(), sort_keys=True)
        return f"{len(self.entries)} rows {self._digest.hex()} {recipe}"

    @property
    def fingerprint(self) -> int:
        """The digest of all rows and their order as a number of 32 bits, never 0; see `describe`."""
        return int.from_bytes(self._digest[:4], "big") or 1

    @cached_property
    def _digest(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        files = [path for entry in self.entries for path in (entry.path, entry.control_path) if path]
        common = len(os.path.commonpath([file.parent for file in files]))
        for entry, facts in zip(self.entries, self._facts, strict=True):
            control = str(entry.control_path)[common:] if entry.control_path else None
            row = [str(entry.path)[common:], entry.type, entry.text, control, *facts.tolist()]
            digest.update(json.dumps(row).encode())
        return digest.digest()

    def known(self, entry: int) -> FileFacts:
        """Size and length of the file of an entry that is in batches.

        Raises:
            ValueError: It was left out.
        """
        facts = FileFacts(*self._facts[entry].tolist())
        if not facts.frames:
            raise ValueError(f"row {entry} was left out; allowed: rows that can be trained on")
        return facts

    def _open(self, key: SampleKey, shape: BatchShape) -> tuple[SampleChoices, OpenedSample]:
        total = self.known(self.rows[key.row]).frames
        choices = draw_choices(self.recipe, key, int(self.rows[key.row]), total, shape)
        return choices, self._reader(self.entry(key), total, choices, shape)

    def _spare(self, keys: Sequence[SampleKey]) -> Iterator[SampleKey]:
        """What replaces samples of a batch: the next of its bucket, at last those of the batch itself."""
        for row in self.order.epoch(keys[0].epoch).after(keys[0].batch):
            yield keys[0]._replace(row=row)

    def _next(self, spare: Iterator[SampleKey], broken: Sequence[BrokenSample]) -> SampleKey:
        failed = {failure.path for failure in broken}
        key = next((key for key in spare if self.entry(key).path not in failed), None)
        if key is None:
            raise ValueError(f"no file of a bucket can be read{_first(broken)}")
        if len(broken) >= _MOST_REPLACEMENTS:
            raise ValueError(f"{len(broken)} files of a bucket cannot be read{_first(broken)}")
        return key

    def _broken(self, key: SampleKey, reason: str) -> BrokenSample:
        entry = self.entry(key)
        return BrokenSample(entry.path, entry.line, reason)

    def _batch(
        self,
        keys: Sequence[SampleKey],
        opened: Sequence[tuple[SampleChoices, OpenedSample]],
        shape: BatchShape,
        broken: tuple[BrokenSample, ...],
    ) -> ClipBatch:
        drawn = [mask for key in keys if (mask := draw_mask(self.recipe, key, shape)) is not None]
        samples = [sample for _, sample in opened]
        control = [sample.control for sample in samples if sample.control is not None]
        rays = [torch.from_numpy(sample.rays) for sample in samples if sample.rays is not None]
        texts = [self.entry(key).text for key in keys]
        references = [one.reference for one, _ in opened if one.reference is not None]
        return ClipBatch(
            pixels_BTCHW=stack_clips([sample.frames for sample in samples]),
            texts=tuple(
                "" if one.caption_dropped else text for text, (one, _) in zip(texts, opened, strict=True)
            ),
            keys=tuple(keys),
            kind=self.entry(keys[0]).type,
            shape=shape,
            control_BTCHW=stack_clips(control) if control else None,
            masks_BTHW=torch.from_numpy(np.stack([mask for _, mask in drawn])) if drawn else None,
            mask_kinds=tuple(kind for kind, _ in drawn),
            rays_BTCHW=torch.stack(rays) if rays else None,
            fps_B=torch.tensor([sample.fps for sample in samples]),
            references_B=torch.tensor(references) if references else None,
            choices=tuple(one for one, _ in opened),
            broken=broken,
        )


def _first(failures: Sequence[BrokenSample]) -> str:
    """The first reasons, for a message."""
    shown = "; ".join(str(failure) for failure in failures[:_SHOWN])
    more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    return f": {shown}{more}" if failures else ""
