"""Solvers against the schedulers of diffusers: same noise, same predictions, every step.

The predictions are drawn beforehand, so that a difference stays in the step that made it, and the numbers a
network would get are compared on their own.
"""

import inspect
import itertools
import json
from importlib import import_module

import pytest
import torch

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Memory, draws, sampler_for
from ea_dit.diffusion.solvers.dpm import DpmSolverSampler
from ea_dit.diffusion.solvers.grid import NoiseGrid, flow_grid
from ea_dit.diffusion.solvers.unipc import UniPcSampler

# The witness hands tensors to numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

WITNESSES = {
    "DDIM": ("ddim", "DDIMScheduler", {}),
    "DDPM": ("ddim", "DDIMScheduler", {}),
    "Euler": ("euler_discrete", "EulerDiscreteScheduler", {}),
    "Euler A": ("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}),
    "DPM++": ("dpmsolver_multistep", "DPMSolverMultistepScheduler", {}),
    "DPM++ SDE": (
        "dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++"},
    ),
    "PNDM": ("pndm", "PNDMScheduler", {}),
    "UniPC": ("unipc_multistep", "UniPCMultistepScheduler", {}),
    "LCM": ("lcm", "LCMScheduler", {}),
}
ETAS = {"DDIM": 0.0, "DDPM": 1.0}
SHAPE = (1, 3, 2, 4, 5)
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COMBINATIONS = list(
    itertools.product(
        ("epsilon", "sample", "v_prediction"), ("leading", "trailing", "linspace"), (False, True), (7, 20)
    )
)


def witness_class(name):
    file, class_name, _ = WITNESSES[name]
    return getattr(import_module(f"diffusers.schedulers.scheduling_{file}"), class_name)


def witness(name, config):
    """The scheduler of diffusers with the keys that it knows."""
    scheduler_class = witness_class(name)
    known = inspect.signature(scheduler_class.__init__).parameters
    given = {key: value for key, value in config.items() if key in known}
    return scheduler_class(**given, **WITNESSES[name][2])


def close(what, ours, theirs, tolerance):
    assert torch.isfinite(theirs).all(), f"{what}: the witness is not finite"
    scale = max(theirs.abs().max().item(), 1.0)
    difference = (ours - theirs).abs().max().item() / scale
    assert difference <= tolerance, f"{what}: differs by {difference:.1e} of the largest value"


def follow(sampler, scheduler, *, tolerance, eta=None):
    """Steps both with the same predictions and seeds."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(SHAPE, generator=generator)
    timesteps = scheduler.timesteps
    torch.testing.assert_close(sampler.timesteps.double(), timesteps.double(), rtol=1e-6, atol=1e-4)
    ours, theirs = sampler.start(noise), noise * scheduler.init_noise_sigma
    close("start", ours, theirs, tolerance)
    draw, their_generator = draws(torch.Generator().manual_seed(2)), torch.Generator().manual_seed(2)
    options = {} if eta is None else {"eta": eta}
    if "generator" in inspect.signature(scheduler.step).parameters:
        options["generator"] = their_generator
    memory = Memory()
    for index, timestep in enumerate(timesteps):
        expected = scheduler.scale_model_input(theirs, timestep)
        close(f"model input {index}", sampler.model_input(index, ours), expected, tolerance)
        prediction = torch.randn(SHAPE, generator=generator)
        ours, memory = sampler.step(index, ours, prediction, memory, draw)
        theirs = scheduler.step(prediction, timestep, theirs, return_dict=False, **options)[0]
        close(f"step {index}", ours, theirs, tolerance)


def impossible(name, kind, spacing, zero_snr):
    """Combinations that one of the two refuses or, for DDPM, where the witness takes the root of -1e-8."""
    if name == "DDPM" and zero_snr and spacing != "leading":
        return True
    if zero_snr and kind == "epsilon" and name in ("DDIM", "LCM"):
        return spacing != "leading" or name == "LCM"
    return kind == "sample" and name in ("Euler A", "PNDM")


def tolerance_of(name, zero_snr):
    """The witness computes in float32; Euler's first latents of a zero-SNR run are some 10^4."""
    return 1e-4 if zero_snr and name in ("Euler", "Euler A") else 2e-5


@pytest.mark.parametrize("name", WITNESSES)
def test_every_step_is_that_of_the_witness(name):
    tested = 0
    for kind, spacing, zero_snr, steps in COMBINATIONS:
        if impossible(name, kind, spacing, zero_snr):
            continue
        config = {
            **BETAS,
            "prediction_type": kind,
            "timestep_spacing": spacing,
            "rescale_betas_zero_snr": zero_snr,
            "steps_offset": 1,
            "clip_sample": False,
            "set_alpha_to_one": spacing != "leading",
        }
        scheduler = witness(name, config)
        scheduler.set_timesteps(steps)
        sampler = sampler_for(DdpmSchedule.from_dict(config), name, steps)
        try:
            follow(sampler, scheduler, tolerance=tolerance_of(name, zero_snr), eta=ETAS.get(name))
        except AssertionError as error:
            raise AssertionError(
                f"{name}, {kind}, {spacing}, zero SNR {zero_snr}, {steps} steps: {error}"
            ) from error
        tested += 1
    assert tested >= 20


