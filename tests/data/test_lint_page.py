"""The examples of docs/lint.md run as they stand and print what the page says, and it has every rule."""

import re
import shlex
from pathlib import Path

from ea_data.cli import main
from ea_data.lint.findings import RULES

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"


def test_the_examples_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|sh|)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names, codes, compared = {"__name__": "example"}, [], 0
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        elif language == "sh":
            codes.append(main([*shlex.split(block)[1:], "--workers", "1"]))
        else:
            assert capsys.readouterr().out == block
            compared += 1
    assert (codes, compared) == ([0, 1], 2)
    assert {"index.html", "report.json", "sheet-1.jpg"} <= {path.name for path in Path("lint").iterdir()}


def test_the_page_has_every_rule():
    text = PAGE.read_text(encoding="utf-8")
    table = [
        f"| `{name}` | {rule.severity}{', drops' * rule.drops} | {rule.text} |"
        for name, rule in RULES.items()
    ]
    assert "\n".join(table) in text
