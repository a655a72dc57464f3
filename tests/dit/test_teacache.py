"""Leaving out steps: which, what is refused, and that a run goes on from any step."""

import json

import pytest
import torch
from given import request_of
from tiny import tiny_transformer

from ea_dit.families.mmdit.presets import PRESETS
from ea_dit.families.mmdit.teacache import V5_1_7B, V5_1_12B
from ea_dit.pipelines import GenerationRequest
from ea_dit.pipelines.checks import check_request
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.teacache import IDENTITY, Skipping, SkipState, StepCache
from ea_dit.pipelines.variants import traits_of

SIZE = 32
ROUGH = {"teacache_threshold": 0.2, "teacache_curve": "identity"}


def make(frames=5, **changes):
    given = {"prompt": "x", "height": SIZE, "width": SIZE, "num_frames": frames, "num_steps": 8, **changes}
    return request_of(given)


def run_of(pipeline, request, states=()):
    """Frames, all states and what was skipped."""
    seen = []
    run = Run(resume=states, on_state=seen.append)
    frames = torch.cat([chunk.frames for chunk in pipeline.stream(request, run=run)], dim=2)
    return frames, seen, run.skipped


def ends(states, count):
    """What is left of a run that was killed after so many states: the newest of every window."""
    return tuple({state.window: state for state in states[:count]}.values())


class Network:
    """Tokens that move by given relative changes, and blocks that add the number of the call."""

    def __init__(self, changes):
        self.signals = [torch.ones(2, 3, 4)]
        for change in changes:
            self.signals.append(self.signals[-1] * (1 + change))
        self.ran = []

    def call(self, cache, index):
        tokens = torch.full((2, 3, 4), 100.0)

        def run():
            self.ran.append(index)
            return tokens + index

        made = cache.at(index, len(self.signals))(tokens, lambda: self.signals[index], run)
        return float(made.flatten()[0]) - 100


def test_blocks_are_run_when_changes_add_up():
    network = Network([0.04, 0.05, 0.02, 0.07, 0.01, 0.01])
    cache = StepCache(Skipping(0.08, IDENTITY))
    added = [network.call(cache, index) for index in range(7)]
    # 0.04; 0.04 + 0.05, over; 0.02; 0.02 + 0.07, over; 0.01; the last.
    assert network.ran == [0, 2, 4, 6]
    assert added == [0, 0, 2, 2, 4, 4, 6]
    assert cache.state.skipped == (1, 3, 5)


def test_the_sum_counts_through_the_polynomial_and_reaching_the_threshold_is_enough():
    network = Network([0.5, 0.5, 0.5, 0.5])
    cache = StepCache(Skipping(0.75, (2.0, 0.0, 0.25)))  # 2 x 0.25 + 0.25
    for index in range(5):
        network.call(cache, index)
    assert network.ran == [0, 1, 2, 3, 4]
    assert cache.state.skipped == ()


def test_steps_at_the_beginning_are_run():
    network = Network([0.0] * 6)
    cache = StepCache(Skipping(0.5, IDENTITY, start=4))
    for index in range(7):
        network.call(cache, index)
    assert network.ran == [0, 1, 2, 3, 6]


def test_a_cache_goes_on_from_any_state():
    changes = [0.04, 0.05, 0.02, 0.07, 0.01, 0.01]
    whole, states = Network(changes), []
    cache = StepCache(Skipping(0.08, IDENTITY))
    made = []
    for index in range(7):
        states.append(cache.state)
        made.append(whole.call(cache, index))
    for start, state in enumerate(states):
        again = StepCache(Skipping(0.08, IDENTITY), state)
        rest = Network(changes)
        assert [rest.call(again, index) for index in range(start, 7)] == made[start:]
        assert again.state.skipped == cache.state.skipped


