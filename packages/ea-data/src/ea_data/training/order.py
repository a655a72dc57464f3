"""The order of batches: every epoch a shuffled list of batches, each from one bucket.

The order depends on the buckets of the rows, a seed and the epoch, on nothing else: not on how many ranks or
workers take part. Any place of it is computed when it is asked for; nothing has to be replayed to continue.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ea_data.training.shuffle import Shuffle

__all__ = [
    "BatchOrder",
    "Batches",
    "EpochOrder",
    "Remainder",
]

Remainder = Literal["keep", "drop", "repeat"]
BucketsOfEpoch: TypeAlias = Callable[[int], ArrayLike]

_BATCHES_KEY: Final = 0
_ROWS_KEY: Final = 1


@dataclass(frozen=True)
class Batches:
    """Some batches.

    Attributes:
        buckets: (N,) the bucket of each.
        lengths: (N,) rows of each.
        rows: (sum of lengths,) their rows, one batch after the other.
    """

    buckets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    rows: NDArray[np.int64]

    def split(self) -> list[NDArray[np.int64]]:
        """The rows of each batch."""
        return np.split(self.rows, np.cumsum(self.lengths)[:-1]) if len(self.lengths) else []


class _Groups:
    """Rows by bucket: those of bucket b are rows[starts[b]:starts[b + 1]]."""

    def __init__(self, buckets: NDArray[np.int64], num_buckets: int) -> None:
        everyone = bool((buckets >= 0).all())
        taken = None if everyone else np.flatnonzero(buckets >= 0)
        of_row = buckets if taken is None else buckets[taken]
        if len(of_row) and int(of_row.max()) >= num_buckets:
            raise ValueError(
                f"a row is in bucket {int(of_row.max())}; allowed: 0 to {num_buckets - 1}, negative for none"
            )
        order = _sorted(of_row, num_buckets)
        self.rows = order if taken is None else taken[order]
        self.counts = np.bincount(of_row, minlength=num_buckets)
        self.starts = np.concatenate(([0], np.cumsum(self.counts)))


def _sorted(buckets: NDArray[np.int64], num_buckets: int) -> NDArray[np.int64]:
    """Places in the order of their buckets; numpy sorts numbers of up to 16 bits by radix, which is fast."""
    return np.argsort(buckets.astype(np.min_scalar_type(num_buckets)), kind="stable")


class EpochOrder:
    """All batches of one epoch; made by `BatchOrder.epoch`."""

    def __init__(
        self,
        groups: _Groups,
        batch_sizes: NDArray[np.int64],
        *,
        key: tuple[int, int],
        remainder: Remainder,
        run: int,
    ) -> None:
        self._groups = groups
        self._sizes = batch_sizes
        self._key = key
        self._remainder: Remainder = remainder
        self._run = run
        unit = batch_sizes * run
        units = groups.counts // unit if remainder == "drop" else -(-groups.counts // unit)
        self._unit_starts = np.concatenate(([0], np.cumsum(units)))
        self._units = Shuffle(int(self._unit_starts[-1]), (*key, _BATCHES_KEY))
        self._shuffles: dict[int, Shuffle] = {}

    def __len__(self) -> int:
        return int(self._unit_starts[-1]) * self._run

    def at(self, positions: ArrayLike) -> Batches:
        """The batches at some places of the order.

        Args:
            positions: (N,) from 0 to the number of batches less one.

        Raises:
            ValueError: A place outside the epoch.
        """
        places = np.atleast_1d(np.asarray(positions, np.int64))
        if len(places) and (int(places.min()) < 0 or int(places.max()) >= len(self)):
            raise ValueError(
                f"places {int(places.min())} to {int(places.max())}; allowed: 0 to {len(self) - 1}"
            )
        units = self._units(places // self._run)
        buckets = np.searchsorted(self._unit_starts, units, side="right") - 1
        batch_of_bucket = (units - self._unit_starts[buckets]) * self._run + places % self._run
        sizes, counts = self._sizes[buckets], self._groups.counts[buckets]
        first = batch_of_bucket * sizes
        lengths = np.minimum(sizes, counts - first) if self._remainder == "keep" else sizes
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        members = np.repeat(first, lengths) + within
        if self._remainder == "repeat":
            members %= np.repeat(counts, lengths)
        return Batches(buckets, lengths, self._rows(np.repeat(buckets, lengths), members))

    def after(self, position: int) -> Iterator[int]:
        """All rows of a batch's bucket, from the one after the batch on; those of the batch come last.

        Args:
            position: Place of the batch in the epoch.

        Raises:
            ValueError: A place outside the epoch.
        """
        batch = self.at([position])
        bucket = batch.buckets
        count = int(self._groups.counts[bucket[0]])
        unit = int(self._units(np.array([position // self._run]))[0])
        place = (unit - int(self._unit_starts[bucket[0]])) * self._run + position % self._run
        end = place * int(self._sizes[bucket[0]]) + int(batch.lengths[0])
        for member in range(end, end + count):
            yield int(self._rows(bucket, np.array([member % count]))[0])

    def _rows(self, buckets: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the shuffled buckets at some places."""
        order = _sorted(buckets, len(self._sizes))
        rows = np.empty(len(buckets), np.int64)
        present, starts = np.unique(buckets[order], return_index=True)
        for bucket, chosen in zip(present.tolist(), np.split(order, starts[1:]), strict=False):
            if bucket not in self._shuffles:
                count = int(self._groups.counts[bucket])
                self._shuffles[bucket] = Shuffle(count, (*self._key, _ROWS_KEY, bucket))
            places = self._shuffles[bucket](members[chosen])
            rows[chosen] = self._groups.rows[self._groups.starts[bucket] + places]
        return rows


