"""TensorBoard as it reads its files, W&B as it is called, and what is said when it is missing."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ea_data.media import write_video
from ea_train.config import LoopConfig
from ea_train.loop.norms import block_norms
from ea_train.loop.trackers import TensorBoard, check_trackers, open_trackers


@pytest.fixture
def files(tmp_path):
    film, sheet = tmp_path / "step-000007.mp4", tmp_path / "step-000007.png"
    write_video(film, np.zeros((3, 16, 32, 3), np.uint8))
    Image.new("RGB", (20, 10)).save(sheet)
    return film, sheet


def test_tensorboard_has_numbers_a_sheet_and_a_moving_picture(files, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(LoopConfig(), tmp_path, 0)
    board.numbers(7, {"loss/generator": 0.5})
    board.clips(7, *files)
    board.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss/generator")] == [(7, 0.5)]
    (sheet,), (clips,) = read.Images("samples/sheet"), read.Images("samples/clips")
    assert (sheet.step, sheet.width, sheet.height) == (7, 20, 10)
    assert (clips.step, clips.width, clips.height) == (7, 32, 16)
    assert clips.encoded_image_string.startswith(b"GIF89a")


class FakeWandb(ModuleType):
    """The few names of W&B that are used."""

    class Error(Exception):
        """As W&B's."""

    def __init__(self, failure=None):
        super().__init__("wandb")
        self.__spec__ = SimpleNamespace(name="wandb")
        self.begun, self.logged, self.finished = [], [], 0
        self.failure = failure
        self.util = SimpleNamespace(generate_id=lambda: "abc123")
        self.Image = lambda path: ("image", path)
        self.Video = lambda path, **kind: ("video", path, kind["format"])

    def init(self, **given):
        if self.failure:
            raise self.Error(self.failure)
        self.begun.append(given)
        return SimpleNamespace(
            log=lambda values, step: self.logged.append((step, values)), finish=self._finish
        )

    def _finish(self):
        self.finished += 1


def test_wandb_is_one_run_however_often_it_is_continued(files, tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = tmp_path / "style"
    for finished in (0, 7):
        (tracker,) = open_trackers(LoopConfig(trackers=("wandb",), tracker_project="mine"), folder, finished)
        tracker.numbers(7, {"loss/generator": 0.5})
        tracker.clips(7, *files)
        tracker.close()
    common = {"project": "mine", "name": "style", "id": "abc123", "resume": "allow", "dir": str(folder)}
    assert wandb.begun == [common, common]
    assert wandb.finished == 2
    assert wandb.logged[0] == (7, {"loss/generator": 0.5})
    assert wandb.logged[1][1]["samples/clips"] == ("video", str(files[0]), "mp4")


def test_wandb_that_cannot_begin_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb("no key\nlog in first"))
    with pytest.raises(ValueError, match=r"^loop\.trackers: W&B: no key log in first$"):
        open_trackers(LoopConfig(trackers=("wandb",)), tmp_path, 0)


def test_a_missing_extra_is_said_with_what_to_install(monkeypatch):
    monkeypatch.setattr("ea_train.loop.trackers.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"has wandb, which is not installed: pip install 'ea-train\[wandb\]'"
    ):
        check_trackers(["wandb"])


def test_a_missing_extra_ends_a_command_before_anything_is_read(tmp_path, monkeypatch, capsys):
    from ea_train import cli

    monkeypatch.setattr("ea_train.loop.trackers.find_spec", lambda name: None)
    options = ["--preset", "tiny", "--set", "loop.trackers=[wandb]", "--output", str(tmp_path / "run")]
    assert cli.main(["finetune", "--model", "none", "--data", "none", *options]) == 2
    assert "loop.trackers has wandb, which is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_block_norms_add_up_to_the_whole(toy):
    task = toy()
    task.net(torch.randn(3, 4)).square().sum().backward()
    parameters = list(task.net.parameters())
    found = block_norms(task, {"generator": parameters})
    assert list(found) == ["grad_norm_block/00", "grad_norm_block/01", "grad_norm_block/03"]
    whole = torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    assert sum(value**2 for value in found.values()) ** 0.5 == pytest.approx(float(whole), rel=1e-5)
    assert json.dumps(found)
