"""Weights and finer numbers that are chosen on the page."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ea_app.api.abilities import ask_all
from ea_app.options import InputError
from ea_app.ui.form import FIELDS, FINER, options_of, values_of
from ea_app.ui.models import WEIGHTS, Shelf
from ea_app.ui.settings import UiSettings


@pytest.fixture
def stocked(shelf, tmp_path):
    """A shelf with a file of either kind."""
    places = {kind: tmp_path / kind for kind in WEIGHTS}
    for kind, place in places.items():
        (place / "in").mkdir(parents=True)
        (place / "in" / f"{kind}.safetensors").write_bytes(b"")
    return Shelf(motion_modules=places["motion_module"], checkpoints=places["transformer_weights"])


def _names(kind):
    return f"in/{kind}.safetensors"


def test_chosen_weights_become_options_and_come_back(stocked, uploads, tmp_path):
    values = {"prompt": "a", **{kind: _names(kind) for kind in WEIGHTS}}
    prompt, options = options_of(values, stocked, uploads)
    assert {kind: options[kind] for kind in WEIGHTS} == {
        kind: str(tmp_path / kind / _names(kind)) for kind in WEIGHTS
    }
    shown, missing = values_of(prompt, options, stocked, uploads)
    assert ({kind: shown[kind] for kind in WEIGHTS}, missing) == (
        {kind: _names(kind) for kind in WEIGHTS},
        [],
    )
    for kind in WEIGHTS:
        (tmp_path / kind / _names(kind)).unlink()
    shown, missing = values_of(prompt, options, stocked, uploads)
    assert [shown[kind] for kind in WEIGHTS] == [None, None]
    assert missing == list(WEIGHTS)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(
    "given", ["/etc/passwd", "../secret.safetensors", "in", 5, ["in"], "in/other.safetensors"]
)
def test_only_names_of_the_folder_are_taken(stocked, shelf, uploads, kind, given):
    with pytest.raises(InputError, match=f"must be one of {_names(kind)}; got") as refused:
        options_of({"prompt": "a", kind: given}, stocked, uploads)
    assert refused.value.field == kind.replace("_", "-")
    with pytest.raises(InputError, match="must be one of none"):
        options_of({"prompt": "a", kind: _names(kind)}, shelf, uploads)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^motion-modules-dir: .* is no folder"):
        UiSettings(motion_modules=tmp_path / "none")
    with pytest.raises(InputError, match=r"^checkpoints-dir: .* is no folder"):
        UiSettings(checkpoints=tmp_path / "none")


def test_finer_numbers_are_those_of_a_request(shelf, uploads):
    from ea_app.options import option
    from ea_dit.pipelines import GenerationRequest

    request = GenerationRequest(prompt="a")
    assert {name: getattr(request, name) for name in FINER} == dict(FINER)
    assert {name: option(name).default for name in FINER} == dict(FINER)
    _, options = options_of({"prompt": "a", **dict.fromkeys(FINER, "0.5")}, shelf, uploads)
    assert {name: options[name] for name in FINER} == dict.fromkeys(FINER, "0.5")
    for name in FINER:
        with pytest.raises(InputError, match="must be a number from 0 to 1"):
            options_of({"prompt": "a", name: "1.5"}, shelf, uploads)


def test_own_timesteps_are_the_steps_and_come_back(shelf, uploads):
    given = {"prompt": "a", "steps": 25, "timesteps": "999, 750.5, 250", "seed": "1"}
    prompt, options = options_of(given, shelf, uploads)
    assert "steps" not in options
    with pytest.raises(InputError, match="that fall, with commas"):
        options_of({**given, "timesteps": "1, 2"}, shelf, uploads)
    values, missing = values_of(prompt, {**options, "timesteps": (999, 750.5, 250)}, shelf, uploads)
    assert (values["timesteps"], values["steps"], missing) == ("999, 750.5, 250", 3, [])


@pytest.mark.parametrize(("curve", "counted"), [("released", "released"), ("identity", "identity")])
def test_steps_are_left_out_by_the_rule_that_the_model_has(
    curve, counted, shelf, uploads, abilities, monkeypatch
):
    info = shelf.find("default").info
    monkeypatch.setattr(shelf, "describe", lambda *_: (info, replace(abilities, step_curve=curve)))
    _, options = options_of({"prompt": "a", "teacache": "0.08"}, shelf, uploads)
    assert (options["teacache"], options["teacache_curve"]) == ("0.08", counted)
    assert values_of("a", options, shelf, uploads)[0]["teacache"] == "0.08"
    with pytest.raises(InputError, match="from 0 to 1"):
        options_of({"prompt": "a", "teacache": "3"}, shelf, uploads)


def test_finer_numbers_reach_the_request():
    from ea_app.api.job import make_job
    from ea_app.catalog import find

    model = find("default")
    fields = make_job(model, prompt="a", **dict.fromkeys(FINER, 0.25)).fields
    assert {name: fields[name] for name in FINER} == dict.fromkeys(FINER, 0.25)
    assert not set(FINER) & set(make_job(model, prompt="a").fields)


def test_what_is_greyed_says_why_and_keeps_no_value(studio, abilities, monkeypatch):
    from ea_app.ui.page import Page
    from ea_app.ui.updates import on_model

    page = Page(controls=dict.fromkeys(FIELDS))
    told = dict(zip(FIELDS, on_model(page, studio)("default", "en"), strict=False))
    reason = "default cannot use this"
    for name in ("motion_module", "clip_apply_ratio", "noise_aug_strength", "camera"):
        assert (told[name]["interactive"], told[name]["info"]) == (False, reason)
        assert not told[name]["value"]
    assert told["trajectory"]["value"] == ""
    assert "--checkpoints-dir" in told["transformer_weights"]["info"]
    assert told["transformer_weights"]["interactive"] is False
    assert (told["guidance_rescale"]["interactive"], told["guidance_rescale"]["placeholder"]) == (True, "0")
    assert "value" not in told["image"]
    able = replace(abilities, noisy=True, clip=True, motion_modules=True)
    monkeypatch.setattr(studio.shelf, "describe", lambda *_: (studio.shelf.find("default").info, able))
    told = dict(zip(FIELDS, on_model(page, studio)("default", "en"), strict=False))
    assert told["noise_aug_strength"]["interactive"]
    assert "--motion-modules-dir" in told["motion_module"]["info"]


def test_motion_modules_make_a_model_of_videos(tmp_path, monkeypatch):
    from ea_app.api import abilities
    from ea_dit.pipelines.tiny import MOTION_FILE, make_tiny

    make_tiny("v1-t2v", tmp_path / "models" / "v1")
    motion = tmp_path / "motion" / "mm.safetensors"
    motion.parent.mkdir()
    shutil.move(tmp_path / "models" / "v1" / MOTION_FILE, motion)
    told = ask_all([str(tmp_path / "models" / "v1")], str(motion))

    def ask_here(name, motion_module=None):  # a process for every question would take seconds
        match abilities._read(abilities._tell(name, motion_module)):
            case str() as wrong:
                raise ValueError(wrong)
            case found:
                return found

    monkeypatch.setattr("ea_app.ui.models.ask", ask_here)
    shelf = Shelf(tmp_path / "models", motion_modules=motion.parent)
    info, alone = shelf.describe("v1")
    assert (info.native_frames, alone.modes, alone.motion_modules) == (1, ("text_to_image",), True)
    info, whole = shelf.describe("v1", "mm.safetensors")
    assert info.native_frames > 1
    assert "text_to_video" in whole.modes
    assert told == {str(tmp_path / "models" / "v1"): (info, whole)}
    assert shelf.describe("default", "mm.safetensors") == shelf.describe("default")
    (motion.parent / "empty.safetensors").write_bytes(b"")
    with pytest.raises(InputError) as refused:
        shelf.describe("v1", "empty.safetensors")
    assert refused.value.field == "motion-module"
