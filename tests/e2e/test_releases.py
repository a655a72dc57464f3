"""`ea-app generate --model DIR` runs every release in every mode: words or media in, a file of frames out."""

from __future__ import annotations

import json

import pytest

from ea_app.api.record import read_record
from ea_data.media import read_frames
from ea_dit.pipelines.tiny import TINY, make_tiny

FRAMES, SIZE = 5, (32, 64)
GIVEN = ["--size", "64x32", "--steps", "1", "--seed", "3", "--quiet"]

WORDS = {"words": [], "picture": ["--frames", "1"]}
REDO = {"strength": ["--video", "{media}/clip.mp4", "--strength", "0.5", "--steps", "2"]}
ENDS = {
    "first frame": ["--image", "{media}/wide.png"],
    "both ends": ["--image", "{media}/wide.png", "--last-image", "{media}/square.png"],
    "keyframe": ["--keyframe", "2:{media}/wide.png"],
}
INPAINT = {**WORDS, **REDO, **ENDS, "mask": ["--video", "{media}/clip.mp4", "--mask", "{media}/mask.png"]}
FOLLOW = ["--control", "{media}/clip.mp4"]
CONTROL = {**WORDS, "control": FOLLOW}
REFERENCE = {
    **CONTROL,
    "reference": [*FOLLOW, "--reference", "{media}/square.png"],
    "trajectory": ["--trajectory", "{media}/points.json"],
}
CAMERA = {
    "camera": ["--camera", "pan left + zoom in"],
    "camera, reference": ["--camera", "zoom out", "--reference", "{media}/square.png"],
}
OPEN_SORA = {**WORDS, **REDO, **ENDS, "mask": ["--video", "{media}/clip.mp4", "--mask", "{media}/halves.mp4"]}

# Two steps: in a single one, the last, what CLIP sees of weights at random is lost in rounding.
CLIP = {"clip": [*ENDS["first frame"], "--clip-image", "{media}/square.png", "--steps", "2"]}

SIZES_51, SIZES = ("v5.1-7b", "v5.1-12b"), ("v5-7b", "v5-12b", "v5.1-7b", "v5.1-12b")
ROWS = {
    "v1-t2v": {**WORDS, **REDO, "own base": ["--transformer-weights", "{base}"]},
    "v1-image": {"picture": WORDS["picture"]},
    "v2-t2v": {**WORDS, **REDO},
    "v3-inp": INPAINT | CLIP,
    "v4-inp": INPAINT | CLIP,
    "v4-t2v": WORDS,
    **{f"{size}-t2v": WORDS for size in SIZES},
    **{f"{size}-inp": INPAINT for size in SIZES},
    **{f"{size}-control": CONTROL for size in SIZES},
    **{f"{size}-control": REFERENCE for size in SIZES_51},
    **{f"{size}-camera": CAMERA for size in SIZES_51},
    "open-sora-1.0": OPEN_SORA,
    "open-sora-1.1": OPEN_SORA,
}


@pytest.fixture(scope="module")
def given_files(media, tmp_path_factory):
    """More input files beside the shared ones: a trajectory, and a mask that keeps whole frames."""
    import numpy as np

    from ea_data.media import write_video

    (media / "points.json").write_text(json.dumps([[{"x": 8, "y": 16}, {"x": 40, "y": 16}]]))
    halves = np.zeros((9, 32, 32, 3), dtype=np.uint8)
    halves[2:] = 255
    write_video(media / "halves.mp4", halves, fps=12)
    return media


def test_every_release_is_a_row():
    assert set(ROWS) == set(TINY)


# The networks of V5 are those of V5.1, which has more modes, and those of 12B have the modes of 7B:
# one of every mode and of either size, the others behind `-m slow`.
SLOW = {"v5-7b-control", "v5-12b-control", "v5-7b-t2v", "v5-12b-inp", "v1-image"}
SLOW |= {"v4-t2v", "v5-12b-t2v", "v5.1-12b-t2v", "v5.1-12b-inp", "v5.1-12b-camera"}
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ROWS]


@pytest.mark.parametrize("family", ALL)
def test_a_released_directory_runs_in_every_mode(family, command, given_files, tmp_path):
    model = make_tiny(family, tmp_path / "model")
    base = tmp_path / "base.safetensors"
    if "own base" in ROWS[family]:
        _write_base(model, base)
    seen = {}
    for mode, options in ROWS[family].items():
        filled = [option.format(media=given_files, base=base) for option in options]
        frames = [] if "--frames" in options else ["--frames", FRAMES]
        output = tmp_path / f"{mode}{'.png' if mode == 'picture' else '.webp'}"
        code, _, err = command(
            "generate", "a fox", *GIVEN, *frames, *filled, "--model", model, "--output", output
        )
        assert (code, err) == (0, ""), mode
        assert read_frames(output).shape == (1 if mode == "picture" else FRAMES, *SIZE, 3), mode
        seen[mode] = read_record(output)["frames"]["xxh3"]
    assert len(set(seen.values())) == len(seen), seen


def _write_base(model, output):
    from safetensors.torch import load_file, save_file

    weights = next((model / "transformer").glob("*.safetensors"))
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, output)
