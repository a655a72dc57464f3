"""Nothing in the tree ties it to one machine, one mirror of the package registry, or a large download."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections import Counter

import pytest
from source_tree import PACKAGES, ROOT

FILE_BYTES = 500_000
FIXTURE_BYTES = 40 * 2**20  # as du counts them
MODEL_BYTES = 48_000_000  # of a bundled model
ASSET_BYTES = 64_000_000
# Assembled from pieces, so that this file does not contain what it looks for.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "download.py" + "torch.org", "registry.npm" + "js.org"]
INDEX_OPTIONS = ["--" + "index-url", "--extra-" + "index-url", "--find-" + "links"]
MACHINE_PATHS = ["/" + folder + "/" for folder in ("root", "home", "work", "Users")]
FORBIDDEN = re.compile("|".join(re.escape(text) for text in HOSTS + INDEX_OPTIONS))
MACHINE = re.compile("|".join(rf"(?<![\w.}}/-]){re.escape(path)}" for path in MACHINE_PATHS))


@pytest.fixture(scope="module")
def tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def _lines_matching(files, pattern):
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        yield from (
            f"{path.relative_to(ROOT)}:{i + 1}" for i, line in enumerate(lines) if pattern.search(line)
        )


def test_no_registry_host_or_index_option_is_written_down(tracked_files):
    assert list(_lines_matching(tracked_files, FORBIDDEN)) == []


def test_no_path_of_a_machine_is_written_down(tracked_files):
    assert list(_lines_matching(tracked_files, MACHINE)) == []


def test_large_files_are_fixtures_or_the_bundled_model(tracked_files):
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked_files}
    fixtures = {path: size for path, size in sizes.items() if path.is_relative_to("tests/parity/goldens")}
    assets = {path: size for path, size in sizes.items() if "assets" in path.parts and path not in fixtures}
    large = {str(p): s for p, s in sizes.items() if p not in fixtures and p not in assets and s > FILE_BYTES}
    assert large == {}
    assert sum(fixtures.values()) <= FIXTURE_BYTES
    assert sum(assets.values()) <= ASSET_BYTES
    bundled = Counter()
    for path, size in assets.items():
        bundled[path.parts[path.parts.index("assets") + 1]] += size
    assert max(bundled.values()) <= MODEL_BYTES


def test_one_version_and_exact_pins_among_members():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for package in PACKAGES:
        project = tomllib.loads(
            (ROOT / "packages" / package.replace("_", "-") / "pyproject.toml").read_text()
        )["project"]
        assert project["version"] == version
        members = [requirement for requirement in project["dependencies"] if requirement.startswith("ea-")]
        assert all(requirement.endswith(f"=={version}") for requirement in members), members
