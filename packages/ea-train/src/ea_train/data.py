"""The clips of a manifest as a task takes them: training batches by number, and some that are held out."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ea_data.manifest import Entry, read_manifest
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSample
from ea_data.training.recipe import DataRecipe
from ea_train.encoded.batches import PlannedBatch
from ea_train.encoded.samples import CacheMode, EncodedSamples

_HELD_OUT_SHARE = 10
"""Of a manifest without one for validation, at most every so many-th row is held out."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which clips.

    Attributes:
        manifest: List of files and captions, see `ea_data.manifest`.
        root: Folder that its paths start from; empty for the manifest's own.
        validation_manifest: Clips for validation; empty holds some of `manifest` out.
        validation_clips: Most clips that are validated on; 0 validates nothing. Held out are no more than a
            tenth of the rows, but one.
        facts_cache: JSON file in which sizes and lengths of files are kept between runs; empty keeps none.
        cache: Folder of an `ea_data.store` with what encoders make of clips and captions, see
            `ea-train precompute`; empty encodes everything in every step.
        cache_mode: "read", or "fill" to add what had to be encoded.
        distinct_epochs: Epochs that are drawn anew; after them the first one comes again, with other noise
            and other captions left out. None is 1 with a cache, and any number without.
        recipe: How files become batches. Batch size and seed are those of the loop.
    """

    manifest: str = ""
    root: str = ""
    validation_manifest: str = ""
    validation_clips: int = 8
    facts_cache: str = ""
    cache: str = ""
    cache_mode: CacheMode = "read"
    distinct_epochs: int | None = None
    recipe: DataRecipe = field(default_factory=DataRecipe)

    def __post_init__(self) -> None:
        """Refuse negative numbers, and a mode without a cache."""
        if self.validation_clips < 0:
            raise ValueError(f"data.validation_clips must be at least 0, got {self.validation_clips}")
        if self.distinct_epochs is not None and self.distinct_epochs < 1:
            raise ValueError(f"data.distinct_epochs must be at least 1, or null, got {self.distinct_epochs}")
        if self.cache_mode != "read" and not self.cache:
            raise ValueError(f"data.cache_mode is {self.cache_mode!r} without data.cache (--cache DIR)")

    @property
    def cycle(self) -> int | None:
        """Epochs after which the first one comes again; None for never."""
        return 1 if self.distinct_epochs is None and self.cache else self.distinct_epochs


class ManifestBatches:
    """Batches of a manifest.

    Args:
        config: Which clips.
        encoded: What a store has of them; None encodes everything in every step.

    Raises:
        ValueError: There is no manifest, it has no usable row, or no batch can be filled.
    """

    def __init__(self, config: DataConfig, encoded: EncodedSamples | None = None) -> None:
        if not config.manifest:
            raise ValueError("data.manifest is empty; give a manifest (--data MANIFEST)")
        entries, held_out = _split(config)
        report = _Report()
        cache = config.facts_cache or None
        try:
            self.dataset = TrainingDataset(entries, config.recipe, facts_cache=cache, report=report)
        except ValueError as error:
            raise ValueError(f"{config.manifest}: {error}") from None
        self.held_out_dataset = None
        self.encoded = encoded
        self.cycle = config.cycle
        again = "" if self.cycle is None else f", again after {self.cycle} epochs"
        self.inputs = {"data": self.dataset.describe() + again}
        if held_out:
            recipe = _steady(config.recipe)
            self.held_out_dataset = TrainingDataset(held_out, recipe, facts_cache=cache, report=report)
            self.inputs["held-out data"] = self.held_out_dataset.describe()
        self._most = config.validation_clips
        report.open()

    def batch(self, number: int, *, lead: int | None = None) -> dict[str, Any]:
        """Training batch of a number; `lead` is that of the first batch of the step."""
        return self.planned(number, lead=lead).made()

    def planned(self, number: int, *, lead: int | None = None) -> PlannedBatch:
        """The same, before any of its files is opened."""
        size = self.cycle_batches
        around, number = (0, number) if size is None else divmod(number, size)
        if lead is not None and size is not None:
            lead %= size
        keys = self.dataset.keys(number, lead=lead)
        captions = keys[0].epoch + around * (self.cycle or 0)
        return PlannedBatch(self.dataset, keys, captions, self.encoded)

    @cached_property
    def cycle_batches(self) -> int | None:
        """Batches after which the first one comes again; None for never."""
        if self.cycle is None:
            return None
        return sum(self.dataset.order.num_batches(epoch) for epoch in range(self.cycle))

    def planned_held_out(self) -> Iterator[PlannedBatch]:
        """The first epoch of the held-out clips, as far as the number of clips allows."""
        if self.held_out_dataset is None:
            return
        seen = 0
        for number in range(len(self.held_out_dataset)):
            keys = self.held_out_dataset.keys(number)
            yield PlannedBatch(self.held_out_dataset, keys, 0, self.encoded)
            seen += len(keys)
            if seen >= self._most:
                return

    def held_out(self) -> Iterator[dict[str, Any]]:
        """The batches of `planned_held_out`."""
        for planned in self.planned_held_out():
            yield planned.made()


class _Report:
    """Tells on the console of files that are left out; silent until there is a data set at all."""

    def __init__(self) -> None:
        self._held: list[BrokenSample] | None = []

    def __call__(self, failure: BrokenSample) -> None:
        if self._held is not None:
            self._held.append(failure)
        else:
            sys.stderr.write(f"left out: {failure}\n")

    def open(self) -> None:
        """Tell of those that were held back, and of all others at once."""
        held, self._held = self._held or [], None
        for failure in held:
            self(failure)


def _split(config: DataConfig) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """Rows for training and for validation."""
    entries = read_manifest(config.manifest, root=config.root or None).entries
    most = config.validation_clips
    if not most:
        return entries, ()
    if config.validation_manifest:
        return entries, read_manifest(config.validation_manifest, root=config.root or None).entries
    count = min(most, max(len(entries) // _HELD_OUT_SHARE, 1))
    if len(entries) <= count:
        return entries, ()
    step = len(entries) // count
    chosen = {place * step for place in range(count)}
    kept = [entry for place, entry in enumerate(entries) if place not in chosen]
    return kept, [entries[place] for place in sorted(chosen)]


def _steady(recipe: DataRecipe) -> DataRecipe:
    """The recipe for validation: every clip once, with its caption, none mirrored."""
    captions = replace(recipe.captions, dropout=0.0)
    return replace(recipe, captions=captions, video_repeat=1, random_flip=False, remainder="keep", run=1)
