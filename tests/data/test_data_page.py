"""The examples of docs/data.md run as they stand and print what the page says."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_examples_run(capsys):
    blocks = re.findall(
        r"^```(python|)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"__name__": "example"}
    codes = [text for language, text in blocks if language == "python"]
    printed = [text for language, text in blocks if not language]
    assert len(codes) == len(printed) == 3
    for code in codes:
        exec(compile(code, str(PAGE), "exec"), names)
    assert capsys.readouterr().out == "".join(printed)
