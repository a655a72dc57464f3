"""What docs/lora.md shows runs as it stands, from top to bottom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ea_app.api.record import read_record
from ea_app.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "lora.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    commands = 0
    for language, text in blocks:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
            continue
        for line in text.splitlines():
            if line.startswith("ea-app "):
                commands += 1
                assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr())
    assert commands >= 9
    shown = next(text for _, text in blocks if text.startswith("lora: "))
    errors = capsys.readouterr().err
    assert shown in errors
    over, merged = (read_record(Path(name)) for name in ("out.mp4", "merged.mp4"))
    assert over["loras"][0]["weight"] == 0.8
    assert over["frames"]["shape"] == merged["frames"]["shape"]
