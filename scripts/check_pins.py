"""Check that the pins, requirements.lock and what uv resolves from the pins name exactly the same versions.

    python scripts/check_pins.py

Resolves in an empty folder with nothing but the manifests, so that no uv.lock lying about can hide a missing
pin.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from lockfile import (
    ROOT,
    copy_manifests,
    hashes_of_lock,
    hashes_of_requirements,
    pins_of_lock,
    pins_of_pyproject,
    resolve,
)


def main() -> int:
    """Compare, print what differs, and return the exit code."""
    pins = pins_of_pyproject(ROOT / "pyproject.toml")
    stated = hashes_of_requirements(ROOT / "requirements.lock")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_manifests(folder, with_pins=True)
        resolve(folder)
        resolved = pins_of_lock(folder / "uv.lock")
        offered = hashes_of_lock(folder / "uv.lock")
    problems = [f"resolved but not pinned: {pin}" for pin in sorted(set(resolved) - set(pins))]
    problems += [f"pinned but not resolved: {pin}" for pin in sorted(set(pins) - set(resolved))]
    problems += [f"in requirements.lock only: {'=='.join(key)}" for key in sorted(set(stated) - set(offered))]
    problems += [
        f"missing in requirements.lock: {'=='.join(key)}" for key in sorted(set(offered) - set(stated))
    ]
    problems += [
        f"no file of {'=='.join(key)} has a hash that requirements.lock states"
        for key in sorted(set(stated) & set(offered))
        if not stated[key] & offered[key]
    ]
    if (ROOT / "uv.lock").exists() and pins_of_lock(ROOT / "uv.lock") != resolved:
        problems.append("uv.lock is older than the pins; delete it or run 'uv lock'")
    if problems:
        print(*problems, "after changing a dependency, run: python scripts/pin.py", sep="\n", file=sys.stderr)
        return 1
    print(f"{len(pins)} pins, all as resolved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
