"""Where the rows of an epoch go: buckets, batches, and what is left of both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.training.order import BatchOrder

__all__ = ["BucketCount", "EpochCount", "count_epoch"]

_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketCount:
    """A bucket in an epoch.

    Attributes:
        bucket: Its name.
        samples: In it; a video that is repeated counts as often.
        batch_size: Samples of a full batch.
        batches: Of the epoch.
        full: Of these, full with different samples.
        left_out: Samples that come in no batch (remainder "drop").
        repeated: Samples that come once more to fill a batch (remainder "repeat").
    """

    bucket: str
    samples: int
    batch_size: int
    batches: int
    full: int
    left_out: int
    repeated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochCount:
    """An epoch.

    Attributes:
        epoch: From 0.
        samples: Kept rows, videos as often as they are repeated.
        not_drawn: Of these, in no bucket of this epoch, by the draws of keep probabilities.
        buckets: Those with samples.
    """

    epoch: int
    samples: int
    not_drawn: int
    buckets: tuple[BucketCount, ...]

    @property
    def batches(self) -> int:
        """Of all buckets."""
        return sum(bucket.batches for bucket in self.buckets)

    @property
    def left_out(self) -> int:
        """Samples that come in no batch, of all buckets."""
        return sum(bucket.left_out for bucket in self.buckets)

    @property
    def repeated(self) -> int:
        """Samples that come once more, of all buckets."""
        return sum(bucket.repeated for bucket in self.buckets)


def count_epoch(
    order: BatchOrder,
    epoch: int,
    buckets: NDArray[np.int64],
    batch_sizes: NDArray[np.int64],
    name: Callable[[int], str],
) -> EpochCount:
    """Count the batches that an order really has.

    Args:
        order: Of the samples.
        epoch: From 0.
        buckets: (N,) of each sample in this epoch; negative for none.
        batch_sizes: Of each bucket.
        name: Of a bucket.
    """
    present, samples = np.unique(buckets[buckets >= 0], return_counts=True)
    batches, full, used = _batches(order, epoch, batch_sizes)
    counts = []
    for bucket, inside in zip(present.tolist(), samples.tolist(), strict=True):
        size = int(batch_sizes[bucket])
        counts.append(
            BucketCount(
                bucket=name(bucket),
                samples=inside,
                batch_size=size,
                batches=int(batches[bucket]),
                full=min(int(full[bucket]), inside // size),
                left_out=max(0, inside - int(used[bucket])),
                repeated=max(0, int(used[bucket]) - inside),
            )
        )
    not_drawn = int(np.count_nonzero(buckets < 0))
    assert int(samples.sum()) + not_drawn == len(buckets)
    return EpochCount(epoch=epoch, samples=len(buckets), not_drawn=not_drawn, buckets=tuple(counts))


def _batches(
    order: BatchOrder, epoch: int, batch_sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Batches, those of the full length, and samples in them, of each bucket."""
    batches, full, used = (np.zeros(len(batch_sizes), np.int64) for _ in range(3))
    try:
        plan = order.epoch(epoch)
    except ValueError:  # no bucket fills a batch
        return batches, full, used
    for start in range(0, len(plan), _AT_ONCE):
        part = plan.at(np.arange(start, min(start + _AT_ONCE, len(plan))))
        np.add.at(batches, part.buckets, 1)
        np.add.at(full, part.buckets, part.lengths == batch_sizes[part.buckets])
        np.add.at(used, part.buckets, part.lengths)
    return batches, full, used
