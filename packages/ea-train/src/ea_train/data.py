"""The clips of a manifest as a task takes them: training batches by number, and some that are held out."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ea_data.manifest import Entry, read_manifest
from ea_data.training.collate import ClipBatch
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSample
from ea_data.training.recipe import DataRecipe

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
        recipe: How files become batches. Batch size and seed are those of the loop.
    """

    manifest: str = ""
    root: str = ""
    validation_manifest: str = ""
    validation_clips: int = 8
    facts_cache: str = ""
    recipe: DataRecipe = field(default_factory=DataRecipe)

    def __post_init__(self) -> None:
        """Refuse negative numbers."""
        if self.validation_clips < 0:
            raise ValueError(f"data.validation_clips must be at least 0, got {self.validation_clips}")


class ManifestBatches:
    """Batches of a manifest.

    Args:
        config: Which clips.

    Raises:
        ValueError: There is no manifest, it has no usable row, or no batch can be filled.
    """

    def __init__(self, config: DataConfig) -> None:
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
        self.inputs = {"data": self.dataset.describe()}
        if held_out:
            recipe = _steady(config.recipe)
            self.held_out_dataset = TrainingDataset(held_out, recipe, facts_cache=cache, report=report)
            self.inputs["held-out data"] = self.held_out_dataset.describe()
        self._most = config.validation_clips
        report.open()

    def batch(self, number: int, *, lead: int | None = None) -> dict[str, Any]:
        """Training batch of a number; `lead` is that of the first batch of the step."""
        return batch_of(self.dataset.batch(number, lead=lead))

    def held_out(self) -> Iterator[dict[str, Any]]:
        """The first epoch of the held-out clips, as far as the number of clips allows."""
        if self.held_out_dataset is None:
            return
        seen = 0
        for number in range(len(self.held_out_dataset)):
            clips = self.held_out_dataset.batch(number)
            yield batch_of(clips)
            seen += len(clips.texts)
            if seen >= self._most:
                return


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


def batch_of(clips: ClipBatch) -> dict[str, Any]:
    """Tensors by name, repeated as often as the shape of the batch says.

    Args:
        clips: Of a data set.

    Returns:
        "pixels", "texts" and, as far as there are, "masks", "control", "rays", "fps" and "references".
    """
    tensors = {
        "pixels": clips.pixels_BTCHW,
        "masks": clips.masks_BTHW,
        "control": clips.control_BTCHW,
        "rays": clips.rays_BTCHW,
        "fps": clips.fps_B,
        "references": clips.references_B,
    }
    times = clips.shape.repeat
    found: dict[str, Any] = {
        name: _repeated(tensor, times) for name, tensor in tensors.items() if tensor is not None
    }
    return {**found, "texts": list(clips.texts) * times}


def _repeated(tensor: Tensor, times: int) -> Tensor:
    return tensor.repeat(times, *(1 for _ in tensor.shape[1:])) if times > 1 else tensor


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
