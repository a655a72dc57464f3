"""The examples of docs/training-data.md run as they stand and print what the page says."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

from ea_data.cli import main
from ea_data.training.recipe import (
    CaptionOptions,
    ClipOptions,
    DataRecipe,
    MaskOptions,
    ReferenceOptions,
)

PAGE = Path(__file__).parents[2] / "docs" / "training-data.md"
GROUPS = {
    "clip": ClipOptions,
    "captions": CaptionOptions,
    "masks": MaskOptions,
    "reference": ReferenceOptions,
}


def test_the_examples_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```(python|sh|yaml|)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"__name__": "example"}
    compared = 0
    for language, block in blocks:
        if language == "yaml":
            Path("recipe.yaml").write_text(block)
        elif language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
        elif language == "sh":
            capsys.readouterr()
            for line in block.splitlines():
                assert main(shlex.split(line)[1:]) == 0
        else:
            printed = capsys.readouterr().out.removeprefix("clips/metadata.jsonl\n")
            assert printed.replace(f"{tmp_path.resolve()}/", "") == block
            compared += 1
    assert compared == 2
    assert sorted(path.name for path in Path("shown").iterdir()) == [
        "clip.mp4", "control.mp4", "masked.mp4", "sample.json", "sheet.png",
    ]  # fmt: skip


def test_the_table_has_every_field():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {name for line in rows for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1])}
    wanted = {field.name for field in fields(DataRecipe)} - set(GROUPS)
    wanted |= {f"{group}.{field.name}" for group, kind in GROUPS.items() for field in fields(kind)}
    assert wanted <= named
