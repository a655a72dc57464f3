"""docs/training-flags.md is what its script writes."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "training_flags.py"


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("training_flags", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run scripts/training_flags.py"
