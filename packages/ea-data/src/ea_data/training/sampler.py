"""The batches of one rank: every rank takes its turn in one order that all share.

Step after step the ranks take the next `world_size` batches of the order, one each, and epoch follows epoch
without a gap. So every row comes as often as its epoch says, no matter how many ranks there are, and a run
that continues with another number of ranks continues the same order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ea_data.training.order import BatchOrder

__all__ = [
    "BucketSampler",
    "SampleKey",
    "SamplerState",
]

_AHEAD: Final = 1024


class SampleKey(NamedTuple):
    """What a dataset is asked for: a row, and all that random choices about it may depend on.

    Attributes:
        row: Of the list of samples.
        bucket: Of its batch.
        epoch: From 0.
        batch: Place of its batch in the epoch's order.
        lead: (epoch, place) of the first batch of the step, the same on all ranks, for choices that all ranks
            must make alike.
    """

    row: int
    bucket: int
    epoch: int
    batch: int
    lead: tuple[int, int]


@dataclass(frozen=True)
class SamplerState:
    """Where in the order a run is: all that has to be kept to continue it.

    Attributes:
        seed: Of the order.
        epoch: Of the next step.
        batch: Place of the next step's first batch in that epoch.
        rows: How many rows the order is of; 0 is not compared.
        order: Its fingerprint, see `BatchOrder.fingerprint`; 0 is not compared. After a change of batch sizes
            a run can begin its next epoch: `SamplerState(seed, epoch + 1)`.
        files: Of the list of files, see `TrainingDataset.fingerprint`; 0 is not compared.
    """

    seed: int
    epoch: int = 0
    batch: int = 0
    rows: int = 0
    order: int = 0
    files: int = 0

    def to_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From a checkpoint.

        Raises:
            ValueError: Other keys, or a value that is no whole number of 0 or more.
        """
        names = tuple(field.name for field in fields(cls))
        if set(values) != set(names):
            raise ValueError(
                f"the sampler's state has the keys {sorted(values)}; allowed: {', '.join(names)}"
            )
        if wrong := [name for name in names if type(values[name]) is not int or values[name] < 0]:
            raise ValueError(f"the sampler's state has {wrong[0]} {values[wrong[0]]!r}; allowed: 0 or more")
        return cls(**values)


class BucketSampler:
    """An endless iterable of batches for one rank, usable as `batch_sampler` of a torch `DataLoader`.

    Workers of the loader change nothing: the loader hands its batches out in this order.

    Args:
        order: The same on all ranks.
        rank: Of this process.
        world_size: Number of processes.
        start: Where to begin; see `state_after`.
        files: A number that other lists of files do not have; 0 for none.

    Raises:
        ValueError: A rank outside the world, or a state of another order or of other files.
    """

    def __init__(
        self,
        order: BatchOrder,
        *,
        rank: int = 0,
        world_size: int = 1,
        start: SamplerState | None = None,
        files: int = 0,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank, world_size are {rank}, {world_size}; allowed: 0 <= rank < world_size")
        self.order = order
        self.rank = rank
        self.world_size = world_size
        self.files = files
        self.start = SamplerState(seed=order.seed) if start is None else start
        if self.start.seed != order.seed:
            raise ValueError(
                f"the sampler's state has seed {self.start.seed}; allowed: {order.seed}, the order's"
            )
        total = order.num_batches(self.start.epoch)
        if self.start.rows not in (0, order.num_rows):
            raise ValueError(
                f"the sampler's state is of {self.start.rows} samples; allowed: {order.num_rows}, the order's"
            )
        if self.start.files and files and self.start.files != files:
            raise ValueError(
                "the sampler's state is of another list of files; allowed: the same rows in the same order"
            )
        if self.start.order not in (0, order.fingerprint):
            raise ValueError(
                "the sampler's state is of other buckets or batch sizes; allowed: the same, or a new epoch"
            )
        if self.start.batch > total:
            raise ValueError(
                f"the sampler's state is at batch {self.start.batch}; allowed: 0 to {total}, as epoch "
                f"{self.start.epoch} has"
            )

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """The batches of this rank from `start` on, without end."""
        epoch, place = self.order.locate(self.start.batch, epoch=self.start.epoch)
        while True:
            end = min(self.order.num_batches(epoch), place + _AHEAD * self.world_size)
            leads = np.arange(place, end, self.world_size)
            inside = leads + self.rank < end
            yield from self._batches(
                epoch, leads[inside] + self.rank, [(epoch, lead) for lead in leads[inside].tolist()]
            )
            # The last step of an epoch may reach into the next.
            for lead in leads[~inside].tolist():
                other, own = self.order.locate(lead + self.rank, epoch=epoch)
                yield from self._batches(other, np.array([own]), [(epoch, lead)])
            epoch, place = self.order.locate(int(leads[-1]) + self.world_size, epoch=epoch)

    def state_after(self, steps: int) -> SamplerState:
        """Where a run is that has used this many batches of every rank since `start`.

        Count what was trained on, not what a loader has read ahead.

        Raises:
            ValueError: Not a whole number, or a negative one.
        """
        if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 0:
            raise ValueError(f"steps is {steps!r}; allowed: whole numbers of 0 or more")
        steps = int(steps)
        epoch, place = self.order.locate(self.start.batch + steps * self.world_size, epoch=self.start.epoch)
        order = self.order
        return SamplerState(order.seed, epoch, place, order.num_rows or 0, order.fingerprint, self.files)

    def _batches(
        self, epoch: int, places: NDArray[np.int64], leads: list[tuple[int, int]]
    ) -> Iterator[list[SampleKey]]:
        batches = self.order.epoch(epoch).at(places)
        buckets = batches.buckets.tolist()
        for place, bucket, rows, lead in zip(places.tolist(), buckets, batches.split(), leads, strict=True):
            yield [SampleKey(row, bucket, epoch, place, lead) for row in rows.tolist()]
