"""Frames reach the video as they are decoded, and are those of decoding a window in one go."""

import time

import pytest
import torch
from given import request_of

from ea_dit.pipelines import Echo, stages
from ea_dit.pipelines.decoding import decode_windows
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.seams import SeamMeter
from ea_dit.pipelines.window_frames import WindowFrames, cross_faded
from ea_dit.pipelines.windows import Window
from ea_vae import latents_to_frames

CLIP = torch.rand(1, 3, 9, 4, 6, generator=torch.Generator().manual_seed(0))
BEFORE = torch.rand(1, 3, 5, 4, 6, generator=torch.Generator().manual_seed(1))
PORTIONS = [(9,), (1, 8), (1, 4, 4), (4, 1, 4), (1,) * 9, (6, 3)]


def make(frames, **changes):
    given = {"prompt": "x", "height": 32, "width": 32, "num_steps": 1, "num_frames": frames}
    return request_of(given | changes)


def in_one_go(*given, **kept):
    return iter([latents_to_frames(*given, **kept)])


@pytest.mark.parametrize("portions", PORTIONS)
@pytest.mark.parametrize("after", [None, Window(8, 9, 5), Window(12, 9, 1)])
@pytest.mark.parametrize("before", [None, BEFORE])
@pytest.mark.parametrize("num_frames", [6, 12, 40])
def test_portions_do_not_matter(portions, after, before, num_frames):
    window = Window(4, 9, 0 if before is None else 5)
    frames = WindowFrames(window, after, before, num_frames)
    done = torch.cat(list(frames.finished(CLIP.split(portions, dim=2))), dim=2)
    overlap = 0 if after is None else after.overlap
    whole = CLIP if before is None else cross_faded(before, CLIP)
    assert torch.equal(done, whole[:, :, : min(9 - overlap, num_frames - 4)])
    if after is not None:
        assert torch.equal(frames.handed, CLIP[:, :, -overlap:])


def test_frames_come_out_as_soon_as_they_are_known():
    taken = []

    def decoded():
        for frame in CLIP.split(1, dim=2):
            taken.append(frame)
            yield frame

    frames = WindowFrames(Window(0, 9), Window(6, 9, 3), None, 15)
    assert [len(taken) for _ in frames.finished(decoded())] == [1, 2, 3, 4, 5, 6]
    taken.clear()
    frames = WindowFrames(Window(4, 9, 5), None, BEFORE, 13)
    assert [len(taken) for _ in frames.finished(decoded())] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("portions", PORTIONS)
def test_joints_are_scored_alike_in_any_portions(portions):
    whole, cut = SeamMeter(), SeamMeter()
    for window in (CLIP, CLIP.flip(2)):
        whole.add(window, overlap=3)
        for index, part in enumerate(window.split(portions, dim=2)):
            cut.add(part, overlap=None if index else 3)
    assert cut.seams() == whole.seams()
    assert len(cut.seams()) == 1


@pytest.mark.parametrize("join", [None, "pixels", "latents"])
@pytest.mark.parametrize(
    ("family", "window"), [("v5.1-7b-inp", 9), ("v4-inp", 16), ("v2-t2v", 18), ("v1-t2v", 8)]
)
def test_decoding_in_slices_changes_no_bit(family, window, join, pipeline, monkeypatch):
    """Of frames, latents and joints, whatever windows hand over."""
    run = pipeline(family)
    windows = {} if join is None else {"window_frames": window, "join": join}
    request = make(27 if windows else window, **windows)
    sliced = run(request)
    monkeypatch.setattr(stages, "stream_frames", in_one_go)
    whole = run(request)
    assert torch.equal(sliced.frames, whole.frames)
    assert torch.equal(sliced.latents, whole.latents)
    assert sliced.seams == whole.seams
    assert bool(sliced.seams) == bool(windows)


def test_the_time_of_who_takes_frames_is_not_that_of_decoding():
    seen = []
    run = Run(on_progress=lambda *step: seen.append(step))
    for _ in run.stage_in_parts("decode", iter(CLIP.split(1, dim=2))):
        time.sleep(0.02)
    assert run.timings["decode"] < 0.1
    assert seen == [("decode", 0, 1), ("decode", 1, 1)]


def test_who_takes_frames_has_gradients_as_before(pipeline):
    made = pipeline("v5.1-7b-t2v")
    latents = torch.zeros(1, 16, 4, 4, 4)
    for stream in (
        (chunk.frames for chunk in made.stream(make(13))),
        decode_windows(made.components.vae, make(13), [latents]),
    ):
        found = [(frames.requires_grad, torch.is_grad_enabled()) for frames in stream]
        assert found == [(False, True)] * len(found)
        assert len(found) > 1


def test_frames_that_come_again_are_those_of_all_slices(pipeline, monkeypatch):
    run = pipeline("v5.1-7b-inp")
    request = make(21, window_frames=9, conditions=[Echo(source=0, at=20)])
    sliced = run(request).frames
    monkeypatch.setattr(stages, "stream_frames", in_one_go)
    assert torch.equal(sliced, run(request).frames)