class BatchOrder:
    """The batches of all epochs.

    Args:
        buckets: (N,) the bucket of every row, 0 or more; negative leaves a row out. Or a function of the
            epoch, where rows change their buckets.
        batch_sizes: Rows of a batch, of each bucket; one number for all where the buckets are fixed.
        seed: Of the order, 0 or more.
        remainder: What happens to rows that fill no batch: "keep" makes a smaller one, so that every row
            comes exactly once per epoch; "drop" leaves them out for this epoch, others in the next; "repeat"
            fills up with rows that came already.
        run: Batches of one bucket come in runs of this many, so that as many ranks, or a divisor, work on
            the same bucket in every step. With more than 1, `remainder` must be "drop" or "repeat".

    Raises:
        ValueError: A value out of its range.
    """

    def __init__(
        self,
        buckets: ArrayLike | BucketsOfEpoch,
        batch_sizes: int | Sequence[int] | NDArray[np.int64],
        *,
        seed: int = 0,
        remainder: Remainder = "keep",
        run: int = 1,
    ) -> None:
        if remainder not in get_args(Remainder):
            raise ValueError(f"remainder is {remainder!r}; allowed: {', '.join(get_args(Remainder))}")
        if seed < 0 or run < 1:
            raise ValueError(f"seed and run are {seed} and {run}; allowed: seed 0 or more, run 1 or more")
        if run > 1 and remainder == "keep":
            raise ValueError(f"run is {run} and remainder 'keep'; allowed: drop or repeat with a run above 1")
        self.seed = seed
        self.remainder: Remainder = remainder
        self.run = run
        self._of_epoch = buckets if callable(buckets) else None
        fixed = None if callable(buckets) else _checked(buckets)
        self._sizes = _batch_sizes(batch_sizes, fixed)
        self.num_rows: int | None = None if fixed is None else len(fixed)
        self._groups = None if fixed is None else _Groups(fixed, len(self._sizes))
        self._latest: dict[int, EpochOrder] = {}
        self._counts: dict[int, int] = {}

    @property
    def is_fixed(self) -> bool:
        """Whether rows keep their buckets, so that all epochs have as many batches."""
        return self._of_epoch is None

    @property
    def fingerprint(self) -> int:
        """A number that differs where seed, batch sizes, remainders, runs or fixed buckets do, of 32 bits."""
        settings = f"{self.seed} {self.remainder} {self.run}".encode()
        counts = b"" if self._groups is None else self._groups.counts.astype("<i8").tobytes()
        return zlib.crc32(settings + self._sizes.astype("<i8").tobytes() + counts)

    def num_batches(self, epoch: int) -> int:
        """Batches of an epoch; the same for all if the buckets are fixed.

        Raises:
            ValueError: As `epoch`.
        """
        known = 0 if self.is_fixed and epoch > 0 else epoch
        if known not in self._counts:
            self._counts[known] = len(self.epoch(epoch))
        return self._counts[known]

    def locate(self, batch: int, *, epoch: int = 0) -> tuple[int, int]:
        """The epoch and the place in it of a batch that is counted over all epochs.

        Args:
            batch: Number of the batch, from 0.
            epoch: Where the count begins.

        Raises:
            ValueError: A negative number, or as `epoch`.
        """
        if batch < 0:
            raise ValueError(f"batch is {batch}; allowed: 0 or more")
        if self.is_fixed:
            epochs, place = divmod(batch, self.num_batches(epoch))
            return epoch + epochs, place
        while batch >= (total := self.num_batches(epoch)):
            epoch, batch = epoch + 1, batch - total
        return epoch, batch

    def epoch(self, number: int) -> EpochOrder:
        """The batches of an epoch, from 0.

        Raises:
            ValueError: A negative epoch, or one in which no bucket fills a batch.
        """
        if number < 0:
            raise ValueError(f"epoch is {number}; allowed: 0 or more")
        if number not in self._latest:
            made = self._make(number)
            if len(made) == 0:
                raise ValueError(
                    f"epoch {number} has no batch; allowed: smaller batches, or remainder 'keep'"
                )
            # A step may lie across two epochs; older ones are not needed again.
            self._latest = {**{n: e for n, e in self._latest.items() if abs(n - number) == 1}, number: made}
        return self._latest[number]

    def _make(self, number: int) -> EpochOrder:
        groups = self._groups
        if groups is None:
            assert self._of_epoch is not None
            of_row = _checked(self._of_epoch(number))
            if self.num_rows not in (None, len(of_row)):
                raise ValueError(
                    f"epoch {number} has {len(of_row)} rows; allowed: {self.num_rows}, as before"
                )
            self.num_rows = len(of_row)
            groups = _Groups(of_row, len(self._sizes))
        return EpochOrder(
            groups, self._sizes, key=(self.seed, number), remainder=self.remainder, run=self.run
        )


def _checked(buckets: ArrayLike) -> NDArray[np.int64]:
    of_row = np.asarray(buckets)
    if of_row.ndim != 1 or len(of_row) == 0 or of_row.dtype.kind not in "iu":
        raise ValueError(
            f"buckets are {of_row.dtype} {of_row.shape}; allowed: one whole number for each of 1 or more rows"
        )
    return of_row


def _batch_sizes(
    given: int | Sequence[int] | NDArray[np.int64], of_row: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    sizes = np.asarray(given, np.int64)
    if sizes.ndim == 0:
        if of_row is None:
            raise ValueError("batch_sizes is one number; allowed: one for each bucket, where buckets change")
        sizes = np.full(max(int(of_row.max()) + 1, 1), sizes, np.int64)
    if sizes.ndim != 1 or len(sizes) == 0 or int(sizes.min()) < 1:
        raise ValueError("batch_sizes has none, or one below 1; allowed: 1 or more rows")
    return sizes
