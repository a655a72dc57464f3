"""Makes `tiny` importable by the tests of this folder, and tiny model directories."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """Makes a tiny directory of a family once; nobody writes into it."""
    from ea_dit.pipelines.tiny import make_tiny

    made = {}

    def get(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family) / "model")
        return made[family]

    return get


@pytest.fixture(scope="session")
def pipeline(directory):
    """Loads a tiny directory of a family once; nobody changes its networks."""
    from ea_dit.pipelines import load_pipeline

    loaded = {}

    def get(family):
        if family not in loaded:
            loaded[family] = load_pipeline(directory(family), dtype="float32", device="cpu")
        return loaded[family]

    return get
