"""What docs/synthetic-data.md shows runs as it stands, from top to bottom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ea_app.cli import main as ea_app
from ea_data.cli import main as ea_data

PAGE = Path(__file__).parents[2] / "docs" / "synthetic-data.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    commands = []
    for place, (language, text) in enumerate(blocks):
        if language == "python":
            capsys.readouterr()
            exec(compile(text, str(PAGE), "exec"), {})
            assert capsys.readouterr().out == blocks[place + 1][1]
            continue
        for line in text.splitlines():
            words = shlex.split(line)
            if words and words[0] in ("ea-app", "ea-data"):
                commands.append(words[1])
                run = ea_app if words[0] == "ea-app" else ea_data
                assert run(words[1:]) == 0, (line, capsys.readouterr())
    assert commands.count("generate") == 3
    assert commands[:3] == ["synthesize", "check", "judge"]
    assert len(list(Path("scenes/videos").iterdir())) == 12
