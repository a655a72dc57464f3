"""The orders of the original programs, for runs that are to see the same batches.

They replay an epoch from its beginning and keep it in memory; `ea_data.training.order` does neither.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from ea_data.geometry.buckets import NO_BUCKET, ResolutionBuckets

__all__ = [
    "open_sora_batches",
    "open_sora_buckets",
    "queue_batches",
]

B = TypeVar("B", bound=Hashable)


def queue_batches(
    order: Iterable[int],
    bucket_of: Sequence[B],
    batch_size: int,
    waiting: Mapping[B, Sequence[int]] | None = None,
) -> tuple[list[list[int]], dict[B, list[int]]]:
    """The batches of EasyAnimate: rows wait in a queue per bucket, and a full queue is a batch.

    Args:
        order: All rows, shuffled; in the original by `torch.randperm` seeded with seed + epoch.
        bucket_of: The bucket of every row: (type, aspect), or the type alone without `enable_bucket`.
        batch_size: Rows of a batch.
        waiting: What the epoch before left in its queues.

    Returns:
        The batches, and what is left in the queues.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; allowed: 1 or more")
    queues = {bucket: list(rows) for bucket, rows in (waiting or {}).items()}
    batches: list[list[int]] = []
    for row in order:
        queue = queues.setdefault(bucket_of[row], [])
        queue.append(row)
        if len(queue) == batch_size:
            batches.append(queue)
            queues[bucket_of[row]] = []
    return batches, {bucket: queue for bucket, queue in queues.items() if queue}


def open_sora_buckets(
    buckets: ResolutionBuckets,
    num_frames: Sequence[int],
    height: Sequence[int],
    width: Sequence[int],
    *,
    seed: int,
    epoch: int,
) -> list[int]:
    """The bucket of every row in one epoch of Open-Sora 1.1, `NO_BUCKET` where none takes it.

    Every row draws anew at each slot that it tries, from a generator of its own, which takes some ten
    microseconds. Source: Open-Sora 1.1.

    Args:
        buckets: Of the config.
        num_frames: Of each row's file; 1 for pictures.
        height: Of each row in pixels.
        width: As `height`.
        seed: Of the run.
        epoch: From 0.
    """
    assigned: list[int] = []
    for row, (frames, *size) in enumerate(zip(num_frames, height, width, strict=True)):
        first = seed + epoch + row * len(buckets)
        draws = (
            (slot, np.random.default_rng(first + slot).random()) for slot in buckets.tried(frames, *size)
        )
        stays = next((slot for slot, drawn in draws if drawn < buckets.slots[slot].keep), None)
        assigned.append(NO_BUCKET if stays is None else buckets.nearest(stays, *size))
    return assigned


def open_sora_batches(
    buckets: Sequence[int],
    batch_sizes: Sequence[int],
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    drop_last: bool = True,
) -> list[list[int]]:
    """The batches of one epoch of Open-Sora 1.1 in the order in which ranks take turns.

    The original repeats the head of this list until it divides by the number of ranks; the repeated places
    find no rows and become empty batches. Here the list ends where the rows end. Source: Open-Sora 1.1.

    Args:
        buckets: The bucket of every row in this epoch, negative for none.
        batch_sizes: Of every bucket.
        seed: Of the run.
        epoch: From 0.
        shuffle: Whether rows and batches are shuffled.
        drop_last: Leave rows out that fill no batch; otherwise the bucket's first rows fill it up, once, so
            that a bucket with less than half a batch is left out all the same.
    """
    generator = torch.Generator().manual_seed(seed + epoch)
    rows_of: dict[int, list[int]] = {}
    for row, bucket in enumerate(buckets):
        if bucket >= 0:
            rows_of.setdefault(bucket, []).append(row)
    turns: list[int] = []
    for bucket, found in rows_of.items():
        size = batch_sizes[bucket]
        whole = found[: len(found) - len(found) % size] if drop_last else found + found[: -len(found) % size]
        rows_of[bucket] = _shuffled(whole, generator) if shuffle else whole
        turns += [bucket] * (len(whole) // size)
    turns = _shuffled(turns, generator) if shuffle else turns
    used = dict.fromkeys(rows_of, 0)
    batches: list[list[int]] = []
    for bucket in turns:
        first, used[bucket] = used[bucket], used[bucket] + batch_sizes[bucket]
        batches.append(rows_of[bucket][first : used[bucket]])
    return batches


def _shuffled(values: list[int], generator: torch.Generator) -> list[int]:
    return [values[place] for place in torch.randperm(len(values), generator=generator).tolist()]
