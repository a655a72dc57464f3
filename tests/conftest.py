"""What holds for every test: no leaked random state, no other machine, honest device tests."""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MAX_WORKERS = 4

# Before torch is imported: workers share the cores, so each computes with one thread.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def pytest_configure(config: pytest.Config) -> None:
    """Run Triton kernels in their interpreter, but on a device in device tests; before triton is imported."""
    if not _on_device(config):
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection(session: pytest.Session) -> None:
    """Import and list tests without looking for garbage, of which there is none: a second less."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for garbage again."""
    gc.enable()


def _on_device(config: pytest.Config) -> bool:
    return "gpu" in config.option.markexpr.replace("not gpu", "").replace("not multi_gpu", "")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole suite over the cores; run named tests, or device tests, in one process."""
    whole_suite = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not whole_suite or _on_device(config) or config.option.collectonly:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(MAX_WORKERS, cores)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a device test where there is no device, unless EA_REQUIRE_GPU=1 promised one."""
    multi = item.get_closest_marker("multi_gpu")
    needed = int(multi.args[0]) if multi else int(item.get_closest_marker("gpu") is not None)
    if needed == 0:
        return
    import torch

    present = torch.cuda.device_count()
    if present < needed:
        message = f"needs {needed} CUDA device(s), found {present}"
        if os.environ.get("EA_REQUIRE_GPU") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def _restore_random_state() -> Iterator[None]:
    """Give every test the same random state and let none leak to the next."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    python_state = random.getstate()
    numpy_state = numpy.random.get_state() if numpy else None
    torch_state = torch.get_rng_state() if torch else None
    yield
    random.setstate(python_state)
    if numpy and numpy_state is not None:
        numpy.random.set_state(numpy_state)
    if torch and torch_state is not None:
        torch.set_rng_state(torch_state)


@pytest.fixture(autouse=True)
def _forbid_other_machines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and name lookups beyond this machine, unless the test is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self, address):
        _require_local(address[0] if isinstance(address, tuple) else address)
        return connect(self, address)

    def guarded_connect_ex(self, address):
        _require_local(address[0] if isinstance(address, tuple) else address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        _require_local(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)


def _require_local(host: object) -> None:
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    local = name in {"", "localhost", "::1", "0.0.0.0", "::"} or name.startswith(("127.", "/", "\0"))
    if not local:
        raise RuntimeError(f"a test tried to reach {name!r}; mark it 'network' if it must")


class _Malicious:
    """Writes a file when it is unpickled by a reader that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def malicious() -> type[_Malicious]:
    """Makes, of a path, an object whose pickle runs code that writes there."""
    return _Malicious
