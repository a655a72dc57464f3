"""Sizes, buckets, batches and frames of Open-Sora's training against recorded ones."""

import random

import numpy as np
import pytest
from discovery import goldens, record, unknown

from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.geometry.crop import centre_offset, cover_size
from ea_data.geometry.resolutions import RESOLUTIONS
from ea_data.sampling import evenly_spaced, latest_start
from ea_data.training.released_order import open_sora_batches, open_sora_buckets

pytestmark = pytest.mark.parity

KNOWN = {"bucket": {"aspect_ratios", "bucket_assignment", "batch_sampler"}, "data": {"frame_and_crop"}}
SAMPLER_KEYS = {"source", "config", "frame_interval", "samples_columns", "samples", "index_string"}
SAMPLER_KEYS |= {"underfull_buckets", "sampler_runs", "resume_runs", "count_then_resume_pitfall"}
COLUMNS = ["row_id", "num_frames", "height", "width", "fps_unused_by_assignment"]


def bucket(name):
    return record("opensora", "bucket", f"{name}.json")


def clips(key):
    return record("opensora", "data", "frame_and_crop.json").get(key, {}).get("cases", [])


@pytest.mark.parametrize("folder", sorted(KNOWN))
def test_every_record_is_known(folder):
    found = {path.stem for path in (goldens() / "opensora" / folder).iterdir()}
    assert found == KNOWN[folder]
    assert unknown(bucket("batch_sampler"), supported=SAMPLER_KEYS, not_yet={}) == []


def test_sizes():
    recorded = bucket("aspect_ratios")["resolutions"]
    assert set(RESOLUTIONS) == set(recorded)
    for name, expected in recorded.items():
        ours = RESOLUTIONS[name]
        assert ours.pixels == expected["nominal_pixels"]
        sizes = {key: list(size) for key, size in zip(ours.aspects.names, ours.aspects.sizes, strict=True)}
        assert list(sizes.items()) == list(expected["height_width_by_ratio_key"].items())


def columns(recorded):
    """Frames, heights and widths of the samples; rows are numbered as they come."""
    assert recorded["samples_columns"] == COLUMNS
    samples = np.array(recorded["samples"])
    assert samples[:, 0].tolist() == list(range(len(samples)))
    return samples[:, 1:4].T.tolist()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['config']}-{case['frame_interval']}-{case['seed']}-{case['epoch']}")
        for case in bucket("bucket_assignment").get("assignments", [])
    ],
)
def test_buckets_of_clips(case):
    recorded = bucket("bucket_assignment")
    buckets = ResolutionBuckets(recorded["configs"][case["config"]], frame_interval=case["frame_interval"])
    assert len(buckets) == case["num_bucket"]
    order = [[slot.resolution, slot.num_frames, place] for place, slot in enumerate(buckets.slots)]
    assert order == case["bucket_index_order"]
    assigned = open_sora_buckets(buckets, *columns(recorded), seed=case["seed"], epoch=case["epoch"])
    assert [None if index < 0 else list(buckets[index]) for index in assigned] == case["assigned"]
    assert sum(index < 0 for index in assigned) == case["n_unassigned"]


def test_released_draws():
    for seed, expected in bucket("bucket_assignment")["numpy_draw_check"].items():
        assert np.random.default_rng(int(seed)).random() == pytest.approx(expected, rel=1e-9)


# --------------------------------------------------------------------------------------------------- batches


def batches(*, seed, epoch, shuffle=True, drop_last=True):
    """Our batches of the recorded samples, as the original writes them: row-frames-height-width."""
    recorded = bucket("batch_sampler")
    buckets = ResolutionBuckets(recorded["config"], frame_interval=recorded["frame_interval"])
    assigned = open_sora_buckets(buckets, *columns(recorded), seed=seed, epoch=epoch)
    sizes = buckets.batch_sizes.tolist()
    ordered = open_sora_batches(assigned, sizes, seed=seed, epoch=epoch, shuffle=shuffle, drop_last=drop_last)

    def written(row):
        height, width = buckets.size(assigned[row])
        return f"{row}-{buckets[assigned[row]].num_frames}-{height}-{width}"

    return [[written(row) for row in batch] for batch in ordered]


def in_turn(batches_per_rank):
    """One list of the batches of all ranks."""
    return [batch for step in zip(*batches_per_rank, strict=True) for batch in step]


