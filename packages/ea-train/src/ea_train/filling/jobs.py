"""What has to be encoded, found and opened by worker processes."""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ea_train.data import ManifestBatches
from ea_train.encoded.batches import PlannedBatch
from ea_train.encoded.samples import WANTED
from ea_train.loop.signals import ignore_signals

DIGESTS = "digests"
"""Entry of a job with what was read of files, see `FileDigests.found`."""


@dataclass(frozen=True)
class Jobs(Dataset[dict[str, Any]]):
    """Batches of a run, by number: those of its epochs, then those that are held out.

    Attributes:
        clips: Of the run.
        numbers: Those of this process.
    """

    clips: ManifestBatches
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """A batch of which something has to be encoded; only `DIGESTS` if there is nothing.

        Raises:
            ValueError: No file of a bucket can be read.
        """
        planned, encoded = self._planned(self.numbers[place]), self.clips.encoded
        assert encoded is not None
        found = planned.found_or_none()
        needed = found is None or not found.has(encoded.plan.roles)
        batch = planned.made() if needed else {}
        return {**(batch if WANTED in batch else {}), DIGESTS: encoded.digests.found()}

    def _planned(self, number: int) -> PlannedBatch:
        training = self.clips.cycle_batches
        assert training is not None
        if number < training:
            return self.clips.planned(number)
        return next(islice(self.clips.planned_held_out(), number - training, None))


def numbers_of(clips: ManifestBatches, *, rank: int, size: int) -> Sequence[int]:
    """Numbers of the batches that one of several processes works on."""
    assert clips.cycle_batches is not None
    total = clips.cycle_batches + sum(1 for _ in clips.planned_held_out())
    return range(total)[rank::size]


def texts_of(clips: ManifestBatches, *, rank: int, size: int) -> list[str]:
    """Captions that one of several processes works on: each once, and the empty one."""
    found = dict.fromkeys([""])
    for dataset in (clips.dataset, clips.held_out_dataset):
        if dataset is not None:
            entries = set(dataset.rows.tolist())
            found.update(
                dict.fromkeys(entry.text for row, entry in enumerate(dataset.entries) if row in entries)
            )
    return list(found)[rank::size]


def opened(jobs: Jobs, workers: int) -> Iterator[dict[str, Any]]:
    """The jobs in their order, opened by so many processes besides this one."""
    loader = DataLoader(jobs, batch_size=None, num_workers=workers, worker_init_fn=ignore_signals)
    try:
        yield from loader
    except BaseException as error:
        # Its frames hold the workers, which ignore SIGTERM: the process would wait for them forever.
        traceback.clear_frames(error.__traceback__)
        raise
