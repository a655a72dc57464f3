"""Run a suite of benchmarks one after the other and write a page with their figures.

`cpu` is what is measured beside diffusers on a processor. `gpu` is `h200.sh`, which does everything on a GPU.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from registry import BENCHMARKS
from report import RESULTS

HERE = Path(__file__).parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a suite."""
    parser.add_argument("--suite", choices=("cpu", "gpu"), required=True)
    parser.add_argument("--against", choices=("diffusers",), default="diffusers", help="the peer")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to [default: results]")


def run(arguments: argparse.Namespace) -> int:
    """Run it.

    Returns:
        0 when every bar is reached, else the largest exit code of what was run.
    """
    if arguments.suite == "gpu":
        return subprocess.run(["sh", str(HERE / "h200.sh")], check=False).returncode
    began = time.monotonic()
    codes: list[int] = []
    names = [name for name, benchmark in BENCHMARKS.items() if benchmark.suite == arguments.suite]
    for name in names:
        print(f"== {name}", flush=True)
        result = ["--result", str(arguments.results / f"{name}.json")]
        codes.append(
            subprocess.run([sys.executable, str(HERE / "run.py"), name, *result], check=False).returncode
        )
    page = arguments.results / f"{arguments.suite}.md"
    page.write_text(describe(arguments.suite, names, arguments.results), encoding="utf-8")
    print(f"wrote {page} after {time.monotonic() - began:.0f} s")
    return max(codes)


def describe(suite: str, names: list[str], folder: Path) -> str:
    """The page: of each benchmark what was measured where, and every case beside the peer."""
    parts = [f"# The {suite} suite, beside diffusers\n"]
    for name in names:
        path = folder / f"{name}.json"
        if path.exists():
            parts.append(_section(name, json.loads(path.read_text(encoding="utf-8"))))
        else:
            parts.append(f"## {name}\n\nNot measured.\n")
    return "\n".join(parts)


def _section(name: str, result: dict[str, Any]) -> str:
    figures, details = result["figures"], result["details"]
    machine, settings = result["machine"], result["settings"]
    busy = "**on a loaded machine**" if details["loaded"] else "on a quiet machine"
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    lines = [
        f"## {name}",
        "",
        f"{result['date'][:10]}, {machine['processor']}, {settings['threads']} threads, {busy}; {versions}.",
        "",
        "| case | turns | times faster (20-80 %) | seconds | of diffusers | memory | bars |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, detail in details.items():
        if not isinstance(detail, dict) or "ratio" not in detail:
            continue
        ratio, ours, theirs = (detail[key] for key in ("ratio", "seconds", "peer_seconds"))
        bars = [
            f"{figure.removeprefix(case + '_')} {bar['bar']}: {'reached' if bar['passed'] else '**missed**'}"
            for figure, bar in result["bars"].items()
            if figure.startswith(f"{case}_")
        ]
        lines.append(
            f"| {case} | {detail['turns']} | {ratio['median']:.2f} ({ratio['p20']:.2f}-{ratio['p80']:.2f}) | "
            f"{ours['median']:.3f} | {theirs['median']:.3f} | {figures[f'{case}_memory_ratio']:.2f} of "
            f"{detail['peer_peak_gigabytes']:.2f} GB | {'; '.join(bars)} |"
        )
    return "\n".join(lines) + "\n"
