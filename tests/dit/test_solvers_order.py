"""Order of accuracy where the exact answer is known: normally distributed data, whose score is linear.

For clean latents N(m, s^2) the noisy ones are N(alpha m, alpha^2 s^2 + sigma^2), the best prediction is a
linear function of them, and the probability-flow ODE keeps a sample's place within its distribution. Errors
are compared at one noise level that every number of steps visits: towards the end the levels of neighbouring
steps differ by the same factor however many steps there are.
"""

import math

import pytest
import torch

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Memory, draws, sampler_for
from ea_dit.diffusion.prediction import Level

MEAN, SPREAD = 0.7, 0.4
DDPM = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "timestep_spacing": "trailing",
}


def moments(level):
    """Mean and standard deviation of noisy latents."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    return alpha * MEAN, math.sqrt(alpha**2 * SPREAD**2 + sigma**2)


def best_prediction(x, level, kind):
    """What a perfect network says."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    mean, spread = moments(level)
    clean = MEAN + alpha * SPREAD**2 / spread**2 * (x - mean)
    noise = (x - alpha * clean) / sigma
    return {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": alpha * noise - sigma * clean,
        "flow": noise - clean,
    }[kind]


def level_of_call(sampler, index, schedule):
    """Noise level of what the network gets, by its timestep; fractions lie between those of a table."""
    timestep = float(sampler.timesteps[index])
    if isinstance(schedule, FlowMatching):
        # float32 timesteps would hide what is left of an error.
        sigma = 1 - index / (len(sampler.timesteps) - 1) if index else 1.0
        return Level(1 - sigma, sigma)
    kept = schedule.alphas_cumprod.double()[int(timestep)]
    assert timestep == int(timestep)
    return Level(float(kept.sqrt()), float((1 - kept).sqrt()))


def run(sampler, schedule, noise, *, draw=None, until=None):
    """Runs with the perfect network; returns the model inputs of call `until`, or the final latents."""
    kind = "flow" if isinstance(schedule, FlowMatching) else schedule.prediction_type
    memory, latents = Memory(), sampler.start(noise)
    for index in range(len(sampler.timesteps)):
        given = sampler.model_input(index, latents)
        if index == until:
            return given
        prediction = best_prediction(given, level_of_call(sampler, index, schedule), kind)
        latents, memory = sampler.step(index, latents, prediction, memory, draw)
    return latents


def error(schedule, name, steps):
    """Largest error where four fifths of the steps are done, in standard deviations."""
    sampler = sampler_for(schedule, name, steps)
    place = torch.linspace(-2, 2, 9, dtype=torch.float64)
    mean, spread = moments(level_of_call(sampler, 0, schedule))
    start = mean + spread * place
    if name == "Euler":
        # Its latents are x / alpha, and it scales the noise it is given.
        start = start / float(sampler.grid.levels[0].alpha) / sampler.sigmas[0]
    # Three steps of PNDM take four calls each.
    index = steps * 4 // 5 + (9 if name == "PNDM" else 0)
    reached = run(sampler, schedule, start, until=index)
    mean, spread = moments(level_of_call(sampler, index, schedule))
    return float((reached - mean - spread * place).abs().max()) / spread


def order(schedule, name, coarse, fine):
    """Slope of the error between two numbers of steps."""
    errors = error(schedule, name, coarse), error(schedule, name, fine)
    measured = math.log(errors[0] / errors[1]) / math.log(fine / coarse)
    print(f"{name}: order {measured:.2f}, errors {errors[0]:.1e} and {errors[1]:.1e}")
    return measured


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(("name", "expected"), [("DDIM", 1), ("Euler", 1), ("DPM++", 2), ("UniPC", 3)])
def test_order_on_a_ddpm(name, expected, kind):
    schedule = DdpmSchedule.from_dict({**DDPM, "prediction_type": kind})
    assert order(schedule, name, 25, 100) > expected - 0.2


@pytest.mark.parametrize(("kind", "expected"), [("epsilon", 2), ("sample", 2), ("v_prediction", 1)])
def test_order_of_pndm(kind, expected):
    """As released, velocities of different steps are combined before they are turned into noise.

    That costs the order the method is made for.
    """
    schedule = DdpmSchedule.from_dict({**DDPM, "prediction_type": kind})
    assert order(schedule, "PNDM", 50, 250) > expected - 0.2


@pytest.mark.parametrize(("name", "expected"), [("Flow", 1), ("Flow_DPM++", 2), ("Flow_Unipc", 2)])
def test_order_on_a_flow(name, expected):
    # With 1 / N in place of a millionth, the levels of a run of n steps are 1 - k / (n - 1).
    schedule = FlowMatching(shift=1.0, use_dynamic_shifting=False, num_train_timesteps=10**6)
    assert order(schedule, name, 21, 81) > expected - 0.2


def test_higher_order_pays():
    """At the same number of model calls, where it is what one chooses a sampler for."""
    schedule = DdpmSchedule.from_dict({**DDPM, "prediction_type": "v_prediction"})
    errors = {name: error(schedule, name, 20) for name in ("DDIM", "Euler", "DPM++", "UniPC")}
    print(errors)
    assert errors["DPM++"] < errors["DDIM"] / 3
    assert errors["UniPC"] < errors["DDIM"] / 3


@pytest.mark.parametrize("name", ["Euler A", "DDPM", "DPM++ SDE"])
def test_samplers_with_noise_approach_the_distribution(name):
    schedule = DdpmSchedule.from_dict({**DDPM, "prediction_type": "v_prediction"})
    off = []
    for steps in (50, 200):
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(20000, generator=generator).double()
        result = run(sampler_for(schedule, name, steps), schedule, noise, draw=draws(generator))
        print(name, steps, float(result.mean()), float(result.std()))
        assert float(result.mean()) == pytest.approx(MEAN, abs=0.02)
        off.append(abs(float(result.std()) - SPREAD))
    assert off[1] < 0.02
    assert off[1] < off[0] / 2


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("name", ["DDIM", "Euler", "DPM++", "UniPC"])
def test_samplers_without_noise_give_the_distribution(name, zero_snr):
    schedule = DdpmSchedule.from_dict(
        {**DDPM, "prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    )
    noise = torch.randn(20000, generator=torch.Generator().manual_seed(4)).double()
    noise = (noise - noise.mean()) / noise.std()
    result = run(sampler_for(schedule, name, 100), schedule, noise)
    print(name, zero_snr, float(result.mean()), float(result.std()))
    assert float(result.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(result.std()) == pytest.approx(SPREAD, abs=0.03)


def test_lcm_and_one_step_samplers_are_exact_on_one_picture():
    """A perfect network that knows one picture says it in every step."""
    schedule = DdpmSchedule.from_dict({**DDPM, "prediction_type": "sample"})
    picture = torch.randn(2, 3, generator=torch.Generator().manual_seed(5))
    for name, steps in (("LCM", 1), ("LCM", 4), ("DDIM", 1), ("Euler", 1), ("DPM++", 1), ("UniPC", 1)):
        sampler = sampler_for(schedule, name, steps)
        generator = torch.Generator().manual_seed(6)
        latents, memory = sampler.start(torch.randn(2, 3, generator=generator)), Memory()
        for index in range(steps):
            latents, memory = sampler.step(index, latents, picture, memory, draws(generator))
        assert torch.allclose(latents, picture, atol=1e-4), f"{name}, {steps} steps"