@pytest.mark.parametrize("name", WITNESSES)
def test_files_of_the_witness_are_read(name):
    """What today's versions write beside the released keys is known, too."""
    scheduler = witness(name, {**BETAS, "steps_offset": 1})
    file = json.loads(scheduler.to_json_string())
    schedule = DdpmSchedule.from_dict(file)
    assert schedule.class_name == WITNESSES[name][1]
    assert (schedule.beta_schedule, schedule.beta_start, schedule.beta_end) == tuple(BETAS.values())
    written = schedule.to_dict()
    assert {key: file[key] for key in file if key in written} == {
        key: written[key] for key in file if key in written
    }
    assert schedule.timestep_spacing == file.get("timestep_spacing")


@pytest.mark.parametrize("name", ["DDIM", "LCM"])
def test_clipping_is_that_of_the_witness(name):
    config = {**BETAS, "prediction_type": "v_prediction", "clip_sample": True, "clip_sample_range": 0.8}
    scheduler = witness(name, config)
    scheduler.set_timesteps(6)
    follow(sampler_for(DdpmSchedule.from_dict(config), name, 6), scheduler, tolerance=2e-5)


@pytest.mark.parametrize("steps", [2, 3, 9])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_pndm_without_runge_kutta(steps, spacing):
    config = {**BETAS, "skip_prk_steps": True, "timestep_spacing": spacing, "prediction_type": "v_prediction"}
    scheduler = witness("PNDM", config)
    scheduler.set_timesteps(steps)
    follow(sampler_for(DdpmSchedule.from_dict(config), "PNDM", steps), scheduler, tolerance=2e-5)


@pytest.mark.parametrize("name", ["DPM++", "UniPC"])
def test_first_order(name):
    config = {**BETAS, "solver_order": 1, "prediction_type": "epsilon"}
    scheduler = witness(name, config)
    scheduler.set_timesteps(6)
    follow(sampler_for(DdpmSchedule.from_dict(config), name, 6), scheduler, tolerance=2e-5)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_process(schedule, zero_snr):
    """Levels, noising and the velocity target."""
    config = {
        "beta_schedule": schedule,
        "beta_start": 0.0002,
        "beta_end": 0.015,
        "num_train_timesteps": 500,
        "rescale_betas_zero_snr": zero_snr,
    }
    ours, theirs = DdpmSchedule.from_dict(config), witness("DDIM", config)
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-5, atol=1e-9)
    clean, noise = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    timesteps = torch.tensor([0, 17, 400, 499])
    noisy = ours.add_noise(clean, noise, timesteps)
    torch.testing.assert_close(noisy, theirs.add_noise(clean, noise, timesteps), rtol=1e-5, atol=1e-5)
    velocity = DdpmSchedule.from_dict({**config, "prediction_type": "v_prediction"}).target(
        clean, noise, timesteps
    )
    torch.testing.assert_close(velocity, theirs.get_velocity(clean, noise, timesteps), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["DDIM", "DPM++", "Euler", "Euler A", "PNDM"])
def test_start_from_a_clean_video(name):
    config = {
        **BETAS,
        "prediction_type": "v_prediction",
        "skip_prk_steps": True,
        "timestep_spacing": "trailing",
    }
    scheduler = witness(name, config)
    scheduler.set_timesteps(10)
    sampler = sampler_for(DdpmSchedule.from_dict(config), name, 10, 0.5)
    clean, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    first = sampler.timesteps[:1].to(scheduler.timesteps.dtype)
    assert float(first) == 499
    expected = scheduler.add_noise(clean, noise, first)
    torch.testing.assert_close(sampler.start(noise, clean), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [5, 16])
def test_flow_euler(shift, steps):
    scheduler_class = import_module(
        "diffusers.schedulers.scheduling_flow_match_euler_discrete"
    ).FlowMatchEulerDiscreteScheduler
    scheduler = scheduler_class(shift=shift)
    flow = FlowMatching(shift=shift, use_dynamic_shifting=False)
    sampler = sampler_for(flow, "Flow", steps)
    # The witness takes levels before the shift; its own list ends elsewhere than the released one.
    scheduler.set_timesteps(sigmas=torch.linspace(1.0, 0.001, steps).numpy())
    scheduler.init_noise_sigma = 1.0
    scheduler.scale_model_input = lambda x, timestep: x
    follow(sampler, scheduler, tolerance=1e-5)


@pytest.mark.parametrize("name", ["DPM++", "DPM++ SDE", "UniPC"])
@pytest.mark.parametrize("steps", [6, 15])
def test_multistep_solvers_on_a_flow(name, steps):
    """On the witness' own list of levels, which starts below 1."""
    scheduler = witness(
        name, {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    )
    scheduler.set_timesteps(steps)
    flow = FlowMatching(shift=3.0, use_dynamic_shifting=False)
    sigmas = scheduler.sigmas.tolist()
    own = flow_grid(flow, steps, 1.0)
    levels = tuple(type(own.levels[0])(1 - sigma, sigma) for sigma in sigmas)
    grid = NoiseGrid(scheduler.timesteps, levels, "flow")
    sampler = (
        UniPcSampler(grid) if name == "UniPC" else DpmSolverSampler(grid, stochastic=name.endswith("SDE"))
    )
    follow(sampler, scheduler, tolerance=2e-5)
