"""The examples of docs/data.md and docs/media.md run as they stand and print what the pages say."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["data.md", "media.md"])
def test_the_examples_run(name, capsys):
    page = (DOCS / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names = {"__name__": "example"}
    codes = [text for language, text in blocks if language == "python"]
    printed = [text for language, text in blocks if not language]
    assert len(codes) == len(printed) >= 3
    for code in codes:
        exec(compile(code, name, "exec"), names)
    assert capsys.readouterr().out == "".join(printed)
