"""`ea-data show`: one row as a model would see it, and what cannot be shown."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from media_folder import make_folder
from PIL import Image

from ea_data.cli import main
from ea_data.manifest import read_manifest
from ea_data.media import read_image, read_video
from ea_data.training.dataset import TrainingDataset
from ea_data.training.recipe import DataRecipe
from ea_data.training.show import find_entry, place_of, show

RECIPE = """
shapes: {video_sample_size: 64, image_sample_size: 64, video_sample_n_frames: 9}
batch_size: 2
captions: {dropout: 0.5}
masks: {draw: inpaint, weights: {box: 1}}
control: video
reference: {mode: random}
random_flip: true
"""
CAMERA = """
shapes: {video_sample_size: 64, video_sample_n_frames: 9}
control: camera
"""


@pytest.fixture
def folder(made_folder, tmp_path):
    shutil.copytree(made_folder, tmp_path / "media")
    (tmp_path / "media" / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "media"


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("media")).parent


def run(folder, *arguments):
    return main(["show", str(folder / "metadata.json"), *map(str, arguments)])


def test_a_clip_is_written_as_it_is_trained(folder, capsys):
    out = folder / "out"
    code = run(folder, "clip3.mp4", "--epoch", 3, "--recipe", folder / "recipe.yaml", "--out", out)
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    names = sorted(path.name for path in out.iterdir())
    assert names == ["clip.mp4", "control.mp4", "masked.mp4", "sample.json", "sheet.png"]
    facts = json.loads((out / "sample.json").read_text())
    dataset = TrainingDataset(
        read_manifest(folder / "metadata.json").entries, DataRecipe.from_file(folder / "recipe.yaml")
    )
    number = sum(dataset.order.num_batches(epoch) for epoch in range(3)) + facts["batch"]["number_in_epoch"]
    batch = dataset.batch(number)
    place = facts["batch"]["place"]
    choices = batch.choices[place]
    assert choices.entry == facts["row"] == 3
    assert (list(choices.frames), choices.flipped) == (facts["frames"], facts["flipped"])
    assert (facts["mask"]["kind"], facts["reference"]) == ("box", choices.reference)
    assert facts["caption"] == batch.texts[place]
    assert facts["source"] == {"frames": 23, "height": 96, "width": 64, "fps": 10.0}
    assert facts["seconds"] == pytest.approx([frame / 10 for frame in facts["frames"]])
    clip, masked = read_video(out / "clip.mp4"), read_video(out / "masked.mp4")
    shown = ((batch.pixels_BTCHW[place] + 1) * 127.5).movedim(1, 3).numpy()
    assert clip.fps == pytest.approx(10)
    assert np.abs(clip.frames - shown).mean() < 2
    hidden = batch.masks_BTHW[place].numpy()
    assert masked.frames[hidden].mean() < 12
    assert np.abs(masked.frames[~hidden] - shown[~hidden]).mean() < 4
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size[0] > 700
    assert f"{facts['frames'][0]} to {facts['frames'][-1]} of the file" in printed.out
    assert "'text of clip3.mp4'" in printed.out


def test_only_an_earlier_output_is_replaced(folder, capsys):
    out, recipe = folder / "out", ("--recipe", folder / "recipe.yaml")
    assert run(folder, 0, *recipe, "--out", out) == 0
    assert json.loads((out / "sample.json").read_text())["schema"] == "ea-data show 1"
    assert run(folder, 7, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip.png", "sample.json", "sheet.png"]
    (out / "clip.mp4").write_bytes((folder / "clip3.mp4").read_bytes())
    rows = json.loads((folder / "metadata.json").read_text())
    rows[3]["control_file_path"] = "out/clip.mp4"
    (folder / "metadata.json").write_text(json.dumps(rows))
    capsys.readouterr()
    assert run(folder, 0, "--out", out) == 2
    assert (
        f"--out is {out}, which holds {out / 'clip.mp4'}, a file of the manifest" in capsys.readouterr().err
    )
    assert (out / "clip.mp4").is_file()


@pytest.mark.parametrize("name", ["clip.mp4", "sample.json", "notes.txt", ".hidden"])
def test_a_folder_with_something_else_is_left_alone(folder, capsys, name):
    out = folder / "mine"
    out.mkdir()
    (out / name).write_text("{}")
    assert run(folder, 0, "--out", out) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"ea-data show: error: cannot write {out}: it holds something else than a shown")
    assert errors.count("\n") == 1
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "{}")]
    assert run(folder, 0, "--out", out / name) == 2
    assert "allowed: a new folder, or an earlier one" in capsys.readouterr().err


def test_a_picture_is_written_as_a_picture(folder, capsys):
    out = folder / "out"
    assert run(folder, 7, "--recipe", folder / "recipe.yaml", "--out", out) == 0
    assert read_image(out / "clip.png").shape == read_image(out / "control.png").shape == (48, 64, 3)
    assert "frames" not in capsys.readouterr().out


def test_a_camera_is_summed_up(folder, capsys):
    (folder / "recipe.yaml").write_text(CAMERA)
    rows = json.loads((folder / "metadata.json").read_text())
    for row in rows:
        row["control_file_path"] = "camera.txt"
    (folder / "metadata.json").write_text(json.dumps(rows))
    assert run(folder, 1, "--recipe", folder / "recipe.yaml", "--out", folder / "out") == 0
    control = json.loads((folder / "out" / "sample.json").read_text())["control"]
    assert control["kind"] == "camera"
    right, down, forward = control["moves_right_down_forward"]
    assert right < -0.01
    assert (down, forward, control["turns_degrees"]) == (0, 0, 0)
    assert "camera.txt; moves -" in capsys.readouterr().out


def test_without_a_folder_nothing_is_written(folder, capsys):
    before = sorted(folder.parent.rglob("*"))
    assert run(folder, 0) == 0
    assert sorted(folder.parent.rglob("*")) == before
    assert "written" not in capsys.readouterr().out
    assert run(folder, 0, "--facts", folder / "facts.json") == 0
    assert (folder / "facts.json").is_file()


def test_bad_rows_and_files_are_told_and_the_others_shown(folder, capsys):
    (folder / "clip1.mp4").write_bytes(b"nothing")
    rows = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps([*rows, {"file_path": "gone.mp4"}]))
    assert run(folder, "clip0.mp4") == 0
    errors = capsys.readouterr().err
    assert "no such file: gone.mp4" in errors
    assert "clip1.mp4: not a known video" in errors
    assert run(folder, "clip1.mp4") == 2
    assert "row 1 cannot be trained on: cannot read" in capsys.readouterr().err


def test_rows_are_numbered_as_lint_does(folder, capsys):
    rows = json.loads((folder / "metadata.json").read_text())
    rows[1:1] = [{"file_path": "gone.mp4"}, {"text": "no file"}]
    (folder / "metadata.json").write_text(json.dumps(rows, indent=0))
    (folder / "clip2.mp4").write_bytes(b"nothing")
    (folder / "recipe.json").write_text('{"batch_size": 2}')
    words = ["lint", str(folder / "metadata.json"), "--recipe", str(folder / "recipe.json")]
    assert main([*words, "--workers", "1", "--json", "-"]) == 1
    dropped = json.loads(capsys.readouterr().out)["dropped"]
    assert [each["row"] for each in dropped] == [1, 2, 4]
    assert run(folder, 4) == 2
    assert "row 4 cannot be trained on: cannot read" in (errors := capsys.readouterr().err)
    assert "clip2.mp4" in errors
    for number in (1, 2):
        assert run(folder, number) == 2
        assert f"there is no row {number} that can be used; allowed: numbers" in capsys.readouterr().err
    assert run(folder, "clip3.mp4", "--out", folder / "out") == 0
    facts = json.loads((folder / "out" / "sample.json").read_text())
    assert facts["row"] == 5
    assert 5 in facts["batch"]["rows"]
    (folder / "metadata.json").write_text("[{}]")
    assert run(folder, 0) == 2
    assert "the manifest has no row that can be used; allowed: 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("9",), "there is no row 9 that can be used; allowed: numbers of such rows, from 0 to 8, or"),
        (("9" * 5000,), f"there is no row {'9' * 40} that can be used"),
        (("clip.mp4",), "no row has the file 'clip.mp4'"),
        (("",), "no row has the file ''"),
        (("-1",), "no row has the file '-1'"),
        (("0", "--epoch", "-1"), "--epoch is -1; allowed: 0 or more"),
        (("0", "--recipe", "none.yaml"), "cannot read none.yaml: No such file"),
        (("0", "--out", "no/such"), "cannot write no/such: the folder no does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(folder, capsys, arguments, message):
    ident, *options = arguments
    code = main(["show", str(folder / "metadata.json"), *options, "--", ident])
    errors = capsys.readouterr().err
    assert code == 2
    assert errors.startswith(f"ea-data show: error: {message}")
    assert errors.count("\n") == 1


def test_a_row_is_found_by_its_name(made_folder):
    entries = read_manifest(made_folder / "metadata.json").entries
    assert find_entry(entries, "clip2.mp4") == 2
    assert find_entry(entries, str(entries[4].path)) == 4
    with pytest.raises(ValueError, match=r"2 rows have the file 'clip2\.mp4'; allowed: one of .* 2, 9$"):
        find_entry((*entries, replace(entries[2], row=9)), "clip2.mp4")


def test_a_row_that_an_epoch_leaves_out_is_said_to_be(made_folder):
    entries = read_manifest(made_folder / "metadata.json").entries
    recipe = DataRecipe.from_mapping({"batch_size": 2, "remainder": "drop"})
    dataset = TrainingDataset(entries, recipe)
    left_out = []
    for entry in range(9):
        try:
            place_of(dataset, entry, 0)
        except ValueError as error:
            assert "is in no batch of epoch 0" in str(error)  # noqa: PT017  which rows is up to chance
            left_out.append(entry)
    assert len(left_out) == 3


def test_the_row_that_is_shown_is_not_its_replacement(folder):
    dataset = TrainingDataset(
        read_manifest(folder / "metadata.json").entries,
        DataRecipe.from_mapping({"batch_size": 2, "shapes": {"video_sample_size": 64}}),
        report=lambda failure: None,
    )
    assert torch.is_tensor(dataset.batch(0).pixels_BTCHW)
    (folder / "clip2.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"row 2 cannot be read, another takes its place: .*clip2\.mp4"):
        show(dataset, 2, 1)
