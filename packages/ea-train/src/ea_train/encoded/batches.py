"""A batch of a data set, with its encodings out of a store as far as they are there.

Files are opened only where an encoding is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ea_data.training.choices import SampleChoices, draw_choices, draw_mask, draw_noise_seed
from ea_data.training.collate import ClipBatch
from ea_data.training.dataset import TrainingDataset
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import BatchShape
from ea_train.encoded.plan import DrawnSample
from ea_train.encoded.samples import WANTED, EncodedSamples, Found


@dataclass(frozen=True)
class PlannedBatch:
    """A batch before any of its files is opened.

    Attributes:
        dataset: Of the batch.
        keys: Of its samples.
        caption_epoch: Epoch that decides which captions are left out; the others' may come again and again.
        encoded: What a store has; None for nothing.
    """

    dataset: TrainingDataset
    keys: Sequence[SampleKey]
    caption_epoch: int
    encoded: EncodedSamples | None = None

    @cached_property
    def shape(self) -> BatchShape:
        """Of its samples."""
        return self.dataset.shape(self.keys)

    def found(self) -> Found | None:
        """What the store has of it; None without a store.

        Raises:
            ValueError: A file cannot be read.
        """
        return None if self.encoded is None else self.encoded.find(self.drawn, self.shape)

    def made(self) -> dict[str, Any]:
        """Tensors and lists by name, repeated as often as the shape of the batch says.

        Returns:
            "texts" and either "pixels" or, where everything is encoded, "size"; and as far as there are:
            "masks", "control", "rays", "fps", "references", "noise seeds" and encodings, see
            `ea_train.encoded.samples`.
        """
        found = self.found_or_none()
        if found is not None and found.complete:
            return self._without_files(found)
        clips = self.dataset[self.keys]
        self.dataset.failures.add(clips.broken)
        if not clips.broken:
            return self._with_files(clips, found)
        other = PlannedBatch(self.dataset, clips.keys, self.caption_epoch, self.encoded)
        return other._with_files(clips, other.found_or_none())

    @cached_property
    def drawn(self) -> Sequence[DrawnSample]:
        """What is drawn for its samples."""
        return [self._drawn(key, text) for key, text in zip(self.keys, self.texts, strict=True)]

    @cached_property
    def texts(self) -> Sequence[str]:
        """Captions; which are left out is drawn anew in every epoch."""
        choices = [self._choices(key._replace(epoch=self.caption_epoch)) for key in self.keys]
        return [
            "" if one.caption_dropped else self.dataset.entry(key).text
            for one, key in zip(choices, self.keys, strict=True)
        ]

    def found_or_none(self) -> Found | None:
        """Files that cannot be read are found out, and replaced, when they are opened."""
        try:
            return self.found()
        except ValueError:
            return None

    def _total(self, key: SampleKey) -> int:
        return self.dataset.known(self.dataset.rows[key.row]).frames

    def _choices(self, key: SampleKey) -> SampleChoices:
        number = int(self.dataset.rows[key.row])
        return draw_choices(self.dataset.recipe, key, number, self._total(key), self.shape)

    def _drawn(self, key: SampleKey, text: str) -> DrawnSample:
        mask = draw_mask(self.dataset.recipe, key, self.shape)
        return DrawnSample(
            entry=self.dataset.entry(key),
            total=self._total(key),
            choices=self._choices(key),
            text=text,
            mask=None if mask is None else mask[1],
            noise_seed=draw_noise_seed(self.dataset.recipe, key),
        )

    def _common(self) -> dict[str, Any]:
        recipe = self.dataset.recipe
        seeds = [draw_noise_seed(recipe, key) for key in self.keys]
        return {"texts": list(self.texts), "noise seeds": seeds}

    def _without_files(self, found: Found) -> dict[str, Any]:
        shape = self.shape
        masks = [one.mask for one in self.drawn if one.mask is not None]
        entries: dict[str, Any] = {
            **self._common(),
            "size": (shape.frames, shape.height, shape.width),
            "masks": torch.from_numpy(np.stack(masks)) if masks else None,
            "fps": found.rates,
            **found.entries(),
        }
        return _repeated(entries, shape.repeat)

    def _with_files(self, clips: ClipBatch, found: Found | None) -> dict[str, Any]:
        entries: dict[str, Any] = {
            **self._common(),
            "pixels": clips.pixels_BTCHW,
            "masks": clips.masks_BTHW,
            "control": clips.control_BTCHW,
            "rays": clips.rays_BTCHW,
            "fps": clips.fps_B,
            "references": clips.references_B,
        }
        if found is not None and self.encoded is not None:
            entries |= found.entries()
            if self.encoded.mode == "fill":
                entries[WANTED] = list(found.wanted)
        return _repeated(entries, clips.shape.repeat)


def _repeated(entries: Mapping[str, Any], times: int) -> dict[str, Any]:
    found = {name: value for name, value in entries.items() if value is not None}
    if times == 1:
        return found
    repeated: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, Tensor):
            repeated[name] = value.repeat(times, *(1 for _ in value.shape[1:]))
        else:
            repeated[name] = value * times if isinstance(value, list) else value
    return repeated
