"""Import a package with nothing but given folders on the path, and report what importing did.

Runs as `python -I -S -B import_probe.py PACKAGE FOLDER...`, prints one JSON object. The first folder holds
the package's own wheel, the others the wheels and distributions that it declares.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

ALWAYS = {"socket.connect", "socket.bind", "urllib.Request"}
WHEN_OURS = {
    "os.mkdir", "os.putenv", "os.unsetenv", "os.remove", "os.rename", "os.system", "shutil.rmtree",
    "subprocess.Popen", "socket.getaddrinfo", "tempfile.mkdtemp", "tempfile.mkstemp",
}  # fmt: skip


def _caller_is_ours(home: str) -> bool:
    """Whether the innermost frame outside the standard library belongs to the package."""
    stdlib = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib would itself raise audit events
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((stdlib, "<")) and name != __file__:
            return name.startswith(home)
        frame = frame.f_back
    return False


def _watch(home: str, effects: list[str]) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if event in ALWAYS or ((event in WHEN_OURS or writes) and _caller_is_ours(home)):
            effects.append(f"{event} {arguments[:2]!r}")

    sys.addaudithook(hook)


def main(package: str, *folders: str) -> None:
    """Import the package, then each of its modules."""
    sys.path[:0] = folders
    home = str(Path(folders[0]) / package)
    modules = sorted(
        ".".join(path.relative_to(folders[0]).with_suffix("").parts).removesuffix(".__init__")
        for path in Path(home).rglob("*.py")
        if path.stem != "__main__"
    )
    effects: list[str] = []
    failures: dict[str, str] = {}
    _watch(home, effects)
    importlib.import_module(package)
    after_root = sorted({name.partition(".")[0] for name in sys.modules})
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - whatever an import raises is the finding
            failures[module] = traceback.format_exc(limit=-3)
    torch = sys.modules.get("torch")
    report = {
        "modules": modules,
        "failures": failures,
        "effects": effects,
        "after_root": after_root,
        "after_all": sorted({name.partition(".")[0] for name in sys.modules}),
        "device_initialised": bool(torch and torch.cuda.is_initialized()),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
