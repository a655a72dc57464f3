"""Batch sizes with which every bucket takes about as long for a step.

Ranks wait for the slowest of them: with one batch size for all buckets the small ones idle. The search asks a
function for the time of a step; it may measure a real one, or be a `StepTimeModel`.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = [
    "BatchRange",
    "StepTimeModel",
    "equal_time_batch_sizes",
    "fill_bucket_config",
]

B = TypeVar("B", bound=Hashable)


@dataclass(frozen=True)
class BatchRange:
    """Batch sizes that are tried.

    Attributes:
        least: The smallest.
        most: The largest.
        step: From one to the next.
    """

    least: int = 1
    most: int = 1024
    step: int = 1

    def __post_init__(self) -> None:
        """Refuses a range without a size."""
        if not 1 <= self.least <= self.most or self.step < 1:
            raise ValueError(f"{self} has no batch size; allowed: 1 <= least <= most, step 1 or more")

    @property
    def sizes(self) -> range:
        """All of them, ascending."""
        return range(self.least, self.most + 1, self.step)


@dataclass(frozen=True)
class StepTimeModel:
    """Seconds of a step of a diffusion transformer: fixed + batch x (tokens x linear + tokens² x quadratic).

    Attributes:
        fixed: What a step costs with an empty batch: optimizer, communication.
        linear: Of a token: projections and feed-forward layers.
        quadratic: Of a pair of tokens: attention over the whole clip.
    """

    fixed: float
    linear: float
    quadratic: float = 0.0

    def __post_init__(self) -> None:
        """Refuses times that are negative or nothing at all."""
        costs = (self.fixed, self.linear, self.quadratic)
        if not all(0 <= cost < math.inf for cost in costs) or max(self.linear, self.quadratic) == 0:
            raise ValueError(f"{self} has no times; allowed: 0 or more, not both linear and quadratic 0")

    def __call__(self, tokens: int, batch_size: int) -> float:
        """Seconds of a step with `batch_size` samples of `tokens` tokens."""
        return self.fixed + batch_size * tokens * (self.linear + self.quadratic * tokens)


def equal_time_batch_sizes(
    buckets: Iterable[B],
    step_time: Callable[[B, int], float],
    *,
    target: float,
    ranges: Mapping[B, BatchRange] | BatchRange | None = None,
) -> dict[B, int]:
    """For each bucket the batch size whose step takes nearest to `target` seconds.

    Of two equally near ones it is the larger.

    Args:
        buckets: Anything that `step_time` understands.
        step_time: (bucket, batch size) to seconds, growing with the batch size. `math.inf`, or a
            `MemoryError`, says that a batch is too large for the device. Called about log2 of the number of
            sizes times per bucket.
        target: Seconds, for instance the time of the bucket and batch size that a run is planned around.
        ranges: What to try, for all buckets or for each.

    Returns:
        Bucket to batch size.

    Raises:
        ValueError: A target that is not positive, or a bucket of which not even the smallest batch runs.
    """
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"target is {target} seconds; allowed: finite numbers above 0")
    found: dict[B, int] = {}
    for bucket in buckets:
        tried = ranges.get(bucket, BatchRange()) if isinstance(ranges, Mapping) else ranges or BatchRange()
        found[bucket] = _nearest(bucket, step_time, target, tried.sizes)
    return found


def fill_bucket_config(
    config: Mapping[str, Mapping[Any, Sequence[Any]]],
    step_time: Callable[[tuple[str, int], int], float],
    *,
    target: float,
) -> dict[str, dict[int, tuple[float, int | None]]]:
    """A bucket config of Open-Sora with the batch sizes that are to be searched filled in.

    Args:
        config: As `ea_data.geometry.buckets.ResolutionBuckets` takes it. In the place of a batch size,
            (most,), (least, most) or (least, most, step) ask for a search; numbers and None stay.
        step_time: ((resolution, frames), batch size) to seconds, see `equal_time_batch_sizes`.
        target: Seconds.

    Raises:
        ValueError: An entry of another form, or as `equal_time_batch_sizes`.
    """
    filled: dict[str, dict[int, tuple[float, int | None]]] = {name: {} for name in config}
    ranges: dict[tuple[str, int], BatchRange] = {}
    for name, entries in config.items():
        for frames, entry in entries.items():
            place = f"bucket_config {name} {frames}"
            if not str(frames).isdecimal() or len(entry) != 2:
                raise ValueError(f"{place} is {entry!r}; allowed: frames: (keep probability, batch sizes)")
            keep, sizes = entry
            searched = isinstance(sizes, tuple | list)
            if searched:
                ranges[name, int(frames)] = _range(place, sizes)
            filled[name][int(frames)] = (keep, None if searched else sizes)
    found = equal_time_batch_sizes(ranges, step_time, target=target, ranges=ranges)
    for (name, frames), size in found.items():
        filled[name][frames] = (filled[name][frames][0], size)
    return filled


def _range(place: str, sizes: Sequence[int]) -> BatchRange:
    if not 1 <= len(sizes) <= 3 or any(type(size) is not int for size in sizes):
        raise ValueError(f"{place}: {sizes!r}; allowed: (most,), (least, most), (least, most, step)")
    return BatchRange(1, sizes[0]) if len(sizes) == 1 else BatchRange(*sizes)


def _nearest(bucket: B, step_time: Callable[[B, int], float], target: float, sizes: range) -> int:
    seconds: dict[int, float] = {}

    def seconds_of(place: int) -> float:
        if place not in seconds:
            try:
                seconds[place] = float(step_time(bucket, sizes[place]))
            except MemoryError:
                seconds[place] = math.inf
            if math.isnan(seconds[place]):
                raise ValueError(
                    f"step_time of {bucket} at batch size {sizes[place]} is no number; allowed: seconds"
                )
        return seconds[place]

    low, high = 0, len(sizes)  # places below low are within the target, from high on they are not
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if seconds_of(middle) <= target else (low, middle)
    around = [place for place in (low - 1, low) if 0 <= place < len(sizes)]
    best = min(around, key=lambda place: (abs(seconds_of(place) - target), -place))
    if math.isinf(seconds_of(best)):
        raise ValueError(
            f"no step of {bucket} runs, not even with batch size {sizes[0]}; allowed: smaller sizes"
        )
    return sizes[best]
