"""The commands and the Python of the pages about steering run as they stand, from top to bottom."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ea_app.cli import main as ea_app
from ea_data.cli import main as ea_data

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = {"ea-app": ea_app, "ea-data": ea_data}
QUICK = ["--steps", "1"]
"""Appended where a page leaves the steps to the bundled model: a test need not wait for a good picture."""


def _blocks(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```(bash|python|)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["steering.md", "camera.md", "mask-strategy.md"])
def test_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, text in _blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), {})
            ran += 1
            continue
        for line in text.splitlines():
            ran += _run(line, capsys)
    assert ran >= 3


def _run(line, capsys):
    """Runs a line of a page, an `echo` into a file too; 0 for comments."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["echo"]:
        Path(words[-1]).write_text(words[1], encoding="utf-8")
        return 0
    if not words or words[0] not in PROGRAMS:
        return 0
    quick = QUICK if words[:2] == ["ea-app", "generate"] and "--steps" not in words else []
    assert PROGRAMS[words[0]](words[1:] + quick) == 0, (line, capsys.readouterr().err)
    return 1
