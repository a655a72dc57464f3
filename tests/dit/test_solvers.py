"""Samplers by name: what they are given, what they refuse, and what every one of them must keep to."""

import pytest
import torch

from ea_dit.diffusion import (
    DdpmSchedule,
    FlowMatching,
    Guidance,
    GuidanceSchedule,
    Memory,
    default_sampler,
    denoise,
    denoise_steps,
    draws,
    resolution_mu,
    sampler_for,
    sampler_names,
)
from ea_dit.diffusion.solvers.ddim import DdimSampler
from ea_dit.diffusion.solvers.dpm import DpmSolverSampler
from ea_dit.diffusion.solvers.grid import flow_grid
from ea_dit.diffusion.solvers.lcm import FlowLcmSampler
from ea_dit.diffusion.solvers.unipc import UniPcSampler

V5 = DdpmSchedule(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
)
FLOW = FlowMatching()
EVERY = [pytest.param(schedule, name, id=name) for schedule in (V5, FLOW) for name in sampler_names(schedule)]
WITH_NOISE = {"Euler A", "DDPM", "DPM++ SDE", "LCM", "Flow_LCM"}
SHAPE = (2, 3, 2, 4, 4)


def network(latents, timestep):
    """Something that depends on both."""
    return torch.tanh(latents) * (0.5 + float(timestep) / 2000)


def run(sampler, *, seed=1, noise=None, clean=None, on_step=None):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(SHAPE, generator=generator) if noise is None else noise
    return denoise(network, sampler.start(noise, clean), sampler, draw=draws(generator), on_step=on_step)


def test_names():
    assert sampler_names(V5) == (
        "Euler",
        "Euler A",
        "DPM++",
        "DPM++ SDE",
        "PNDM",
        "DDIM",
        "DDPM",
        "LCM",
        "UniPC",
    )
    assert sampler_names(FLOW) == ("Flow", "Flow_DPM++", "Flow_Unipc", "Flow_LCM")
    assert default_sampler(FLOW) == "Flow"
    assert default_sampler(V5) == "DDIM"
    assert default_sampler(DdpmSchedule(class_name="EulerAncestralDiscreteScheduler")) == "Euler A"
    noisy = DdpmSchedule(class_name="DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++")
    assert default_sampler(noisy) == "DPM++ SDE"