RUNS = bucket("batch_sampler").get("sampler_runs", [])


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(
            run, id="-".join(str(run[key]) for key in ("shuffle", "drop_last", "num_replicas", "epoch"))
        )
        for run in RUNS
    ],
)
def test_batches(run):
    ours = batches(seed=run["seed"], epoch=run["epoch"], shuffle=run["shuffle"], drop_last=run["drop_last"])
    theirs, ranks = in_turn(run["batches_per_rank"]), run["num_replicas"]
    if run["drop_last"]:
        assert ours[: len(ours) // ranks * ranks] == theirs
    else:
        assert ours == theirs[: len(ours)]


def test_no_batch_is_empty():
    # Where the ranks do not divide the batches, the original repeats buckets that have no rows left.
    for run in RUNS:
        ours = batches(
            seed=run["seed"], epoch=run["epoch"], shuffle=run["shuffle"], drop_last=run["drop_last"]
        )
        theirs = in_turn(run["batches_per_rank"])
        assert all(ours)
        assert all(batch == [] for batch in theirs[len(ours) :])


@pytest.mark.parametrize("run", bucket("batch_sampler").get("resume_runs", []))
def test_continued_batches(run):
    state, ranks = run["state"], run["resumed_with_replicas"]
    theirs = in_turn(run["batches_per_rank"])
    first = state["last_micro_batch_access_index"] // ranks * ranks
    ours = batches(seed=state["seed"], epoch=state["epoch"])[first:]
    assert ours[: len(ours) // ranks * ranks] == theirs
    assert state["last_micro_batch_access_index"] == run["steps_done"] * run["saved_with_replicas"]


def test_a_continued_epoch_has_its_own_batches():
    # The original keeps the buckets of epoch 0 when batches were counted before the state is read.
    pitfall = bucket("batch_sampler")["count_then_resume_pitfall"]
    assert pitfall["grouping_used_after_load_is_from_epoch_0"]
    ours = [batches(seed=seed, epoch=1) for seed in {run["seed"] for run in RUNS}]
    assert pitfall["batches_without_cache"] in ours
    assert pitfall["batches_with_cached_grouping"] not in ours


def test_buckets_with_less_than_a_batch():
    recorded = bucket("batch_sampler")["underfull_buckets"]
    names = ["1.00", "0.56"]  # row 0 is 192x192, rows 1 and 2 are 144x256; batches of 3
    buckets = ResolutionBuckets({"144p": {1: (1.0, 3)}})
    assigned = buckets.assign([1, 1, 1], [192, 144, 144], [192, 256, 256], lambda rows: rows * 0.0)
    assert [buckets[index].aspect for index in assigned] == [names[0], names[1], names[1]]
    for drop_last in (True, False):
        ours = open_sora_batches(
            assigned.tolist(),
            buckets.batch_sizes.tolist(),
            seed=0,
            epoch=0,
            shuffle=False,
            drop_last=drop_last,
        )
        theirs = [[int(item.split("-")[0]) for item in batch] for batch in recorded[f"drop_last_{drop_last}"]]
        assert ours == theirs


# ----------------------------------------------------------------------------------------------------- clips


@pytest.mark.parametrize("case", clips("temporal_crop"))
def test_frames_of_a_clip(case):
    numbers = case["total_frames"], case["num_frames"], case["frame_interval"]
    if "error" in case:
        with pytest.raises(ValueError, match="a video with at least num_frames"):
            evenly_spaced(*numbers, 0)
        return
    start = random.Random(case["python_random_seed"]).randint(0, latest_start(*numbers))
    assert evenly_spaced(*numbers, start).tolist() == case["indices"]


@pytest.mark.parametrize("case", clips("resize_then_centre_crop"))
@pytest.mark.parametrize(("kind", "rounding"), [("video", "down"), ("image", "nearest")])
def test_scaling_and_cropping(case, kind, rounding):
    size = cover_size(*case["source_hw"], *case["target_hw"], rounding="nearest")
    assert list(size) == case[f"{kind}_resized_hw"]
    corner = [centre_offset(a, b, rounding=rounding) for a, b in zip(size, case["target_hw"], strict=True)]
    assert corner == case[f"{kind}_crop_top_left"]
