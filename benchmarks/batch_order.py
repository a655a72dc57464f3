"""How long does it take to plan an epoch of many rows, and to go on in the middle of one?

Rows have sizes of all kinds. Aspect buckets stay the same in all epochs; buckets of resolution and frames
are drawn anew in each. Every measurement is a process of its own, so that its memory can be read. Gate: on a
small list every row comes once, in batches of one bucket, and a stopped run continues with the same batches.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any

import numpy as np

from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.sampling import keep_draws
from ea_data.training.order import BatchOrder
from ea_data.training.sampler import BucketSampler, SamplerState
from ea_data.training.shapes import aspect_bucket_ids
from memory import peak_gigabytes
from report import GateError, Report

# Stage 2 of Open-Sora 1.1, the longest of its bucket configs.
STAGE_2 = {
    "144p": {1: (1.0, 48), 16: (1.0, 17), 32: (1.0, 9), 64: (1.0, 4), 128: (1.0, 1)},
    "256": {1: (0.8, 254), 16: (0.5, 17), 32: (0.5, 9), 64: (0.5, 4), 128: (0.5, 1)},
    "240p": {1: (0.1, 20), 16: (0.9, 17), 32: (0.8, 9), 64: (0.8, 4), 128: (0.8, 2)},
    "512": {1: (0.5, 86), 16: (0.2, 4), 32: (0.2, 2), 64: (0.2, 1), 128: (0.0, None)},
    "480p": {1: (0.4, 54), 16: (0.4, 4), 32: (0.0, None)},
    "720p": {1: (0.1, 20), 16: (0.1, 2), 32: (0.0, None)},
    "1024": {1: (0.3, 20)},
    "1080p": {1: (0.4, 8)},
}
BLOCK = 1 << 16
WORLD = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the list [default: 10000000]")
    parser.add_argument("--batch-size", type=int, default=1, help="of aspect buckets [default: 1]")
    parser.add_argument("--repeats", type=int, default=3, help="[default: 3]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    gate = _check()
    rows, size = arguments.rows, arguments.batch_size
    runs = {
        name: [_alone(measure, rows, size) for _ in range(arguments.repeats)]
        for name, measure in (("aspects", _aspects), ("resolutions", _resolutions))
    }
    figures = {
        "plan_seconds": _median(runs["aspects"], "plan_seconds"),
        "plan_gigabytes": _median(runs["aspects"], "gigabytes"),
        "resume_seconds": _median(runs["aspects"], "resume_seconds"),
        "bucket_seconds": _median(runs["aspects"], "bucket_seconds"),
        "resolution_plan_seconds": _median(runs["resolutions"], "plan_seconds"),
        "resolution_plan_gigabytes": _median(runs["resolutions"], "gigabytes"),
        "resolution_resume_seconds": _median(runs["resolutions"], "resume_seconds"),
    }
    settings = {
        "rows": rows,
        "batch_size": size,
        "world_size": WORLD,
        "plan": "from the rows' buckets to all batches of an epoch in order",
        "resume": "from the rows' buckets and a state to the next batch; resolutions are drawn again",
    }
    return Report(figures=figures, gate=gate, settings=settings, details=runs)


def _sizes(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, heights and widths; 1 frame is a picture."""
    rng = np.random.default_rng(0)
    frames = rng.choice(np.array([1, 1, 40, 90, 150, 300, 600], np.int32), rows)
    heights = rng.integers(120, 2161, rows, dtype=np.int32)
    widths = rng.integers(160, 3841, rows, dtype=np.int32)
    return frames, heights, widths


def _aspects(rows: int, batch_size: int) -> dict[str, float]:
    frames, heights, widths = _sizes(rows)
    start = time.perf_counter()
    buckets = aspect_bucket_ids(frames > 1, heights, widths).astype(np.uint8)
    bucket_seconds = time.perf_counter() - start
    del frames, heights, widths
    found = _timed(lambda: BatchOrder(buckets, batch_size, seed=1), rows)
    return {"bucket_seconds": bucket_seconds, **found}


def _resolutions(rows: int, batch_size: int) -> dict[str, float]:
    del batch_size
    sizes, buckets = _sizes(rows), ResolutionBuckets(STAGE_2, frame_interval=3)

    def of_epoch(epoch: int) -> np.ndarray:
        return buckets.assign(*sizes, keep_draws(1, epoch))

    return _timed(lambda: BatchOrder(of_epoch, buckets.batch_sizes, seed=1), rows)


def _timed(make: Callable[[], BatchOrder], rows: int) -> dict[str, float]:
    start = time.perf_counter()
    order = make()
    total = order.num_batches(0)
    planned = np.empty(rows, np.int32)
    filled = 0
    for first in range(0, total, BLOCK):
        block = order.epoch(0).at(np.arange(first, min(first + BLOCK, total))).rows
        planned[filled : filled + len(block)] = block
        filled += len(block)
    plan_seconds = time.perf_counter() - start
    gigabytes = peak_gigabytes()
    del order, planned
    start = time.perf_counter()
    state = SamplerState(seed=1, epoch=0, batch=total // 2, rows=rows)
    next(iter(BucketSampler(make(), rank=WORLD - 1, world_size=WORLD, start=state)))
    resume_seconds = time.perf_counter() - start
    return {
        "plan_seconds": plan_seconds,
        "gigabytes": gigabytes,
        "resume_seconds": resume_seconds,
        "batches": total,
    }


def _alone(measure: Callable[[int, int], dict[str, float]], rows: int, batch_size: int) -> dict[str, float]:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(measure, rows, batch_size).result()
    return {name: round(value, 4) for name, value in found.items()}


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(entry[name] for entry in runs)


def _check() -> dict[str, float]:
    """A small list: every row once, one bucket per batch, the same batches after a stop."""
    frames, heights, widths = _sizes(70_000)
    buckets = aspect_bucket_ids(frames > 1, heights, widths)
    order = BatchOrder(buckets, 3, seed=1)
    batches = order.epoch(0).at(np.arange(len(order.epoch(0))))
    firsts = np.cumsum(batches.lengths) - batches.lengths
    found = {
        "every_row_once": float(np.array_equal(np.sort(batches.rows), np.arange(len(buckets)))),
        "one_bucket_per_batch": float(
            bool((buckets[batches.rows] == np.repeat(batches.buckets, batches.lengths)).all())
        ),
        "shuffled": float(abs(np.corrcoef(firsts, batches.rows[firsts])[0, 1]) < 0.05),
        "continues": float(_continues(order)),
    }
    if min(found.values()) < 1:
        raise GateError(f"the order of batches is wrong: {found}")
    return found


def _continues(order: BatchOrder) -> bool:
    whole: list[Any] = list(islice(BucketSampler(order), 600))
    state = BucketSampler(order, world_size=3).state_after(100)
    after = [
        list(islice(BucketSampler(order, rank=rank, world_size=2, start=state), 50)) for rank in range(2)
    ]
    together = [batch for step in zip(*after, strict=True) for batch in step]
    rows = [[key.row for key in batch] for batch in together]
    return rows == [[key.row for key in batch] for batch in whole[300:400]]
