"""The same fixtures as the app's own tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_path = Path(__file__).parents[1] / "app" / "conftest.py"
_spec = importlib.util.spec_from_file_location("app_fixtures", _path)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

tiny_model, media, command = _fixtures.tiny_model, _fixtures.media, _fixtures.command