def test_the_network_gives_the_same_when_nothing_is_left_out():
    model = tiny_transformer().eval()
    torch.manual_seed(1)
    given = {
        "hidden_BCTHW": torch.randn(2, 9, 3, 4, 6),
        "timestep_B": torch.tensor([500.0, 500.0]),
        "text_BME": torch.randn(2, 5, 12),
    }
    with torch.no_grad():
        exact = model(**given)
        cache = StepCache(Skipping(0.5, IDENTITY))
        assert torch.equal(model(**given, shortcut=cache.at(0, 3)), exact)
        # Nothing has moved: what was added is added again.
        torch.testing.assert_close(model(**given, shortcut=cache.at(1, 3)), exact)
    assert cache.state.skipped == (1,)


@pytest.mark.parametrize("family", ["v5.1-7b-t2v", "v5-7b-inp", "v5.1-12b-camera"])
def test_steps_are_left_out_and_counted(family, pipeline):
    run = pipeline(family)
    exact, _, none = run_of(run, make())
    frames, states, skipped = run_of(run, make(**ROUGH))
    assert none == {}
    assert skipped == {0: states[-1].skipping.skipped}
    assert 1 <= len(skipped[0]) <= 6
    assert 0 not in skipped[0]
    assert 7 not in skipped[0]
    assert not torch.equal(frames, exact)
    assert states[-1].skipping == SkipState(skipped[0])
    every, _, skipped = run_of(run, make(**{**ROUGH, "teacache_threshold": 0}))
    assert skipped == {0: ()}
    assert torch.equal(every, exact)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("v5.1-7b-t2v", {"guidance_scale": 1.0}),
        ("v5.1-7b-t2v", {"sampler": "Flow_Unipc", "frames": 13, "window_frames": 9}),
        ("v5.1-7b-inp", {"frames": 13, "window_frames": 9, "join": "pixels"}),
        pytest.param("v5-7b-t2v", {"sampler": "PNDM"}, marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_from_every_step(family, changes, pipeline):
    run = pipeline(family)
    request = make(**ROUGH, **changes)
    frames, states, skipped = run_of(run, request)
    assert all(skipped.values())
    for count in range(1, len(states) + 1):
        again, _, told = run_of(run, request, ends(states, count))
        assert torch.equal(again, frames), f"from state {count}"
        assert told == skipped


def test_which_models_have_released_coefficients():
    known = {name: traits_of(config).teacache_curve for name, config in PRESETS.items()}
    for name, curve in known.items():
        assert curve == {"v5.1-12b": V5_1_12B, "v5.1-7b": V5_1_7B}.get(name.rsplit("-", 1)[0]), name
    traits = traits_of(PRESETS["v5.1-12b-t2v"])
    check_request(make(teacache_threshold=0.08), traits, traits.schedule)


@pytest.mark.parametrize("family", ["v4-t2v", "v2-t2v", "open-sora-1.1"])
def test_other_networks_refuse_it(family, pipeline):
    with pytest.raises(ValueError, match=r"^teacache_threshold cannot be used: only models of V5 and V5\.1"):
        pipeline(family)(make(**ROUGH))


def test_models_without_coefficients_want_to_be_asked(pipeline):
    with pytest.raises(
        ValueError, match=r"^teacache_curve must be 'identity', which is rough, for this model"
    ):
        pipeline("v5.1-7b-t2v")(make(teacache_threshold=0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacache_threshold": -0.1}, "teacache_threshold must be a number between 0 and 1, got -0.1"),
        ({"teacache_threshold": 1.1}, "teacache_threshold must be a number between 0 and 1"),
        ({"teacache_threshold": float("nan")}, "teacache_threshold must be a number between 0 and 1"),
        ({"teacache_threshold": True}, "teacache_threshold must be a number between 0 and 1"),
        ({"teacache_start": 0}, "teacache_start must be a whole number between 1 and 1000, got 0"),
        ({"teacache_curve": "cubic"}, "teacache_curve must be one of released, identity, got 'cubic'"),
        ({"teacache_curve": None}, "teacache_curve must be one of released, identity, got None"),
    ],
)
def test_wrong_requests_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make(**changes).validate()


def test_requests_keep_it_in_json():
    request = make(**ROUGH, teacache_start=3)
    again = GenerationRequest.from_dict(json.loads(json.dumps(request.to_dict())))
    assert (again.teacache_threshold, again.teacache_start, again.teacache_curve) == (0.2, 3, "identity")
