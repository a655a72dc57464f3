"""Whether other work keeps the machine busy, which makes seconds by the clock doubtful."""

import os
from typing import Any

import psutil

BUSY = 0.3
"""Processors at work beside a benchmark from which on its result is marked as taken on a loaded machine."""


def load() -> dict[str, Any]:
    """What keeps the machine busy before a measurement, and whether that makes its figures doubtful.

    Load averages would count the benchmark before this one.
    """
    busy = psutil.cpu_percent(interval=1.0) / 100 * (os.cpu_count() or 1)
    return {"busy_processors": round(busy, 2), "loaded": busy > BUSY}
