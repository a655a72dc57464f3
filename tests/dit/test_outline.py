"""What a model directory is and can do is told before its weights are read."""

import json

import pytest
import torch
from given import request_of

from ea_dit.diffusion import DdpmSchedule, FlowMatching
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.pipelines import read_outline
from ea_dit.pipelines.tiny import MOTION_FILE, make_tiny

FRAMES, HEIGHT, WIDTH = 5, 32, 64
VIDEO = torch.rand(3, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
RAYS = torch.zeros(6, FRAMES, HEIGHT, WIDTH)
HALF = torch.arange(WIDTH).expand(HEIGHT, WIDTH) >= WIDTH // 2
LAST_TWO = (torch.arange(FRAMES) >= 3)[:, None, None].expand(FRAMES, HEIGHT, WIDTH)
NOTHING_KEPT = torch.ones(HEIGHT, WIDTH)


def make(**changes):
    options = {"prompt": "a red fox", "height": HEIGHT, "width": WIDTH, "num_frames": FRAMES, "num_steps": 4}
    return request_of(options | changes)


def hollow(file):
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(8 + int.from_bytes(stream.read(8), "little"))
        stream.truncate(size)


@pytest.fixture(scope="module")
def outline(tmp_path_factory):
    """Reads a tiny directory whose weight files have nothing behind their headers but zeros."""
    read = {}

    def get(family):
        if family not in read:
            folder = make_tiny(family, tmp_path_factory.mktemp(family) / "model")
            for weights in folder.rglob("*.safetensors"):
                hollow(weights)
            read[family] = read_outline(folder)
        return read[family]

    return get


@pytest.mark.parametrize(
    ("family", "variant", "process", "moves"),
    [
        ("v1-image", "text", DdpmSchedule, False),
        ("v1-t2v", "text", DdpmSchedule, True),
        ("v3-inp", "inpaint", DdpmSchedule, True),
        ("v5-7b-control", "control", DdpmSchedule, True),
        ("v5.1-7b-camera", "camera", FlowMatching, True),
        ("open-sora-1.0", "frames", Iddpm, True),
    ],
)
def test_a_directory_is_told_without_weights(outline, family, variant, process, moves):
    told = outline(family)
    assert (told.traits.variant, told.traits.moves) == (variant, moves)
    assert isinstance(told.process, process)
    assert (told.motion_module is not None) == (family == "v1-t2v")


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("v5.1-7b-t2v", {"sampler": "Flow_DPM++"}),
        ("v5.1-7b-t2v", {"video": VIDEO, "strength": 0.5}),
        ("v3-inp", {"video": VIDEO, "mask": HALF}),
        ("v5.1-7b-control", {"control": VIDEO, "reference": VIDEO[:, 0]}),
        ("v5.1-7b-camera", {"camera": RAYS}),
        ("open-sora-1.0", {"video": VIDEO, "mask": LAST_TWO, "sampler": "DDIM"}),
        ("open-sora-1.0", {"video": VIDEO, "mask": NOTHING_KEPT, "sampler": "DPM-Solver"}),
    ],
)
def test_what_a_model_can_do_is_let_through(outline, family, change):
    outline(family).check(make(**change))


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("v5.1-7b-t2v", {"height": 40}, "height must be a multiple of 16"),
        ("v1-t2v", {"width": 48}, "width must be a multiple of 32 for this model, got 48"),
        ("v5.1-7b-t2v", {"strength": 0.5}, "strength below 1 needs a video"),
        (
            "v5.1-7b-t2v",
            {"control": VIDEO},
            "control cannot be used: this model supports text_to",
        ),
        (
            "v5.1-7b-t2v",
            {"camera": RAYS},
            "camera cannot be used: this model supports text_to_image, text_to",
        ),
        ("v5.1-7b-t2v", {"last_image": VIDEO[:, 0]}, "last_image cannot be used: this model supports"),
        ("v5.1-7b-t2v", {"video": VIDEO, "mask": HALF}, "mask cannot be used: this model supports"),
        ("v5.1-7b-camera", {"control": VIDEO}, "control cannot be used: .* takes a camera path instead"),
        ("v5.1-7b-control", {"camera": RAYS}, "camera cannot be used: .* takes a control video instead"),
        ("v5-7b-control", {"reference": VIDEO[:, 0]}, "reference cannot be used: .* no reference image"),
        (
            "v5.1-7b-control",
            {"reference": VIDEO[:, 0], "num_frames": 1},
            "reference cannot be used with one frame: num_frames must be at least 2",
        ),
        ("v1-image", {}, "num_frames 5 cannot be used: this model supports text_to_image"),
        (
            "v5.1-7b-t2v",
            {"sampler": "DDIM"},
            r"sampler must be one of Flow, .*, Flow_LCM for a flow schedule, got 'DDIM'",
        ),
        ("v3-inp", {"sampler": ""}, "sampler must be one of Euler, .* for a DDPM schedule, got ''"),
        ("v3-inp", {"sampler": "PNDM", "num_steps": 1}, "num_steps times strength must be at least"),
        (
            "open-sora-1.0",
            {"video": VIDEO, "strength": 0.5, "sampler": "DPM-Solver"},
            "strength must be 1 with the sampler DPM-Solver",
        ),
        ("open-sora-1.0", {"video": VIDEO, "mask": HALF}, "mask must keep or redo whole frames for this"),
        (
            "open-sora-1.0",
            {"image": VIDEO[:, 0], "sampler": "DPM-Solver"},
            "sampler must be IDDPM or DDIM where frames are kept",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_without_weights(outline, family, change, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        outline(family).check(make(**change))
    assert len(str(caught.value).splitlines()) == 1


def test_motion_modules_can_be_named(tmp_path):
    folder = make_tiny("v1-t2v", tmp_path / "model")
    elsewhere = (folder / MOTION_FILE).rename(tmp_path / "mm.safetensors")
    with pytest.raises(ValueError, match=r"^num_frames 5 cannot be used"):
        read_outline(folder).check(make())
    told = read_outline(folder, motion_module=elsewhere)
    told.check(make())
    assert told.motion_module == elsewhere
    with pytest.raises(ValueError, match=r"none\.safetensors"):
        read_outline(folder, motion_module=tmp_path / "none.safetensors")


def test_a_process_of_another_network_is_named_with_its_file(tmp_path):
    folder = make_tiny("v1-image", tmp_path / "model")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(Iddpm().to_dict()))
    with pytest.raises(ValueError, match="must be DdpmSchedule for this transformer, got Iddpm") as caught:
        read_outline(folder)
    assert str(caught.value).startswith(f"{file}: ")
