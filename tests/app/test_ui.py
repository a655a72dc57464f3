"""The studio without a browser: what stands in the controls becomes a job, and the other way round."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import time

import pytest
from PIL import Image
from studio_parts import uploaded

from ea_app.api.abilities import Abilities
from ea_app.catalog import bundled_names, find
from ea_app.jobs import State
from ea_app.options import InputError
from ea_app.ui import text, views
from ea_app.ui.form import FIELDS, options_of, values_of
from ea_app.ui.models import Shelf
from ea_app.ui.modes import mode_of, unusable


def _png(size=(8, 8)):
    held = io.BytesIO()
    Image.new("RGB", size).save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def test_a_prompt_alone_leaves_the_rest_to_the_model(shelf, uploads):
    empty = dict.fromkeys(FIELDS, "") | {"prompt": "a circle", "strength": 0.7, "lora_weight_1": 1}
    assert options_of(empty, shelf, uploads) == ("a circle", {"model": "default"})


def test_every_control_becomes_its_option(shelf, uploads):
    picture = uploaded(uploads)
    values = {
        "prompt": "a circle", "negative": "blur", "width": "64", "height": "96", "frames": "9", "fps": "12",
        "window": "9", "overlap": "1", "join": "pixels", "sampler": "Flow", "steps": 4, "guidance": 2.5,
        "seed": "5", "image": picture, "lora_1": "people/a.safetensors", "lora_weight_1": 0.5,
    }  # fmt: skip
    _, options = options_of(values, shelf, uploads)
    assert options.pop("lora")[0].endswith("people/a.safetensors:0.5")
    assert options == {
        "model": "default", "negative": "blur", "size": (64, 96), "frames": "9", "fps": "12", "window": "9",
        "overlap": "1", "join": "pixels", "sampler": "Flow", "steps": 4, "guidance": 2.5,
        "seed": "5", "image": picture,
    }  # fmt: skip


def test_strength_counts_for_a_video_without_a_mask(shelf, uploads):
    video = uploaded(uploads, "v.webp")
    values = {"prompt": "a", "video": video, "strength": 0.4}
    assert options_of(values, shelf, uploads)[1]["strength"] == 0.4
    _, masked = options_of({**values, "mask_drawn": _png()}, shelf, uploads)
    assert "strength" not in masked
    with Image.open(masked["mask"]) as mask:
        assert mask.size == (8, 8)


def test_the_size_of_the_reference(shelf, uploads):
    values = {"prompt": "a", "image": uploaded(uploads), "size_mode": True}
    assert options_of(values, shelf, uploads)[1]["size"] == (96, 48)
    with pytest.raises(InputError, match="needs a picture"):
        options_of({"prompt": "a", "size_mode": True}, shelf, uploads)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": None}),
        ("prompt", {"prompt": ["a"]}),
        ("steps", {"steps": 0}),
        ("steps", {"steps": 1.5}),
        ("steps", {"steps": {"a": 1}}),
        ("guidance", {"guidance": float("nan")}),
        ("seed", {"seed": "-1"}),
        ("frames", {"frames": "many"}),
        ("width", {"width": "6e1"}),
        ("height", {"height": True}),
        ("model", {"model": "/etc"}),
        ("model", {"model": "owner/name"}),
        ("model", {"model": ["default"]}),
        ("image", {"image": "/etc/passwd"}),
        ("image", {"image": "uploads/../secret.safetensors"}),
        ("image", {"image": {"path": "/etc/passwd"}}),
        ("video", {"video": "http://localhost/a.mp4"}),
        ("control", {"control": "/etc/passwd"}),
        ("lora", {"lora_1": "../secret.safetensors"}),
        ("lora", {"lora_1": "/etc/passwd"}),
        ("lora_weight", {"lora_1": "people/a.safetensors", "lora_weight_1": "1:2"}),
        ("camera", {"camera": "/etc/passwd"}),
        ("camera", {"camera": "notes.txt"}),
        ("camera", {"camera": "a\nb"}),
        ("mask", {"video": "v", "mask_drawn": "data:image/png;base64,AAAA"}),
        ("mask", {"video": "v", "mask_drawn": "data:text/html;base64,AAAA"}),
        ("trajectory", {"trajectory": 5}),
        ("trajectory", {"trajectory": "x" * 2_000_000}),
    ],
)
def test_what_is_wrong_is_refused_with_the_control(shelf, uploads, field, values):
    if values.get("video") == "v":
        values = {**values, "video": uploaded(uploads)}
    with pytest.raises(InputError) as caught:
        options_of({"prompt": "a circle", **values}, shelf, uploads)
    assert caught.value.field.replace("-", "_") == field


def test_links_do_not_lead_out_of_the_uploads(uploads, tmp_path):
    (tmp_path / "secret").write_text("x")
    uploads.folder.mkdir()
    (uploads.folder / "a.png").symlink_to(tmp_path / "secret")
    assert uploads.known(uploads.folder / "a.png") is None


def test_a_drawing_with_too_many_pixels_is_refused(uploads):
    with pytest.raises(InputError, match="allowed: 1 to 16777216 pixels"):
        uploads.keep_drawing("mask", _png((4100, 4100)))


def test_settings_go_to_the_controls_and_come_back(studio, uploads):
    points = '{"width": 64, "height": 64, "paths": [[[1, 2], [3, 4]]]}'
    asked = {
        "prompt": "a circle", "steps": 4, "seed": "5", "width": "64", "height": "96", "frames": "9",
        "image": uploaded(uploads), "trajectory": points, "lora_2": "people/a.safetensors",
        "lora_weight_2": 0.5,
    }  # fmt: skip
    view = studio.submit(asked)
    values, missing = studio.reuse(view.id)
    assert missing == []
    assert json.loads(values["trajectory"]) == json.loads(points)
    assert {key: values[key] for key in ("prompt", "steps", "seed", "width", "height", "image")} == {
        key: asked[key] for key in ("prompt", "steps", "seed", "width", "height", "image")
    }
    again = studio.submit(values)
    assert {**again.options, "join": 0} == {**view.options, "join": 0}


def test_a_batch_is_queued_whole_or_not_at_all(studio):
    with pytest.raises(InputError, match="steps"):
        studio.submit_lines("a\nb", {"steps": 0})
    assert studio.jobs.views == {}
    assert [view.prompt for view in studio.submit_lines(" a \n\n b", {})] == ["a", "b"]
    for wrong in ("", " \n", None, "a\n" * 101):
        with pytest.raises(InputError, match="lines"):
            studio.submit_lines(wrong, {})


def test_what_a_job_needs_is_told_before_it_is_asked_for(studio, monkeypatch):
    tell = studio.forecast.tell
    told = tell({"model": "default", "size_mode": False, "steps": 25, "guidance": 6.0}, "en")
    assert re.search(r">about \d+\.\d GB · \d+ s<", told)
    assert "weights" in told
    assert "约" in tell({"model": "default"}, "zh")
    long = {"model": "default", "frames": "1000", "window": "17", "steps": 100, "memory": "auto"}
    assert re.search(r"\d+:\d\d min", tell(long, "en"))
    assert "Size" in (wrong := tell({"model": "default", "width": "70"}, "en"))
    assert "ea-wrong" in wrong
    assert "Width: must be a whole number" in tell({"model": "default", "width": "<b>"}, "en")
    assert tell({"model": None}, "en") == f'<span class="ea-dim">{text.word("forecast.none", "en")}</span>'
    monkeypatch.setattr("ea_app.planning.machine._free_gigabytes", lambda: 0.1)
    assert "0.1 GB are free" in tell({"model": "default"}, "en")


def test_what_a_job_needs_follows_the_shape_of_a_reference(studio, uploads):
    values = {"model": "default", "size_mode": True, "guidance": 6.0}
    assert "needs a picture" in studio.forecast.tell(values, "en")
    assert "about" in studio.forecast.tell(values | {"image": uploaded(uploads)}, "en")


def test_memory_and_file_are_options_unless_they_are_automatic(studio):
    plain = studio.submit({"prompt": "a", "memory": "auto", "format": "auto"})
    assert not {"memory", "format"} & plain.options.keys()
    view = studio.submit({"prompt": "a", "memory": "sequential_cpu_offload", "format": "webm"})
    assert (view.options["memory"], view.options["format"]) == ("sequential_cpu_offload", "webm")
    values, _ = studio.reuse(view.id)
    assert (values["memory"], values["format"]) == ("sequential_cpu_offload", "webm")
    for wrong in ({"memory": "much"}, {"format": "exe"}):
        with pytest.raises(InputError, match="must be one of"):
            studio.submit({"prompt": "a", **wrong})


@pytest.mark.parametrize(("name", "tag"), [("a.webm", "<video"), ("a.gif", "<img"), ("a.zip", "/thumbnail")])
def test_every_kind_of_file_is_shown(studio, tmp_path, name, tag):
    from ea_app.options.table import FORMATS
    from ea_app.ui.media import _TYPES

    assert {f".{kind}" for kind in FORMATS} | {".zip"} <= set(_TYPES)
    view = studio.submit({"prompt": "a"})
    (tmp_path / name).write_bytes(b"")
    studio.jobs.change(view.id, state=State.DONE, output=tmp_path / name)
    assert tag in studio.screen(view.id, "en").stage


def test_a_choice_stands_against_a_refresh_that_arrives_later(studio):
    import gradio as gr

    from ea_app.ui.events import _SHOWN, Events

    events = Events.__new__(Events)
    events.studio = studio
    first, second = (studio.submit({"prompt": prompt}).id for prompt in "ab")
    at = _SHOWN.index("current")
    assert events.tick("", {}, "en", None, None)[at] == first
    assert events.tick(second, {}, "en", None, None)[at] == gr.skip()
    assert events.tick("gone", {}, "en", None, None)[at] == first
    assert events.refresh(second, {}, "en", None, None)[at] == second


def test_a_pair_differs_in_one_thing(studio):
    left, right = studio.submit_pair({"prompt": "a", "sampler": "Flow"}, "sampler", "Flow_LCM")
    assert {key for key in left.options if left.options[key] != right.options[key]} == {"sampler"}
    left, right = studio.submit_pair({"prompt": "a", "seed": "1"}, "seed", None)
    assert {key for key in left.options if left.options[key] != right.options[key]} == {"seed"}
    left, right = studio.submit_pair({"prompt": "a", "lora_1": "people/a.safetensors"}, "lora", None)
    assert "lora" in left.options
    assert "lora" not in right.options
    for vary in ("lora", "weather", None):
        with pytest.raises(InputError):
            studio.submit_pair({"prompt": "a"}, vary, None)


def test_what_stands_on_the_page_is_escaped(studio):
    view = studio.submit({"prompt": "<img src=x onerror=alert(1)>"})
    studio.jobs.change(view.id, state=State.FAILED, error="<script>alert(1)</script>")
    screen = studio.screen(view.id, "en")
    html = screen.stage + screen.queue + screen.history + views.comparison([studio.get(view.id), None], "en")
    assert "<img src=x" not in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_the_page_tells_where_a_job_is(studio):
    view = studio.submit({"prompt": "a circle"})
    assert studio.screen("", "en").current == view.id
    studio.jobs.change(view.id, ahead=3)
    assert "3 before it" in studio.screen(view.id, "en").stage
    studio.jobs.change(view.id, state=State.RUNNING, stage="denoise", step=5, total=20, remaining=75.0)
    screen = studio.screen(view.id, "en")
    assert "5/20" in screen.stage
    assert "1:15 min left" in screen.stage
    assert 'aria-valuenow="25"' in screen.stage
    assert screen.can_cancel
    assert not screen.is_over
    studio.jobs.change(view.id, state=State.CANCELLED)
    screen = studio.screen(view.id, "en")
    assert screen.can_resume
    assert screen.queue == ""
    assert studio.screen("no such job", "en").current == view.id


def test_settings_of_a_job_are_told_in_words(studio):
    values = {
        "prompt": "a",
        "memory": "model_cpu_offload",
        "format": "webm",
        "lora_1": "people/a.safetensors",
    }
    stage = studio.screen(studio.submit(values | {"lora_weight_1": 0.5}).id, "en").stage
    for words in ("Memory mode a network at a time", "File WEBM", "LoRA a 0.5"):
        assert f"<span>{words}</span>" in stage
    assert "逐个网络" in studio.screen("", "zh").stage


def test_uploads_are_removed_when_no_job_uses_them(studio, uploads):
    used = uploaded(uploads)
    view = studio.submit({"prompt": "a", "image": used})
    unused = uploads.keep_text("file", "x", ".json")
    old = time.time() - 1000
    for place in uploads.folder.iterdir():
        os.utime(place, (old, old))
    assert studio.clean(2000) == 0
    assert studio.clean(500) == 1
    assert uploads.known(used)
    assert uploads.known(unused) is None
    del studio.jobs.views[view.id]
    assert studio.clean(500) == 1


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({}, "text_to_video"),
        ({"frames": "1"}, "text_to_image"),
        ({"image": "a"}, "image_to_video"),
        ({"last_image": "a"}, "image_to_video"),
        ({"video": "a", "image": "b"}, "video_to_video"),
        ({"video": "a", "mask": "b"}, "masked_video"),
        ({"mask": "b"}, "text_to_video"),
        ({"camera": "pan left", "video": "a"}, "control"),
    ],
)
def test_the_mode_follows_from_what_is_given(values, mode):
    assert mode_of(values) == mode
    assert text.has(f"mode.{mode}")


def test_controls_without_use_are_known(abilities):
    assert unusable(abilities) == {
        "control",
        "control_kind",
        "trajectory",
        "camera",
        "reference",
        "clip_image",
        "clip_apply_ratio",
        "noise_aug_strength",
        "teacache",
        "motion_module",
    }
    still = Abilities(
        modes=("text_to_image",), variant="text", reference=False, clip=True, samplers=(), sampler=""
    )
    assert {"image", "video", "frames", "camera"} <= unusable(still)
    assert "clip_image" not in unusable(still)


def test_every_word_is_there_in_both_languages():
    for key in text._WORDS:
        assert text.word(key, "en")
        assert text.word(key, "zh")
        assert text.word(key, "en").count("{}") == text.word(key, "zh").count("{}")
    for name in FIELDS:
        assert text.field_label(name.rstrip("_1234"), "zh") != ""


def test_models_of_a_folder_have_names(tmp_path, tiny_model):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny").symlink_to(tiny_model)
    (tmp_path / "models" / "notes").mkdir()
    shelf = Shelf(models=tmp_path / "models")
    assert shelf.models() == [*bundled_names(), "tiny"]
    assert shelf.model("tiny") == str(tmp_path / "models" / "tiny")
    assert shelf.name_of(str(tmp_path / "models" / "tiny")) == "tiny"
    assert shelf.name_of("/etc") is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_examples_fill_prompt_and_first_frame(studio, uploads, language):
    from ea_app.ui.examples import gallery

    assert gallery(language).count("data-example") == 5
    for number in range(5):
        prompt, path = studio.example(number, "default", language)
        assert prompt in gallery(language)
        with Image.open(path) as picture:
            assert picture.size == (64, 64)
        assert uploads.known(path)
        assert studio.submit({"prompt": prompt, "image": path}).options["image"] == path
    for wrong in (5, -1, None, "1", 1.5):
        with pytest.raises(InputError, match="must be a number from 0 to 4"):
            studio.example(wrong, "default", language)


def test_families_of_models_are_told_at_once(shelf, abilities, monkeypatch):
    asked = []

    def ask_all(options):
        asked.append(list(options))
        told = {name: (find("default").info, abilities) for name in options}
        return told | {options[-1]: "it is broken"}

    monkeypatch.setattr("ea_app.ui.models.ask_all", ask_all)
    *fine, broken = shelf.models()
    assert shelf.families() == dict.fromkeys(fine, ("EasyAnimate V5.1", "inpaint"))
    assert shelf.families() == dict.fromkeys(fine, ("EasyAnimate V5.1", "inpaint"))
    assert asked == [[*fine, broken]]
    # What was broken is asked again when somebody wants it.
    assert shelf.describe(broken)[1] == abilities


def test_a_family_narrows_the_models(studio, monkeypatch):
    from ea_app.ui.updates import on_shelf

    families = {
        "default": ("EasyAnimate V5.1", "inpaint"),
        "default-control": ("EasyAnimate V5.1", "control"),
    }
    monkeypatch.setattr(studio.shelf, "families", lambda: families)
    model, family, lora, *_ = on_shelf(studio)("default", None, "en")
    assert (model["choices"], model["value"]) == ([*bundled_names()], "default")
    assert ("V5.1 · control", "EasyAnimate V5.1/control") in family["choices"]
    assert (family["visible"], family["value"]) == (True, "")
    assert ("–", "") in lora["choices"]
    model, family, *_ = on_shelf(studio)("default", "EasyAnimate V5.1/control", "zh")
    assert (model["choices"], model["value"]) == (["default-control"], "default-control")
    assert family["value"] == "EasyAnimate V5.1/control"
    assert ("全部类型", "") in family["choices"]
    assert on_shelf(studio)("default", "V9/none", "en")[1]["value"] == ""


def test_values_of_an_empty_job(shelf, uploads):
    values, missing = values_of("a", {}, shelf, uploads)
    assert set(values) == set(FIELDS)
    assert missing == []
