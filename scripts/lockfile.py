"""Read and compare the three places where exact versions stand.

The pins (`[tool.uv] constraint-dependencies` in the root pyproject.toml), `requirements.lock`, and the
`uv.lock` that uv resolves from the pins. Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS_BEGIN = "# pins: begin (written by scripts/pin.py, do not edit by hand)"
PINS_END = "# pins: end"
REQUIREMENT = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


@dataclass(frozen=True, order=True)
class Pin:
    """One exact version, with the environment marker under which it is the chosen one ("" for always)."""

    name: str
    version: str
    marker: str = ""

    def __str__(self) -> str:
        text = f"{self.name}=={self.version}"
        return f"{text} ; {self.marker}" if self.marker else text


def parse_pin(requirement: str) -> Pin:
    """Parse `name==version` with an optional ` ; marker`.

    Raises:
        ValueError: If the requirement is not an exact version.
    """
    match = REQUIREMENT.match(requirement.strip())
    if match is None:
        raise ValueError(
            f"not an exact pin: {requirement!r}; expected 'name==version' or 'name==version ; marker'"
        )
    return Pin(match["name"], match["version"], match["marker"] or "")


def pins_of_lock(lock_path: Path) -> list[Pin]:
    """List what a uv.lock chose, leaving out the workspace's own packages.

    A package that is present once needs no marker. One that the resolution forked (another version for
    another Python) carries the markers of its forks.
    """
    packages = [
        entry for entry in tomllib.loads(lock_path.read_text())["package"] if "registry" in entry["source"]
    ]
    count: dict[str, int] = {}
    for entry in packages:
        count[entry["name"]] = count.get(entry["name"], 0) + 1
    pins: list[Pin] = []
    for entry in packages:
        forks = entry.get("resolution-markers", []) if count[entry["name"]] > 1 else []
        marker = " or ".join(f"({fork})" for fork in forks) if len(forks) > 1 else "".join(forks)
        pins.append(Pin(entry["name"], entry["version"], marker))
    return sorted(pins)


def hashes_of_lock(lock_path: Path) -> dict[tuple[str, str], set[str]]:
    """Map (name, version) to the hashes of every file that a uv.lock lists for it."""
    files: dict[tuple[str, str], set[str]] = {}
    for entry in tomllib.loads(lock_path.read_text())["package"]:
        if "registry" in entry["source"]:
            artefacts = [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
            files[entry["name"], entry["version"]] = {artefact["hash"] for artefact in artefacts}
    return files


def pins_of_pyproject(pyproject: Path) -> list[Pin]:
    """List the pins that the root pyproject.toml states."""
    stated = tomllib.loads(pyproject.read_text())["tool"]["uv"].get("constraint-dependencies", [])
    return sorted(parse_pin(requirement) for requirement in stated)


def hashes_of_requirements(path: Path) -> dict[tuple[str, str], set[str]]:
    """Map (name, version) to the hashes that requirements.lock states."""
    files: dict[tuple[str, str], set[str]] = {}
    current: set[str] = set()
    for line in path.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            pin = parse_pin(line)
            current = files.setdefault((pin.name, pin.version), set())
        current.update(HASH.findall(line))
    return files


def copy_manifests(target: Path, *, with_pins: bool) -> None:
    """Copy what a resolution reads (every pyproject.toml and README) into an empty folder."""
    for manifest in [ROOT / "pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]:
        copy = target / manifest.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest, copy)
        readme = manifest.with_name("README.md")
        if readme.exists():
            shutil.copy(readme, copy.with_name("README.md"))
    if not with_pins:
        write_pins(target / "pyproject.toml", [])


def write_pins(pyproject: Path, pins: list[Pin]) -> None:
    """Replace the pins between the two marker comments."""
    text = pyproject.read_text()
    head, separator, rest = text.partition(PINS_BEGIN)
    _, end, tail = rest.partition(PINS_END)
    if not (separator and end):
        raise ValueError(f"{pyproject} lacks the comments {PINS_BEGIN!r} and {PINS_END!r}")
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    pyproject.write_text(f"{head}{PINS_BEGIN}\nconstraint-dependencies = [\n{lines}]\n{PINS_END}{tail}")


def resolve(folder: Path, *options: str) -> None:
    """Run `uv lock` in a folder: from uv's cache where that suffices, otherwise with the network."""
    command = ["uv", "lock", "--quiet", *options]
    if not options:
        cached = subprocess.run([*command, "--offline"], cwd=folder, capture_output=True, check=False)
        if cached.returncode == 0:
            return
    subprocess.run(command, cwd=folder, check=True)
