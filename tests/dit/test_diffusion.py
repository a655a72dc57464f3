"""Flow maths, guidance, noise levels, the loop."""

import math

import pytest
import torch

from ea_dit.diffusion import Cancelled, EulerFlowSampler, FlowMatching, Guidance, SigmaSampling, denoise


def test_schedule_runs_from_noise_to_data():
    flow = FlowMatching()
    sigmas = flow.sigmas(4)
    expected = torch.tensor([1000, 844.834412, 576.848999, 2.713619])  # the released example
    torch.testing.assert_close(flow.timesteps(sigmas[:-1]), expected, rtol=1e-6, atol=1e-5)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert flow.sigmas(1).tolist() == [1.0, 0.0]


def test_static_shift_is_used_without_dynamic_shifting():
    assert FlowMatching().effective_shift == pytest.approx(math.e)
    static = FlowMatching(use_dynamic_shifting=False, shift=3.0)
    assert static.sigmas(3)[1] == pytest.approx(3 * 0.5005 / (1 + 2 * 0.5005))
    assert FlowMatching(use_dynamic_shifting=False, shift=1.0).sigmas(3)[1] == pytest.approx(0.5005)


def test_config_round_trip_and_refusals():
    flow = FlowMatching(shift=5.0, use_dynamic_shifting=False)
    assert FlowMatching.from_dict(flow.to_dict()) == flow
    with pytest.raises(ValueError, match="DDIMScheduler"):
        FlowMatching.from_dict({"_class_name": "DDIMScheduler"})
    with pytest.raises(ValueError, match="unknown key 'shfit'"):
        FlowMatching.from_dict({"shfit": 2.0})
    with pytest.raises(ValueError, match=r"use_karras_sigmas must be False .* got True"):
        FlowMatching.from_dict({"use_karras_sigmas": True})
    written = flow.to_dict() | {"base_shift": 0.5, "max_shift": 1.15, "use_karras_sigmas": False}
    assert FlowMatching.from_dict(written) == flow
    with pytest.raises(ValueError, match="shift must be positive"):
        FlowMatching(shift=0)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        FlowMatching().sigmas(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": "x"}, "shift must be a finite number, got 'x'"),
        ({"shift": float("nan")}, "shift must be a finite number, got nan"),
        ({"shift": True}, "shift must be a finite number, got True"),
        ({"mu": None}, "mu must be a finite number, got None"),
        ({"mu": 1000}, "mu must be from -50 to 50, got 1000"),
        ({"use_dynamic_shifting": "no"}, "use_dynamic_shifting must be true or false, got 'no'"),
        ({"num_train_timesteps": "x"}, "num_train_timesteps must be a whole number of at least 1, got 'x'"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps must be at most 1000000, got 1000000000"),
    ],
)
def test_values_of_the_wrong_kind_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        FlowMatching.from_dict({**FlowMatching().to_dict(), **changes})


def test_noise_target_and_clean_belong_together():
    flow = FlowMatching()
    clean, noise = torch.randn(2, 3, 2, 4, 5), torch.randn(2, 3, 2, 4, 5)
    sigma = torch.tensor([0.2, 0.9])
    noisy = flow.add_noise(clean, noise, sigma)
    torch.testing.assert_close(noisy[1], 0.1 * clean[1] + 0.9 * noise[1])
    torch.testing.assert_close(flow.clean_from(noisy, flow.target(clean, noise), sigma), clean)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_euler_steps_with_the_true_velocity_reach_the_data(steps):
    flow = FlowMatching()
    clean, noise = torch.randn(1, 4, 1, 3, 3), torch.randn(1, 4, 1, 3, 3)
    sampler = EulerFlowSampler(flow, steps)
    velocity = flow.target(clean, noise)
    end = denoise(lambda latents, timestep: velocity, sampler.start(noise), sampler)
    torch.testing.assert_close(end, clean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 6), (0.7, 4), (0.5, 3), (0.1, 1), (0.99, 5)])
def test_strength_keeps_the_last_steps(strength, steps):
    sampler = EulerFlowSampler(FlowMatching(), 6, strength)
    assert torch.equal(sampler.sigmas, FlowMatching().sigmas(6)[6 - steps :])
    clean, noise = torch.randn(1, 2, 1, 2, 2), torch.randn(1, 2, 1, 2, 2)
    expected = FlowMatching().add_noise(clean, noise, float(sampler.sigmas[0]))
    assert torch.equal(sampler.start(noise, clean), expected)


def test_step_is_computed_in_float32_and_cast_to_the_predictions_dtype():
    flow, x = FlowMatching(), torch.randn(64)
    v = torch.randn(64).bfloat16()
    out = flow.step(x, v, torch.tensor(0.5), torch.tensor(0.25))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, (x - 0.25 * v.float()).bfloat16())


def test_guidance():
    negative, positive = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    both = torch.cat((negative, positive))
    plain = Guidance(scale=5.0)
    torch.testing.assert_close(plain.combine(both), negative + 5 * (positive - negative))
    rescaled = Guidance(scale=5.0, rescale=1.0).combine(both)
    torch.testing.assert_close(rescaled.std(dim=(1, 2)), positive.std(dim=(1, 2)))
    off = Guidance(scale=1.0)
    assert not off.active
    assert off.combine(positive) is positive
    assert off.double(positive) is positive
    assert plain.double(positive).shape[0] == 4


def test_loop_reports_and_stops():
    sampler, done = EulerFlowSampler(FlowMatching(), 5), []

    def run(should_stop):
        return denoise(
            lambda latents, timestep: latents,
            torch.ones(1),
            sampler,
            on_step=lambda step, total, latents: done.append((step, total)),
            should_stop=should_stop,
        )

    run(None)
    assert done == [(step, 5) for step in range(1, 6)]
    done.clear()
    with pytest.raises(Cancelled, match="stopped after 2 of 5 steps"):
        run(lambda: len(done) == 2)


def test_noise_levels():
    def draw(batch=4000, **options):
        return SigmaSampling(**options).sample(batch, torch.Generator().manual_seed(1))

    uniform = draw()
    assert 0 < uniform.min() < uniform.max() < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
    normal = draw(density="logit_normal", mean=1.0, std=0.5)
    assert float(normal.median()) == pytest.approx(1 / (1 + math.exp(-1.0)), abs=0.02)
    shifted = draw(shift=3.0)
    torch.testing.assert_close(shifted, 3 * uniform / (1 + 2 * uniform))
    parts = draw(batch=10, stratified=True).sort().values
    assert torch.equal((parts * 10).long(), torch.arange(10))
    assert torch.equal(draw(batch=3), draw(batch=3))
    with pytest.raises(ValueError, match="density must be"):
        SigmaSampling(density="normal")
