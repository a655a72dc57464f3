"""What a model cannot do is refused in one line, before its weights are read."""

from __future__ import annotations

import pytest
import torch

from ea_app import Engine, GenerationRequest, InputError
from ea_dit.pipelines import Control, Reference
from ea_dit.pipelines.tiny import make_tiny


@pytest.fixture(scope="module")
def without_weights(tmp_path_factory):
    """Tiny directories whose weight files have nothing behind their headers but zeros."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family) / "model")
            for path in made[family].rglob("*.safetensors"):
                size = path.stat().st_size
                with path.open("r+b") as stream:
                    stream.truncate(8 + int.from_bytes(stream.read(8), "little"))
                    stream.truncate(size)
        return made[family]

    return get


GIVEN = ["--size", "32", "--frames", "5", "--steps", "2", "--seed", "1"]


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (
            "v5.1-7b-t2v",
            ["--image", "{media}/square.png"],
            "image: cannot be used: this model supports a prompt for pictures, a prompt for videos, --video",
        ),
        (
            "v5.1-7b-t2v",
            ["--last-image", "{media}/square.png"],
            "last-image: cannot be used: this model supp",
        ),
        (
            "v5.1-7b-t2v",
            ["--video", "{media}/clip.mp4", "--mask", "{media}/mask.png"],
            "mask: cannot be used: this model supports",
        ),
        ("v5.1-7b-t2v", ["--strength", "0.5"], "strength: needs --video"),
        (
            "v5.1-7b-t2v",
            ["--sampler", "Euler"],
            "sampler: must be one of Flow, Flow_DPM++, Flow_Unipc, Flow_LCM for a flow schedule, got 'Euler'",
        ),
        (
            "v3-inp",
            ["--sampler", "Flow"],
            "sampler: must be one of Euler, 'Euler A', DPM++, 'DPM++ SDE', PNDM, DDIM, DDPM, LCM, UniPC for",
        ),
        (
            "v5.1-7b-t2v",
            ["--control", "{media}/clip.mp4"],
            "control: cannot be used: this model supports a prompt for pictures, a prompt for videos",
        ),
        ("v5.1-7b-t2v", ["--reference", "{media}/square.png"], "reference: cannot be used: this model supp"),
        (
            "v5-7b-control",
            ["--control", "{media}/clip.mp4", "--reference", "{media}/square.png"],
            "reference: cannot be used: this model takes no reference image",
        ),
        (
            "v5.1-7b-camera",
            ["--control", "{media}/square.png"],
            "control: cannot be used: this model takes a camera path instead",
        ),
        (
            "v5.1-7b-control",
            ["--reference", "{media}/square.png", "--frames", "1"],
            "reference: needs at least 2 frames",
        ),
        ("v3-inp", ["--sampler", "PNDM", "--steps", "1"], "steps: times strength must be at least"),
    ],
)
def test_one_line_that_names_the_option(family, arguments, message, command, media, without_weights, capsys):
    given = [argument.replace("{media}", str(media)) for argument in arguments]
    model = without_weights(family)
    capsys.readouterr()  # what libraries say while the directory is made
    code, out, err = command("generate", "x", *GIVEN, *given, "--model", model)
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: {message}")
    assert err.count("\n") == 1


def test_a_request_is_checked_under_the_names_of_its_fields(without_weights):
    folder = str(without_weights("v5.1-7b-t2v"))
    given = {"prompt": "x", "height": 32, "width": 32, "num_frames": 5}
    Engine.check(GenerationRequest(**given), folder)
    for change, message in (
        ({"width": 40}, r"^width: must be a multiple of 16"),
        (
            {"conditions": (Control(pixels=torch.zeros(3, 5, 8, 8)),)},
            r"^control: cannot be used: this model sup",
        ),
        ({"sampler": "Euler"}, r"^sampler: must be one of Flow, .* for a flow schedule, got 'Euler'"),
        ({"strength": 0.5}, r"^strength: below 1 needs a video"),
        (
            {"conditions": (Reference(pixels=torch.zeros(3, 8, 8)),), "num_frames": 1},
            r"^reference: cannot be used: this model supp",
        ),
        ({"num_frames": 0}, r"^num_frames: must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            Engine.check(GenerationRequest(**given | change), folder)


def test_a_directory_that_is_not_understood_is_about_the_model(without_weights, tmp_path):
    request = GenerationRequest(prompt="x", height=32, width=32, num_frames=5)
    with pytest.raises(InputError, match=r"^model: unknown model 'nothing'"):
        Engine.check(request, "nothing")
    folder = make_tiny("v1-image", tmp_path / "model")
    (folder / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(InputError, match=r"^model: .*scheduler_config\.json"):
        Engine.check(request, str(folder))
    with pytest.raises(InputError, match=r"^motion-module: .*has no separate motion modules"):
        Engine.check(
            request, str(without_weights("v5.1-7b-t2v")), motion_module=tmp_path / "none.safetensors"
        )
