"""The same fixtures as the app's own tests."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from ea_dit.pipelines.tiny import make_tiny

_path = Path(__file__).parents[1] / "app" / "conftest.py"
_spec = importlib.util.spec_from_file_location("app_fixtures", _path)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

tiny_model, media = _fixtures.tiny_model, _fixtures.media
loaded, command = _fixtures.loaded, _fixtures.command


@pytest.fixture(scope="session")
def control_model(tmp_path_factory):
    """A control model that also reads a reference picture."""
    return make_tiny("v5.1-7b-control", tmp_path_factory.mktemp("control") / "model")


@pytest.fixture
def controlled(command, control_model):
    """Makes a small file by that model and returns the hash of its frames."""
    given = ["x", "--size", "32", "--steps", "2", "--seed", "3", "--model", control_model]

    def run(output, *arguments):
        code, _, err = command("generate", *given, *arguments, "--output", output)
        assert code == 0, err
        return json.loads(output.with_name(f"{output.name}.json").read_text())["frames"]["xxh3"]

    return run
