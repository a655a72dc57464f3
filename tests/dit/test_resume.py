"""A run that was stopped goes on where it was, and ends with the same frames."""

from dataclasses import replace

import pytest
import torch
from given import request_of

from ea_dit.diffusion import sampler_names
from ea_dit.diffusion.loop import Estimates, LoopState
from ea_dit.pipelines import Cancelled, Echo
from ea_dit.pipelines.checks import requested_sampler
from ea_dit.pipelines.decoding import decode_windows, load_decoder
from ea_dit.pipelines.run import Run

SIZE = 32
VIDEO = torch.rand(3, 24, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
# One of every process: V5's is that of V2.
FAMILIES = ("v5.1-7b-t2v", "v2-t2v", pytest.param("v5-7b-inp", marks=pytest.mark.slow), "open-sora-1.1")


def make(frames=5, steps=4, **changes):
    given = {"prompt": "x", "height": SIZE, "width": SIZE, "num_steps": steps, "num_frames": frames}
    return request_of(given | changes)


def run_of(pipeline, request, states=(), **hooks):
    """Frames and all states of a run."""
    seen = []
    run = Run(resume=states, on_state=seen.append, **hooks)
    frames = torch.cat([chunk.frames for chunk in pipeline.stream(request, run=run)], dim=2)
    return frames, seen, run


def ends(states, count):
    """What is left of a run that was killed after so many states: the newest of every window."""
    return tuple({state.window: state for state in states[:count]}.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_sampler_goes_on_from_every_step(family, pipeline):
    run = pipeline(family)
    names = sampler_names(run.components.process)
    assert names
    for name in names:
        request = make(steps=4 if name == "PNDM" else 3, sampler=name)
        frames, states, _ = run_of(run, request)
        total = states[-1].total
        assert [state.loop.done for state in states] == [*range(1, total + 1), total]
        assert [state.finished for state in states] == [False] * total + [True]
        for count in range(1, len(states) + 1):
            again, after, _ = run_of(run, request, ends(states, count))
            assert torch.equal(again, frames), f"{name} from state {count}"
            assert len(after) == len(states) - count


@pytest.mark.parametrize(
    "family", [pytest.param("v5.1-7b-t2v", marks=pytest.mark.slow), "v5.1-7b-inp", "open-sora-1.1"]
)
def test_every_window_goes_on_from_every_step(family, pipeline):
    run = pipeline(family)
    request = make(13, 2, window_frames=9)
    frames, states, whole = run_of(run, request)
    assert {state.windows for state in states} == {states[-1].window + 1}
    for count in range(1, len(states) + 1):
        again, _, resumed = run_of(run, request, ends(states, count))
        assert torch.equal(again, frames)
        assert resumed.meter.seams() == whole.meter.seams()


def test_frames_that_come_again_are_there_after_a_pause(pipeline):
    run = pipeline("open-sora-1.1")
    echo = Echo(source=2, at=12, length=2, edit_ratio=0.4, name="mask-strategy")
    request = make(16, 3, window_frames=9, overlap_frames=4, conditions=[echo])
    frames, states, _ = run_of(run, request)
    for count in (1, 4, 6, len(states)):
        assert torch.equal(run_of(run, request, ends(states, count))[0], frames)


def test_given_pictures_and_videos_are_encoded_again(pipeline):
    run = pipeline("v5-7b-inp")
    for given in ({"image": VIDEO[:, 0]}, {"video": VIDEO[:, :5], "strength": 0.6}):
        request = make(**given)
        frames, states, _ = run_of(run, request)
        assert torch.equal(run_of(run, request, ends(states, 2))[0], frames)


def test_progress_starts_where_the_run_was(pipeline):
    request, told = make(), []
    _, states, _ = run_of(pipeline("v5.1-7b-t2v"), request)
    run_of(pipeline("v5.1-7b-t2v"), request, ends(states, 3), on_progress=lambda *step: told.append(step))
    assert [step for stage, step, _ in told if stage == "denoise"] == [0, 3, 4]
    told.clear()
    run_of(pipeline("v5.1-7b-t2v"), request, states[-1:], on_progress=lambda *step: told.append(step))
    assert [stage for stage, _, _ in told] == ["denoise", "decode", "decode"]


def test_a_cancelled_run_goes_on(pipeline):
    run, request, seen = pipeline("v5.1-7b-t2v"), make(sampler="Flow_Unipc"), []
    frames, _, _ = run_of(run, request)
    stopped = Run(on_state=seen.append, should_stop=lambda: len(seen) >= 2)
    with pytest.raises(Cancelled):
        list(run.stream(request, run=stopped))
    assert torch.equal(run_of(run, request, seen[-1:])[0], frames)


def test_states_that_do_not_fit_are_refused(pipeline):
    run, request = pipeline("v5.1-7b-t2v"), make()
    _, states, _ = run_of(run, request)
    _, windowed, _ = run_of(run, make(13, 2, window_frames=9))
    wrong = {
        "must be of a video in 1 windows, got": windowed[:1],
        "must hold the states of the first windows": [replace(states[0], window=1)],
        "must hold the state of the noise": [replace(states[0], noise=None)],
        "must be of a run of 4 steps, got one of 9": [replace(states[0], total=9)],
    }
    for message, given in wrong.items():
        with pytest.raises(ValueError, match=f"^resume {message}"):
            run_of(run, request, given)
    with pytest.raises(ValueError, match=r"^resume must hold windows that are done"):
        run_of(run, make(13, 2, window_frames=9), [windowed[0], windowed[-1]])
    longer = replace(states[0], loop=LoopState(9, states[0].loop.latents))
    with pytest.raises(ValueError, match=r"^latents must be of a run of 4 steps"):
        run_of(run, request, [longer])


@pytest.mark.parametrize(
    ("family", "window"), [("v5.1-7b-t2v", 9), ("v2-t2v", 18), ("v3-inp", 16), ("open-sora-1.0", 9)]
)
def test_decoding_is_a_stage_of_its_own(family, window, pipeline, directory):
    run = pipeline(family)
    requests = [make(7, 1), make(window + 9, 1, window_frames=window)]
    vae = load_decoder(directory(family), dtype="float32", device="cpu")
    for request in requests:
        frames, states, whole = run_of(run, request)
        latents = [state.loop.latents for state in states if state.finished]
        again = Run()
        decoded = torch.cat(list(decode_windows(vae, request, latents, again)), dim=2)
        assert torch.equal(decoded, frames)
        assert again.meter.seams() == whole.meter.seams()


def test_latents_of_something_else_are_refused(pipeline):
    run = pipeline("v5.1-7b-t2v")
    _, states, _ = run_of(run, make(steps=1))
    latents = states[-1].loop.latents
    with pytest.raises(ValueError, match=r"^latents must be those of 1 windows, got 2"):
        list(decode_windows(run.components.vae, make(), [latents, latents]))
    with pytest.raises(ValueError, match=r"^latents must have the shape"):
        list(decode_windows(run.components.vae, make(9), [latents]))
    with pytest.raises(ValueError, match=r"^latents are broken"):
        list(decode_windows(run.components.vae, make(), [latents * float("nan")]))


def test_the_clean_estimate_ends_at_the_result(pipeline):
    """The last step of samplers that end at no noise goes to what they think is clean."""
    for family, name in [("v5.1-7b-t2v", "Flow"), ("v2-t2v", "Euler"), ("v2-t2v", "DDIM")]:
        run, request = pipeline(family), make(sampler=name)
        assert isinstance(requested_sampler(request, run.components.process), Estimates)
        _, states, _ = run_of(run, request)
        assert torch.allclose(states[-2].loop.clean, states[-1].loop.latents, atol=1e-4), name
        assert not torch.allclose(states[0].loop.clean, states[-1].loop.latents, atol=1e-2)
