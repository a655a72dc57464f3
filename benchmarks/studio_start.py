"""Seconds until the studio and the REST server answer and the page is painted, and memory while idle.

Every start is a new process. Gate: the page is the studio with its button, and the server says that it is
well. The paint needs playwright and a Chromium of the system (or EA_CHROMIUM); without them it is not
measured.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from cold_start import command_line
from quiet import load
from report import GateError, Report

_START_SECONDS = 180.0
_SETTLE_SECONDS = 180.0
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--repeats", type=int, default=3, help="starts of each [default: 3]")
    parser.add_argument("--device", default="cpu")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    studio: list[float] = []
    server: list[float] = []
    paints: list[float] = []
    memory: dict[str, float] = {}
    for _ in range(arguments.repeats):
        with _started("ui", arguments) as (address, seconds, process):
            studio.append(seconds)
            paints += _paint(address)
            memory = _idle(process.pid)
        with _started("serve", arguments) as (address, seconds, process):
            server.append(seconds)
            _check_server(address)
    figures = {
        "studio_seconds": statistics.median(studio),
        "server_seconds": statistics.median(server),
        "idle_gigabytes": sum(memory.values()),
    }
    if paints:
        figures["first_paint_seconds"] = statistics.median(paints)
    details = {
        "studio_seconds": studio,
        "server_seconds": server,
        "first_paint_seconds": paints,
        "idle_gigabytes": memory,
        **before,
    }
    settings = {"repeats": arguments.repeats, "device": arguments.device}
    return Report(figures=figures, gate={"answers": 1.0}, settings=settings, details=details)


@contextlib.contextmanager
def _started(
    command: str, arguments: argparse.Namespace
) -> Iterator[tuple[str, float, "subprocess.Popen[str]"]]:
    """A program, its address, and the seconds until it said that it answers there."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--port", "0", "--device", arguments.device, "--state", f"{folder}/state"]
        given += ["--model", arguments.model]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command_line(), command, *given], stderr=subprocess.PIPE, text=True, cwd=folder
        )
        try:
            yield _address(process), round(time.perf_counter() - began, 3), process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.communicate()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = next((word for word in line.split() if word.startswith("http://")), None)
        if found:
            return found
    raise GateError("the program ended before it answered")


def _check_server(address: str) -> None:
    with urlopen(f"{address}/health", timeout=_START_SECONDS) as answer:
        if json.load(answer) != {"status": "ok"}:
            raise GateError("the server is not well")


def _paint(address: str) -> list[float]:
    """Seconds until a browser has painted the page, and whether the page is whole."""
    path = os.environ.get("EA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None or find_spec("playwright") is None:
        with urlopen(address, timeout=_START_SECONDS) as answer:
            if b"gradio" not in answer.read():
                raise GateError("the page is not the studio")
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, headless=True, args=_FLAGS)
        page = browser.new_page()
        page.set_default_timeout(1000 * _START_SECONDS)
        page.goto(address)
        page.wait_for_selector("#ea-generate")
        entry = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        painted = page.evaluate(entry)
        browser.close()
    return [round(painted / 1000, 3)]


def _idle(pid: int) -> dict[str, float]:
    """Gigabytes of the program and its children, once these are the same for a while."""
    before: set[int] = set()
    until = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < until:
        now = {pid, *_children(pid)}
        if now == before and len(now) > 1:
            break
        before = now
        time.sleep(10)
    told = {"studio" if one == pid else f"child {one - pid}": _resident(one) for one in sorted(before)}
    return {name: round(size / 1e9, 3) for name, size in told.items()}


def _children(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(word) for task in tasks for word in task.read_text().split()]
    except OSError:
        return []


def _resident(pid: int) -> int:
    """Bytes of memory of a process; 0 where the system does not say, or it has ended."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
