"""Buckets, token budgets, frames and sizes of EasyAnimate's training against recorded ones."""

import numpy as np
import pytest
from discovery import goldens, record, unknown

from ea_data.geometry.aspect import ASPECTS, CROP_WEIGHTS
from ea_data.geometry.crop import cover_size, shrink_size
from ea_data.geometry.tokens import FrameGrid, batch_repeat, frame_table
from ea_data.sampling import clip_span, frame_count_choice, resolution_choice

pytestmark = pytest.mark.parity

HERE = {"aspect_buckets", "batch_repeat", "closest_ratio", "downsample_ratio", "frame_selection"}
HERE |= {"random_frame_crop", "resize_frame", "token_length"}
ELSEWHERE = {
    "bucket_sampler": "test_batches.py",
    "camera": "test_camera.py",
    "collate": "test_batches.py",
    "discrete_sampling": "test_training_noise.py",
    "flow_sampling": "test_training_noise.py",
    "masks": "test_masks.py",
    "preprocessing": "test_curation.py",
    "ref_noise": "test_masks.py",
    "resize_mask": "test_masks.py",
}
NOT_YET: dict[str, str] = {}


def entries(name, key="cases"):
    return record("data", f"{name}.json").get(key, [])


def numbered(name, key="cases"):
    return [pytest.param(entry, id=str(number)) for number, entry in enumerate(entries(name, key))]


def test_every_record_is_known():
    found = {path.stem for path in (goldens() / "data").glob("*.json")}
    assert found >= HERE, f"records are missing below {goldens()}"
    assert unknown(found, supported=HERE | set(ELSEWHERE), not_yet=NOT_YET) == []


def test_aspect_buckets():
    expected = record("data", "aspect_buckets.json")
    assert ASPECTS.base == expected["base"]
    assert [entry["ratio"] for entry in expected["buckets"]] == list(ASPECTS.names)
    assert [tuple(entry["size"]) for entry in expected["buckets"]] == list(ASPECTS.sizes)


def test_sizes_that_are_used():
    expected = record("data", "aspect_buckets.json")["used_sizes_by_base"]
    assert expected
    for base, sizes in expected.items():
        used = [list(ASPECTS.size(index, int(base))) for index in range(len(ASPECTS))]
        assert dict(zip(ASPECTS.names, used, strict=True)) == sizes


def test_aspects_of_random_crops():
    expected = record("data", "aspect_buckets.json")
    crops = expected["random_crop_buckets"]
    assert (
        dict(zip((e["ratio"] for e in crops), expected["random_crop_weights"], strict=True)) == CROP_WEIGHTS
    )
    assert all(tuple(e["size"]) == ASPECTS.sizes[ASPECTS.names.index(e["ratio"])] for e in crops)
    shares = [weight / sum(CROP_WEIGHTS.values()) for weight in CROP_WEIGHTS.values()]
    assert shares == pytest.approx(expected["random_crop_probabilities"], rel=1e-6)


@pytest.mark.parametrize("case", numbered("closest_ratio"))
def test_nearest_bucket(case):
    height, width = case["height"], case["width"]
    index = int(ASPECTS.nearest(height, width))
    assert (ASPECTS.names[index], float(ASPECTS.ratios[index])) == (case["bucket"], case["ratio"])
    side = case["base"] / case["downsample"]
    scaled = [pixels / ASPECTS.base * side for pixels in ASPECTS.sizes[index]]
    assert scaled == pytest.approx(case["bucket_size"], rel=1e-6)
    crop = ASPECTS.size(index, side)
    assert list(crop) == case["crop_size"]
    assert list(cover_size(height, width, *crop)) == case["resize_size"]


@pytest.mark.parametrize("case", numbered("resize_frame"))
def test_pictures_are_only_made_smaller(case):
    assert list(shrink_size(case["height"], case["width"], case["short_side"])) == case["result"]


@pytest.mark.parametrize(("rule", "key"), [("original", "table"), ("documented", "documented_style_table")])
@pytest.mark.parametrize("case", numbered("token_length", "sets"))
def test_frames_of_a_token_budget(case, rule, key):
    args = case["args"]
    num_frames, token_size = args["video_sample_n_frames"], args["token_sample_size"]
    table = frame_table(
        video_size=args["video_sample_size"],
        image_size=args["image_sample_size"],
        token_size=token_size,
        num_frames=num_frames,
        grid=FrameGrid(case["temporal_interval"], case["causal_plus_one"]),
        rule=rule,
    )
    assert {str(side): frames for side, frames in table.items()} == case[key]
    assert num_frames * token_size**2 == case["target_token_length"]


def test_the_documented_numbers_are_the_default():
    # The original program gives 13 frames at 1024, more than its budget allows.
    example = record("data", "token_length.json")["readme_examples"]
    table = frame_table(
        video_size=256,
        image_size=1024,
        token_size=example["token_sample_size"],
        num_frames=example["n_frames"],
    )
    documented = example["documented"]
    assert {str(side): table[side] for side in table if str(side) in documented} == documented


@pytest.mark.parametrize("case", numbered("batch_repeat"))
def test_repetition_of_small_batches(case):
    size = case["frames"], case["height"], case["width"]
    budget = {"token_size": case["token_sample_size"], "num_frames": case["n_frames"]}
    assert batch_repeat(*size, **budget) == case["repeat"]


@pytest.mark.parametrize("case", numbered("random_frame_crop"))
def test_random_numbers_of_frames(case):
    choice = frame_count_choice(case["n_frames"], FrameGrid(case["interval"], case["causal_plus_one"]))
    assert list(choice.values) == case["choices"]
    assert choice.probabilities == pytest.approx(case["probabilities"], rel=1e-6)


@pytest.mark.parametrize("case", numbered("downsample_ratio", "rows"))
def test_random_resolutions(case):
    choice = resolution_choice(case["sample_size"], *case["extra"])
    assert list(choice.values) == case["choices"]
    assert choice.probabilities == pytest.approx(case["probabilities"], rel=1e-6)
    # The recorded draws are of numpy's older generator, whose `choice` has the same arguments.
    (expected,) = (values for key, values in case.items() if key.startswith("draw_with_numpy_RandomState"))
    assert [choice.draw(np.random.RandomState(seed)) for seed in range(len(expected))] == expected


@pytest.mark.parametrize("case", numbered("frame_selection"))
def test_frames_of_a_clip(case):
    arguments = {"stride": case["stride"], "skip_start": case["drop_start"], "keep_until": case["drop_end"]}
    if case["error"]:
        with pytest.raises(ValueError, match="no frame is left"):
            clip_span(case["total_frames"], case["n_frames"], **arguments)
        return
    span = clip_span(case["total_frames"], case["n_frames"], **arguments)
    assert [span.first_start, span.last_start] == (case["start_range_inclusive"] or [0, 0])
    start = {"low": span.first_start, "high": span.last_start}[case["picked"]]
    assert span.frames(start).tolist() == case["frame_indices"]
