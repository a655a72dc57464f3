"""The option table: parsing, ranges, and what goes together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ea_app.options import MAX_SEED, OPTIONS, InputError, Limits, complete, concerning, option, parse

LIMITS = Limits(
    width=64, height=48, frames=17, steps=25, guidance=5.0, fps=8,
    min_side=32, max_side=256, max_frames=33, max_prompt_bytes=40,
)  # fmt: skip


def test_names_are_unique_and_every_option_is_explained():
    assert len({option.key for option in OPTIONS}) == len(OPTIONS)
    assert all(option.help and option.describe() for option in OPTIONS)


def test_values_are_parsed():
    given = {"prompt": "x", "seed": "7", "guidance": "2.5", "frames": 9, "size": "64X48", "mask": None}
    assert parse(given) == {"prompt": "x", "seed": 7, "guidance": 2.5, "frames": 9, "size": (64, 48)}


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), ("64x32", (64, 32)), ("64×32", (64, 32)), ((16, 32), (16, 32)), (48, (48, 48))],
)
def test_sizes(text, size):
    assert parse({"size": text})["size"] == size


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "-1"), ("seed", str(MAX_SEED + 1)), ("seed", "1.0"), ("seed", 1.0), ("seed", "x"),
        ("seed", ""), ("seed", True), ("frames", "0"), ("steps", "1001"), ("guidance", "nan"),
        ("guidance", "inf"),
        ("guidance", "-0.1"), ("strength", "0"), ("strength", "1.01"), ("fps", "0"), ("fps", "121"),
        ("timesteps", ""), ("timesteps", "x"), ("timesteps", "3,999"), ("timesteps", "999,999"),
        ("timesteps", "5,-1"), ("timesteps", "inf,3"), ("timesteps", "nan"), ("timesteps", [999, True]),
        ("timesteps", 999), ("timesteps", []), ("timesteps", list(range(1001, 0, -1))),
        ("timesteps", ["9" * 400]), ("size", "64x"), ("size", "1x2x3"), ("size", "x"),
        ("dtype", "int8"), ("image", ""),
    ],
)  # fmt: skip
def test_wrong_values_name_their_option_and_what_is_allowed(key, value):
    with pytest.raises(InputError, match=f"^{key}: must be ") as caught:
        parse({key: value})
    assert caught.value.field == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["999, 500.5,0", [999, 500.5, 0], ("999", "500.5", 0.0)])
def test_timesteps(given):
    values = parse({"timesteps": given})
    assert values == {"timesteps": (999, 500.5, 0)}
    assert [type(value) for value in values["timesteps"]] == [int, float, int]
    assert complete({"prompt": "x", **values}, LIMITS)["steps"] == 3


def test_unknown_keys_are_refused():
    with pytest.raises(InputError, match=r"^stepz: unknown option; known: .*steps"):
        parse({"stepz": 3})


def test_defaults_come_from_the_model():
    values = complete({"prompt": "x"}, LIMITS)
    assert values["size"] == (64, 48)
    assert (values["frames"], values["steps"], values["guidance"], values["fps"]) == (17, 25, 5.0, 8)
    assert "seed" not in values


@pytest.mark.parametrize("key", ["video", "control"])
def test_a_video_decides_length_and_rate(key):
    values = complete({"prompt": "x", key: "v.mp4"}, LIMITS)
    assert "frames" not in values
    assert "fps" not in values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "prompt: must not be empty"),
        ({"prompt": " \n"}, "prompt: must not be empty"),
        ({"prompt": 3}, "prompt: must be text"),
        ({"prompt": "红" * 14}, "prompt: is too long: 42 bytes of UTF-8, this model reads at most 40"),
        ({"prompt": "a\0b"}, "prompt: must not contain NUL"),
        ({"prompt": "\ud800"}, "prompt: must be valid Unicode"),
        ({"negative": "n" * 41}, "negative: is too long"),
        ({"size": (100, 64)}, "size: .* multiples of 16 from 32 to 256 for this model, got 100x64"),
        ({"size": (100, 64)}, "size: .*; nearest: 96x64 or 112x64$"),
        ({"size": (16, 64)}, "size: .* from 32 .*; nearest: 32x64$"),
        ({"size": (64, 272)}, "size: .* to 256 .*; nearest: 64x256$"),
        ({"size": (7, 250)}, "size: .*, got 7x250; nearest: 32x240 or 32x256$"),
        ({"window": 34}, "window: must be from 2 to 33 for this model, got 34"),
        ({"overlap": 5}, "overlap: needs --window"),
        ({"window": 9, "overlap": 9}, "overlap: must be below the 9 frames of a window, got 9"),
        ({"timesteps": (9, 3), "steps": 2}, "timesteps: cannot be combined with --steps"),
        ({"mask": "m.png"}, "mask: needs --video"),
        ({"strength": 0.5}, "strength: needs --video"),
        ({"video": "v.mp4", "image": "i.png"}, "image: cannot be combined with --video"),
        ({"video": "v.mp4", "control": "c.mp4"}, "control: cannot be combined with --video"),
        ({"image": "i.png", "reference": "r.png"}, "reference: cannot be combined with --image"),
        ({"control": "c.mp4", "strength": 0.5}, "strength: needs --video"),
        ({"video": "v.mp4", "last_image": "i.png"}, "last-image: cannot be combined"),
        ({"video": "v.mp4", "strength": 1}, "strength: must be below 1"),
        ({"image": "i.png", "frames": 1}, "frames: must be at least 2 with --image, got 1"),
        ({"image": "i.png", "last_image": "j.png", "frames": 2}, "frames: must be at least 3"),
    ],
)
def test_what_a_model_does_not_allow(values, message):
    values = values if "prompt" in values or not values else {"prompt": "x", **values}
    with pytest.raises(InputError, match=f"^{message}"):
        complete(values, LIMITS)


def test_errors_get_the_field_they_concern():
    with pytest.raises(InputError, match=r"^device: must be cpu$"), concerning("device"):
        raise ValueError("device must be\n cpu")
    with pytest.raises(InputError, match=r"^height: must be 16$"), concerning(None):
        raise ValueError("height must be 16")
    with pytest.raises(InputError, match=r"^seed: x$"), concerning("device"):
        raise InputError("seed", "x")


def test_memory_modes_are_those_of_the_placement():
    from typing import get_args

    from ea_kernels.runtime.placement import MemoryMode

    assert option("memory").choices == ("auto", *get_args(MemoryMode))


def test_more_frames_than_a_model_makes_at_once_are_made_in_windows():
    filled = complete(parse({"prompt": "x", "frames": 34}), LIMITS)
    assert filled["window"] == 33
    assert "window" not in complete(parse({"prompt": "x", "frames": 33}), LIMITS)
    with pytest.raises(InputError, match="frames: must be 1: this model makes pictures, got 2"):
        complete(parse({"prompt": "x", "frames": 2}), replace(LIMITS, max_frames=1))