@pytest.mark.parametrize(
    ("schedule", "name", "message"),
    [
        (V5, "Heun", "sampler must be one of Euler, 'Euler A', .*UniPC for a DDPM schedule, got 'Heun'"),
        (V5, "Flow", "for a DDPM schedule, got 'Flow'"),
        (
            FLOW,
            "DDIM",
            r"sampler must be one of Flow, .*, Flow_LCM for a flow schedule, got 'DDIM'",
        ),
        (V5, "euler", "got 'euler'"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(schedule, name, message):
    with pytest.raises(ValueError, match=message):
        sampler_for(schedule, name, 10)


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_steps_and_strength_that_make_no_run_are_refused(schedule, name):
    with pytest.raises(ValueError, match="num_steps must be"):
        sampler_for(schedule, name, 0)
    for strength in (0.0, 1.5, -1.0):
        with pytest.raises(ValueError, match="strength must be above 0 and at most 1"):
            sampler_for(schedule, name, 10, strength)


@pytest.mark.parametrize(
    ("schedule", "name", "steps", "strength", "message"),
    [
        (V5, "DDIM", 1001, 1.0, "num_steps must be at most 1000, got 1001"),
        (V5, "DPM++", 1000, 1.0, "num_steps must be at most 999, got 1000"),
        (V5, "PNDM", 3, 1.0, "must be at least 4 for PNDM, got 3 x 1.0"),
        (V5, "PNDM", 10, 0.3, "must be at least 4 for PNDM, got 10 x 0.3"),
        (
            V5,
            "LCM",
            51,
            1.0,
            "num_steps must be between 1 and original_inference_steps x strength = 50, got 51",
        ),
        (V5, "LCM", 26, 0.5, "= 25, got 26"),
        (
            DdpmSchedule(steps_offset=2, timestep_spacing="leading"),
            "DDIM",
            1000,
            1.0,
            "num_steps 1000 with steps_offset 2 needs timestep 1001, but the last one is 999",
        ),
        (
            DdpmSchedule(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
            "DDIM",
            10,
            1.0,
            "prediction_type epsilon cannot start from pure noise",
        ),
        (
            DdpmSchedule(original_inference_steps=2000),
            "LCM",
            4,
            1.0,
            "original_inference_steps must be at most",
        ),
    ],
)
def test_what_a_sampler_cannot_do_is_refused(schedule, name, steps, strength, message):
    with pytest.raises(ValueError, match=message):
        sampler_for(schedule, name, steps, strength)


def test_options_of_samplers_are_checked():
    with pytest.raises(ValueError, match="eta must be between 0 and 1, got 2"):
        DdimSampler(V5, 10, eta=2)
    for sampler_class in (DpmSolverSampler, UniPcSampler):
        with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
            sampler_class(flow_grid(FLOW, 4, 1.0), order=3)


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_a_sampler_is_immutable_and_a_run_depends_on_its_seed_alone(schedule, name):
    sampler = sampler_for(schedule, name, 6)
    first = run(sampler)
    run(sampler, seed=2, on_step=lambda done, total, latents: run(sampler, seed=3) if done == 3 else None)
    assert torch.equal(run(sampler), first)
    assert torch.isfinite(first).all()
    assert sampler == sampler_for(schedule, name, 6)
    assert sampler != sampler_for(schedule, name, 7)


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_noise_is_drawn_only_where_it_is_used(schedule, name):
    sampler, asked = sampler_for(schedule, name, 6), []
    noise = torch.randn(SHAPE)

    def draw(shape):
        asked.append(shape)
        return torch.zeros(shape)

    denoise(network, sampler.start(noise), sampler, draw=draw)
    count = {"LCM": 5, "Flow_LCM": 5}.get(name, 6) if name in WITH_NOISE else 0
    assert asked == [SHAPE] * count
    if name in WITH_NOISE:
        with pytest.raises(ValueError, match="draw must be given: this sampler adds noise"):
            denoise(network, sampler.start(noise), sampler)


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_latents_keep_the_dtype_of_the_prediction(schedule, name):
    sampler = sampler_for(schedule, name, 5)
    half, whole = run(sampler, noise=torch.ones(SHAPE).bfloat16()), run(sampler, noise=torch.ones(SHAPE))
    assert half.dtype == torch.bfloat16
    assert whole.dtype == torch.float32
    assert (half.float() - whole).abs().max() < 0.2 * whole.abs().max()


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_strength_runs_the_last_steps(schedule, name):
    full, cut = sampler_for(schedule, name, 10), sampler_for(schedule, name, 10, 0.5)
    clean = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))
    if name not in ("PNDM", "LCM", "Flow_LCM"):
        assert torch.equal(cut.timesteps, full.timesteps[5:])
    assert float(cut.timesteps[0]) < float(full.timesteps[0])
    started = cut.start(torch.zeros(SHAPE), clean)
    ratio = started / clean
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-4, atol=1e-5)
    assert 0 < float(ratio.mean()) <= 1
    assert torch.isfinite(run(cut, clean=clean)).all()


@pytest.mark.parametrize(("schedule", "name"), EVERY)
def test_gradients_flow_through_a_step(schedule, name):
    sampler, generator = sampler_for(schedule, name, 5), torch.Generator().manual_seed(1)
    latents = sampler.start(torch.randn(SHAPE, generator=generator))
    prediction = torch.randn(SHAPE, generator=generator).requires_grad_()
    after, _ = sampler.step(0, latents, prediction, Memory(), draws(generator))
    after.square().sum().backward()
    assert prediction.grad is not None
    assert float(prediction.grad.abs().sum()) > 0


def test_the_predictor_may_change_from_step_to_step():
    sampler = sampler_for(FLOW, "Flow", 4)
    seen = []

    def predictor_at(index, total):
        def predict(latents, timestep):
            seen.append((index, total, float(timestep)))
            return torch.zeros_like(latents)

        return predict

    denoise_steps(predictor_at, torch.ones(SHAPE), sampler)
    assert seen == [(index, 4, float(timestep)) for index, timestep in enumerate(sampler.timesteps)]


def test_guidance_over_a_run():
    steady = GuidanceSchedule(guidance=Guidance(scale=6.0, rescale=0.5))
    assert [steady.at(index, 4) for index in range(4)] == [steady.guidance] * 4
    falling = GuidanceSchedule(guidance=Guidance(scale=6.0), end_scale=2.0)
    assert [falling.at(index, 5).scale for index in range(5)] == [6.0, 5.0, 4.0, 3.0, 2.0]
    assert falling.at(0, 1).scale == 6.0
    smooth = GuidanceSchedule(guidance=Guidance(scale=6.0), end_scale=2.0, curve="cosine")
    assert [round(smooth.at(index, 5).scale, 6) for index in (0, 2, 4)] == [6.0, 4.0, 2.0]
    assert 5 < smooth.at(1, 5).scale < 6
    skipping = GuidanceSchedule(guidance=Guidance(scale=6.0), first=0.2, last=0.8)
    assert [skipping.at(index, 10).active for index in range(10)] == [False] * 2 + [True] * 6 + [False] * 2
    with pytest.raises(ValueError, match="curve must be 'linear' or 'cosine', got 'steps'"):
        GuidanceSchedule(guidance=Guidance(), curve="steps")
    with pytest.raises(ValueError, match="first <= last"):
        GuidanceSchedule(guidance=Guidance(), first=0.5, last=0.2)


def test_mu_by_resolution():
    assert resolution_mu(256) == pytest.approx(0.5)
    assert resolution_mu(4096) == pytest.approx(1.15)
    assert resolution_mu(2176) == pytest.approx(0.825)
    shifted = FlowMatching(mu=resolution_mu(4096))
    assert shifted.effective_shift > FLOW.effective_shift


def test_the_lcm_of_a_flow_jumps_to_what_the_boundary_says():
    sampler = FlowLcmSampler(FLOW, 4)
    grid = FLOW.sigmas(50)
    assert torch.allclose(sampler.timesteps, 1000 * grid[[0, 12, 25, 37]])
    latents, memory = torch.ones(SHAPE), Memory()
    sigma = float(grid[12])
    clean = latents - sigma * 0.5
    time = (1000 * sigma) * 10
    jumped = clean * time / (time**2 + 0.25) ** 0.5 + latents * 0.25 / (time**2 + 0.25)
    noise, after = torch.full(SHAPE, 2.0), float(grid[25])
    found, _ = sampler.step(1, latents, torch.full(SHAPE, 0.5), memory, lambda shape: noise)
    assert torch.allclose(found, (1 - after) * jumped + after * noise, atol=1e-5)
    last, _ = sampler.step(3, latents, torch.full(SHAPE, 0.5), memory)
    assert torch.allclose(last, latents - float(grid[37]) * 0.5, atol=1e-4)
