"""The examples of docs/cache-store.md run as they stand and print what the page says."""

import re
import shlex
from pathlib import Path

from ea_data.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "cache-store.md"
VARIES = {
    r"[0-9a-f]{16}-\d{5}": "SHARD",
    r"\d{4}-\d\d-\d\dT[\d:]{8}\+00:00": "DATE",
    r"[\d.]+ .iB are free": "FREE",
}


def test_the_examples_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8").partition("## On the disk")[0]
    blocks = re.findall(r"^```(python|sh|)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names = {"__name__": "example"}
    compared = 0
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        elif language == "sh":
            for line in block.splitlines():
                assert main(shlex.split(line)[1:]) in (0, 1)
        else:
            assert _steady(capsys.readouterr().out) == _steady(block)
            compared += 1
    assert compared == 3


def _steady(text):
    for pattern, name in VARIES.items():
        text = re.sub(pattern, name, text)
    return text
