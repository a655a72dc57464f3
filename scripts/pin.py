"""Write the exact version of every direct and transitive dependency into the repository, host-free.

    python scripts/pin.py                    follow changed dependencies, keep all other versions
    python scripts/pin.py --upgrade          move everything to the newest versions
    python scripts/pin.py --upgrade NAME...  move these only

uv.lock records download addresses, which do not belong in a source tree, so it is generated and git-ignored.
What is committed instead: `[tool.uv] constraint-dependencies` in the root pyproject.toml (from which uv
resolves the same uv.lock anywhere), and requirements.lock with names, versions, hashes. Needs the registry.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lockfile import ROOT, copy_manifests, pins_of_lock, resolve, write_pins

HEADER = (
    "# Written by scripts/pin.py: every direct and transitive dependency, with the hashes of its files.\n"
)
EXPORT = [
    "uv", "export", "--quiet", "--frozen", "--format", "requirements-txt",
    "--all-packages", "--all-extras", "--all-groups", "--no-emit-workspace", "--no-header", "--no-annotate",
]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Resolve, write pins and requirements.lock, and prove that the pins alone give the same resolution."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--upgrade", nargs="*", metavar="NAME", help="move to the newest versions (all, or these)"
    )
    upgrade = parser.parse_args(arguments).upgrade
    options = [] if upgrade is None else [f"--upgrade-package={name}" for name in upgrade] or ["--upgrade"]
    with tempfile.TemporaryDirectory() as scratch:
        free, pinned = Path(scratch, "free"), Path(scratch, "pinned")
        start_from_present_versions(free)
        resolve(free, *options)
        pins = pins_of_lock(free / "uv.lock")
        write_pins(ROOT / "pyproject.toml", pins)
        copy_manifests(pinned, with_pins=True)
        resolve(pinned)
        if (again := pins_of_lock(pinned / "uv.lock")) != pins:
            print("the pins do not reproduce themselves:", sorted(set(again) ^ set(pins)), file=sys.stderr)
            return 1
        shutil.copy(pinned / "uv.lock", ROOT / "uv.lock")
        exported = subprocess.run(EXPORT, cwd=pinned, check=True, capture_output=True, text=True).stdout
        (ROOT / "requirements.lock").write_text(f"{HEADER}{exported}")
    print(f"{len(pins)} pins")
    return 0


def start_from_present_versions(folder: Path) -> None:
    """Lay out the manifests without pins beside a lock of the present versions, which uv prefers to keep."""
    folder.mkdir()
    if not (ROOT / "uv.lock").exists():
        subprocess.run(["uv", "lock", "--quiet"], cwd=ROOT, check=True)
    copy_manifests(folder, with_pins=False)
    shutil.copy(ROOT / "uv.lock", folder / "uv.lock")


if __name__ == "__main__":
    sys.exit(main())
