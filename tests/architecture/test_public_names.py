"""The public surface is listed, and changes on purpose."""

from __future__ import annotations

import json

import pytest
from source_tree import PACKAGES, public_names
from update_snapshots import SNAPSHOTS

HOW = "if the change is meant, run: python tests/architecture/update_snapshots.py (and tell the changelog)"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_as_recorded(package):
    recorded = json.loads((SNAPSHOTS / f"{package}.json").read_text())
    present = public_names(package)
    assert package in present, f"{package}/__init__.py states no __all__"
    assert present == recorded, HOW


def test_every_recorded_package_exists():
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(PACKAGES)
