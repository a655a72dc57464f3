"""Results as JSON: figures, bars, and all that is needed to judge them."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry import Benchmark

RESULTS = Path(__file__).with_name("results")


class GateError(Exception):
    """The check before a measurement failed: its numbers would mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a benchmark measured.

    Attributes:
        figures: The numbers, by name.
        gate: What was checked before, and how it came out.
        settings: What was measured: sizes, counts, seeds.
        details: Anything that explains the figures.
    """

    figures: Mapping[str, float]
    gate: Mapping[str, float]
    settings: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)


def write_report(
    name: str, benchmark: Benchmark, report: Report, model: Mapping[str, str], path: Path
) -> bool:
    """Print the figures with their bars and write everything as JSON.

    Returns:
        Whether every figure that has a bar was measured and reaches it.
    """
    bars = {bar.figure: bar for bar in benchmark.bars if bar.figure in report.figures}
    passed = {figure: bar.passed(report.figures[figure]) for figure, bar in bars.items()}
    unmeasured = [bar.figure for bar in benchmark.bars if bar.figure not in report.figures]
    for figure, value in report.figures.items():
        verdict = (
            f"  bar {bars[figure]}: {'passed' if passed[figure] else 'MISSED'}" if figure in bars else ""
        )
        print(f"{figure:<28} {value:>9.4g}{verdict}")
    for figure in unmeasured:
        print(f"{figure:<28} not measured")
    content = {
        "benchmark": name,
        "about": benchmark.about,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": {figure: _short(value) for figure, value in report.figures.items()},
        "bars": {figure: {"bar": str(bar), "passed": passed[figure]} for figure, bar in bars.items()},
        "not_measured": unmeasured,
        "gate": dict(report.gate),
        "settings": dict(report.settings),
        "model": dict(model),
        "machine": machine(),
        "versions": versions(),
        "details": dict(report.details),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    return all(passed.values()) and not unmeasured


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, mean and the 10th, 20th, 80th and 90th percentiles."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "median": _short(statistics.median(ordered)),
        "mean": _short(statistics.fmean(ordered)),
        **{f"p{share}": _short(ordered[round(share / 100 * last)]) for share in (10, 20, 80, 90)},
    }


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, threads and GPU."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"processor": _processor(), "cores": cores, "threads": torch.get_num_threads(), "gpu": gpu}


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    from ea_app.api.record import versions as of_the_app

    return of_the_app()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _short(value: float) -> float:
    return round(float(value), 5)
