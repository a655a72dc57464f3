"""Long videos: how they are cut, what windows hand over, and how visible the joints are."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from given import request_of

from ea_dit.pipelines import Cancelled, Control, Echo, Frames, Video, load_pipeline, read_outline
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.seams import SeamMeter
from ea_dit.pipelines.windows import BEFORE, Window, window_request, windows_of
from ea_vae.geometry import LatentGeometry

SIZE = 32
CAUSAL = LatentGeometry()
PER_FRAME = LatentGeometry(time=1)
SLICES = LatentGeometry(rule="slices")
PAIRS = LatentGeometry(rule="pairs")
VIDEO = torch.rand(3, 24, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def make(frames=21, window=9, **changes):
    given = {"prompt": "x", "height": SIZE, "width": SIZE, "num_steps": 2, "num_frames": frames}
    return request_of(given | {"window_frames": window} | changes)


# planning


@pytest.mark.parametrize(
    ("geometry", "frames", "window", "overlap", "expected"),
    [
        (CAUSAL, 9, 9, None, [(0, 9, 0)]),
        (CAUSAL, 8, 17, None, [(0, 8, 0)]),
        (CAUSAL, 13, 9, None, [(0, 9, 0), (4, 9, 5)]),
        (CAUSAL, 14, 9, None, [(0, 9, 0), (4, 9, 5), (8, 9, 5)]),
        (CAUSAL, 30, 17, 9, [(0, 17, 0), (8, 17, 9), (16, 17, 9)]),
        (CAUSAL, 18, 17, 1, [(0, 17, 0), (4, 17, 13)]),
        (PER_FRAME, 20, 8, 3, [(0, 8, 0), (5, 8, 3), (10, 8, 3), (12, 8, 6)]),
        (SLICES, 30, 18, None, [(0, 18, 0), (9, 18, 9), (18, 18, 9)]),
        (PAIRS, 20, 16, None, [(0, 16, 0), (8, 16, 8)]),
    ],
)
def test_windows_cover_the_video(geometry, frames, window, overlap, expected):
    windows = windows_of(make(frames, window, overlap_frames=overlap), geometry)
    assert [(part.start, part.frames, part.overlap) for part in windows] == expected
    for before, after in pairwise(windows):
        assert after.start + after.overlap == before.stop
    assert windows[-1].stop >= frames


@pytest.mark.parametrize("geometry", [CAUSAL, PER_FRAME, SLICES, PAIRS], ids=lambda found: found.rule)
def test_any_length_is_covered_by_few_windows(geometry):
    for window in filter(geometry.is_whole, (18, 16, 17, 49)):
        for frames in range(window + 1, 200, 7):
            windows = windows_of(make(frames, window), geometry)
            assert windows[-1].stop >= frames > windows[-2].stop
            assert all(part.frames == window for part in windows)
            assert all(part.overlap > 0 for part in windows[1:])


@pytest.mark.parametrize(
    ("geometry", "window", "overlap", "message"),
    [
        (
            CAUSAL,
            10,
            None,
            "window_frames must be a length that the autoencoder gives back, got 10; nearest: 9",
        ),
        (
            CAUSAL,
            9,
            4,
            "overlap_frames must be a length at which latents can be cut, got 4; nearest: 1",
        ),
        (SLICES, 18, 5, "overlap_frames must be a length at which latents can be cut, got 5; nearest: "),
        (SLICES, 9, None, "window_frames 9 is too short for windows that overlap"),
        (PAIRS, 9, None, "window_frames 9 is too short for windows that overlap"),
    ],
)
def test_lengths_at_which_nothing_can_be_cut_are_refused(geometry, window, overlap, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        windows_of(make(100, window, overlap_frames=overlap), geometry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_frames": 1}, "window_frames must be a whole number between 2 and 1025, got 1"),
        ({"window_frames": None, "overlap_frames": 5}, "overlap_frames needs window_frames"),
        ({"overlap_frames": 9}, "overlap_frames must be a whole number between 1 and 8, got 9"),
        ({"join": "glue"}, "join must be one of latents, pixels, got 'glue'"),
        ({"num_frames": 36_001}, "num_frames must be a whole number between 1 and 36000"),
        ({"num_frames": 1026, "window_frames": None}, "num_frames must be a whole number between 1 and 1025"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(make(), **change).validate()


# conditions


def test_every_window_gets_its_part_of_what_is_given():
    frames = [
        Frames(pixels=VIDEO[:, :2]),
        Frames(pixels=VIDEO[:, 6], at=6),
        Frames(pixels=VIDEO[:, 12], at=-2),
    ]
    request = make(14, conditions=frames)
    first = window_request(request, Window(0, 9), None)
    assert [(part.at, part.video.shape[1]) for part in first.conditions] == [(0, 2), (6, 1)]
    before = VIDEO[:, 4:9]
    second = window_request(request, Window(4, 9, 5), before)
    assert [(part.at, part.name) for part in second.conditions] == [(8, "frames"), (0, BEFORE)]
    assert second.window_frames is None


def test_signals_are_cut_and_reach_to_the_end_of_the_last_window():
    part = window_request(make(20, conditions=[Control(pixels=VIDEO[:, :20])]), Window(16, 9, 5), None)
    expected = torch.cat((VIDEO[:, 16:20], VIDEO[:, 19:20].expand(-1, 5, -1, -1)), dim=1)
    assert torch.equal(part.conditions[0].pixels, expected)


def test_a_masked_video_keeps_what_was_made_before():
    video = Video(pixels=VIDEO[:, :20], mask=torch.ones(SIZE, SIZE))
    before = torch.zeros(3, 5, SIZE, SIZE)
    part = window_request(make(20, conditions=[video]), Window(4, 9, 5), before).conditions[0]
    assert torch.equal(part.pixels[:, :5], before)
    assert torch.equal(part.pixels[:, 5:], VIDEO[:, 9:13])
    assert part.mask.shape == (9, SIZE, SIZE)
    assert not part.mask[:5].any()
    assert part.mask[5:].all()


# pipelines


FAMILIES = {
    "v1-t2v": (PER_FRAME, 9), "v2-t2v": (SLICES, 18), "v3-inp": (PAIRS, 16), "v4-inp": (None, 16),
    "v5-7b-inp": (CAUSAL, 9), "v5.1-7b-t2v": (CAUSAL, 9), "v5.1-7b-inp": (CAUSAL, 9),
    "v5.1-7b-control": (CAUSAL, 9), "open-sora-1.0": (PER_FRAME, 9), "open-sora-1.1": (PER_FRAME, 9),
}  # fmt: skip


# The rules of their autoencoders and the ways of their conditions are those of others.
REPEATED = {"v5.1-7b-t2v", "v5-7b-inp", "open-sora-1.0"}


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in FAMILIES]
)
def test_every_generation_makes_long_videos(family, pipeline):
    geometry, window = FAMILIES[family]
    run, request = pipeline(family), make(window + 9, window)
    assert geometry is None or run.components.vae.geometry.rule == geometry.rule
    result = run(request)
    assert result.frames.shape == (1, 3, window + 9, SIZE, SIZE)
    assert bool(result.frames.isfinite().all())
    windows = windows_of(request, run.components.vae.geometry)
    assert [seam.frame for seam in result.seams] == [part.start for part in windows[1:]]
    assert torch.equal(run(request).frames, result.frames)
    pixels = run(replace(request, join="pixels"))
    first = windows[1].start
    assert torch.equal(pixels.frames[:, :, :first], result.frames[:, :, :first])
    assert not torch.equal(pixels.latents, result.latents)


@pytest.mark.parametrize("family", ["v5.1-7b-inp", "v5.1-7b-t2v", "open-sora-1.0"])
def test_what_is_made_stays_as_it_is_when_more_is_made(family, pipeline):
    """A longer video begins with the frames and latents of a shorter one, as far as that shares windows."""
    run = pipeline(family)
    short, long = run(make(13, overlap_frames=5)), run(make(21, overlap_frames=5))
    assert torch.equal(long.frames[:, :, :8], short.frames[:, :, :8])
    count = short.latents.shape[2]
    assert torch.equal(long.latents[:, :, :count], short.latents)


def test_latents_of_the_overlap_are_those_of_the_window_before(pipeline):
    run = pipeline("v5.1-7b-inp")
    seen = []
    handle = run.components.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["conditioning"].inpaint_latents), with_kwargs=True
    )
    result = run(make(13, num_steps=1))
    handle.remove()
    assert not seen[0].any()
    # 9 frames are 3 latents; 5 are 2: the frame before alone, and the last 4 frames as they are.
    channels = result.latents.shape[1]
    assert torch.equal(seen[1][0, -channels:, 1], result.latents[0, :, 2])


def test_frames_before_a_window_without_an_input_for_them_stay_on_their_path(pipeline):
    run, inputs = pipeline("v5.1-7b-t2v"), []
    handle = run.components.transformer.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    run(make(13, num_steps=3))
    handle.remove()
    first, second = inputs[:3], inputs[3:]
    assert len(second) == 3
    for before, after in zip(first, second, strict=True):
        assert torch.equal(after[:, :, 1], before[:, :, 2])
        assert not torch.equal(after[:, :, 0], before[:, :, 1])


def test_a_keyframe_in_a_later_window_counts(pipeline):
    run = pipeline("v5.1-7b-inp")
    plain = run(make(13))
    given = run(make(13, conditions=[Frames(pixels=VIDEO[:, 0], at=11)]))
    assert torch.equal(plain.frames[:, :, :4], given.frames[:, :, :4])
    assert not torch.equal(plain.frames[:, :, 9:], given.frames[:, :, 9:])


def test_progress_counts_all_windows_and_chunks_arrive_one_by_one(pipeline):
    run, seen = pipeline("v5.1-7b-t2v"), []
    told = Run(on_progress=lambda *step: seen.append(step))
    chunks = list(run.stream(make(13), run=told))
    # Windows of 9 frames: the first gives 4, the second all of its own, its first 5 faded in one go.
    assert [chunk.frames.shape[2] for chunk in chunks] == [1, 3, 5, 4]
    assert [chunk.latents.shape[2] for chunk in chunks] == [3, 0, 1, 0]
    assert [step for step in seen if step[0] == "denoise"] == [
        ("denoise", 0, 4), ("denoise", 1, 4), ("denoise", 2, 4),
        ("denoise", 2, 4), ("denoise", 3, 4), ("denoise", 4, 4),
    ]  # fmt: skip
    assert [step for step in seen if step[0] == "text"] == [("text", 0, 1), ("text", 1, 1)]
    assert {"text", "conditions", "denoise", "decode", "total"} == set(told.timings)


def test_a_run_can_be_stopped_between_windows(pipeline):
    made = []
    chunks = pipeline("v5.1-7b-t2v").stream(make(21), run=Run(should_stop=lambda: bool(made)))
    with pytest.raises(Cancelled):
        made.extend(chunks)
    assert sum(chunk.frames.shape[2] for chunk in made) == 4


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("v5.1-7b-camera", {"camera": torch.zeros(6, 21, 8, 8)}, "camera cannot be used with window_frames"),
        (
            "v5.1-7b-inp",
            {"conditions": [Frames(pixels=VIDEO[:, :10])]},
            "window_frames must leave frames to make: 0 ... 8 are given",
        ),
        ("v1-image", {"num_frames": 1, "window_frames": None, "overlap_frames": 3}, "overlap_frames needs"),
    ],
)
def test_what_windows_cannot_share_is_refused(family, changes, message, pipeline):
    with pytest.raises(ValueError, match=f"^{message}"):
        pipeline(family)(make(**changes))


def test_weights_that_overflow_are_told_at_once(pipeline, directory):
    run = load_pipeline(directory("v5.1-7b-t2v"), dtype="float32", device="cpu")
    with torch.no_grad():
        next(run.components.transformer.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"^dtype overflows or weights are broken: step 1 of 2 is not"):
        run(make(5, None))


# seams


def test_a_cut_scores_high_and_steady_motion_about_one():
    steady = torch.arange(20.0).view(1, 1, 20, 1, 1).expand(1, 3, 20, 4, 4) / 40
    meter = SeamMeter()
    meter.add(steady[:, :, :8], overlap=0)
    meter.add(steady[:, :, 8:], overlap=3)
    (seam,) = meter.seams()
    assert seam.frame == 8
    assert seam.score == pytest.approx(1, abs=1e-3)
    meter = SeamMeter()
    meter.add(steady[:, :, :8], overlap=0)
    meter.add(1 - steady[:, :, 8:], overlap=3)
    assert meter.seams()[0].score > 10
    assert SeamMeter().seams() == ()


@pytest.mark.parametrize(
    ("echo", "message"),
    [
        (Echo(source=0, at=21), "echo must repeat frames of the clip that are made before"),
        (Echo(source=0, at=14, length=9), "echo must repeat frames of the clip that are made before"),
        (Echo(source=12, at=12), "echo must repeat frames of the clip that are made before"),
        (Echo(source=0, at=8), "echo must repeat frames that windows before made, in one window"),
        (Echo(source=9, at=10), "echo must repeat frames that windows before made, in one window"),
    ],
)
def test_frames_that_cannot_come_again_are_refused(echo, message, pipeline):
    with pytest.raises(ValueError, match=f"^{message}"):
        next(pipeline("v5.1-7b-inp").stream(make(21, conditions=[echo])))


def test_frames_come_again(pipeline):
    run = pipeline("v5.1-7b-inp")
    plain, again = run(make(21)), run(make(21, conditions=[Echo(source=0, at=20)]))
    assert torch.equal(plain.frames[:, :, :8], again.frames[:, :, :8])
    assert not torch.equal(plain.frames[:, :, 13:], again.frames[:, :, 13:])


def test_more_latent_frames_than_a_network_knows_are_refused_before_it_is_loaded(directory):
    outline = read_outline(directory("v1-t2v"))
    outline.check(make(64, None))
    with pytest.raises(ValueError, match=r"^num_frames must be at most 64 for this model, got 65"):
        outline.check(make(65, None))
    with pytest.raises(ValueError, match=r"^window_frames must be at most 64 for this model, got 70"):
        outline.check(make(100, 70))


@pytest.mark.parametrize("mask", [None, torch.ones(SIZE, SIZE)])
def test_a_sampler_that_holds_no_frames_is_refused_for_windows_that_hand_them_over(mask, pipeline):
    run = pipeline("open-sora-1.0")
    given = [] if mask is None else [Video(pixels=VIDEO[:, :12], mask=mask)]
    with pytest.raises(ValueError, match=r"^sampler must be IDDPM or DDIM where frames are kept"):
        run(make(12, 8, sampler="DPM-Solver", conditions=given))
    assert run(make(8, 8, sampler="DPM-Solver", conditions=[])).frames.shape[2] == 8


def test_a_text_that_comes_again_is_encoded_once(pipeline, monkeypatch):
    run, asked = pipeline("v5.1-7b-t2v"), []
    encode = run.components.text_encoder.encode
    monkeypatch.setattr(
        type(run.components.text_encoder), "encode", lambda _, texts: asked.append(texts) or encode(texts)
    )
    run(make(21, window_prompts=("a", "b", "a", "b"), guidance_scale=1.0))
    assert asked == [["a"], ["b"]]
