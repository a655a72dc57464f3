"""The DDPM schedule: its config file, noise, targets, weights, and the timesteps that training draws."""

import json
import math

import pytest
import torch

from ea_dit.diffusion import DdpmSchedule, FlowMatching, TimestepSampling, schedule_from_dict
from ea_dit.diffusion.prediction import Level, clean_of, noise_of, target_of
from ea_dit.diffusion.timesteps import rank_range

V5_FILE = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.30.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "thresholding": False,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}


def test_a_released_file_is_read_and_written_again():
    schedule = DdpmSchedule.from_dict(V5_FILE)
    assert schedule.prediction_type == "v_prediction"
    assert schedule.timestep_spacing == "trailing"
    written = json.loads(json.dumps(schedule.to_dict()))
    assert DdpmSchedule.from_dict(written) == schedule
    meaningful = {name: value for name, value in V5_FILE.items() if value is not None and name in written}
    assert {name: written[name] for name in meaningful} == meaningful
    left_out = set(V5_FILE) - set(written)
    assert left_out == {
        "_diffusers_version",
        "dynamic_thresholding_ratio",
        "sample_max_value",
        "thresholding",
        "trained_betas",
    }


def test_betas_of_a_file_are_kept():
    betas = [0.01, 0.02, 0.5]
    schedule = DdpmSchedule.from_dict({"trained_betas": betas, "num_train_timesteps": 3})
    torch.testing.assert_close(schedule.alphas_cumprod, torch.tensor([0.99, 0.99 * 0.98, 0.99 * 0.98 * 0.5]))
    assert DdpmSchedule.from_dict(json.loads(json.dumps(schedule.to_dict()))) == schedule


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_shedule": "linear"}, "unknown key 'beta_shedule'; did you mean 'beta_schedule'"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas must be False, got True"),
        ({"thresholding": True}, "thresholding must be False"),
        ({"final_sigmas_type": "sigma_min"}, "final_sigmas_type must be 'zero'"),
        (
            {"_class_name": "HeunDiscreteScheduler"},
            "class_name must be 'DDIMScheduler' or .*'HeunDiscreteScheduler'",
        ),
        ({"prediction_type": "flow"}, "prediction_type must be 'epsilon' or 'sample' or 'v_prediction'"),
        (
            {"timestep_spacing": "karras"},
            "timestep_spacing must be None or 'leading' or 'trailing' or 'linspace'",
        ),
        ({"beta_schedule": "sigmoid"}, "beta_schedule must be 'linear'"),
        ({"num_train_timesteps": 1}, "num_train_timesteps must be a whole number of at least 2, got 1"),
        ({"num_train_timesteps": 1000.0}, "num_train_timesteps must be a whole number"),
        ({"steps_offset": -1}, "steps_offset must be a whole number of at least 0"),
        ({"clip_sample": "no"}, "clip_sample must be True or False"),
        (
            {"beta_start": 0.02, "beta_end": 0.01},
            "beta_end must be at least beta_start and below 1, got beta_start 0.02",
        ),
        ({"beta_start": "0.01"}, "beta_start must be a number above 0, got '0.01'"),
        ({"clip_sample_range": float("inf")}, "clip_sample_range must be a number above 0, got inf"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps must be at most 1000000, got 1000000000"),
        ({"trained_betas": 5}, "trained_betas must be a list of numbers, got 5"),
        ({"trained_betas": [0.1]}, "trained_betas must be 1000 numbers between 0 and 1, got 1"),
        ({"solver_order": 3}, "solver_order must be 1 or 2, got 3"),
        ({"clip_sample_range": 0}, "clip_sample_range must be a number above 0, got 0"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        DdpmSchedule.from_dict({**V5_FILE, **changes})


def test_the_kind_of_schedule_is_told_by_the_class():
    assert isinstance(schedule_from_dict(V5_FILE), DdpmSchedule)
    assert isinstance(schedule_from_dict(FlowMatching().to_dict()), FlowMatching)
    with pytest.raises(ValueError, match=r"_class_name must be one of FlowMatchEuler.*, got None"):
        schedule_from_dict({})
    with pytest.raises(ValueError, match="got 'KarrasVeScheduler'"):
        schedule_from_dict({"_class_name": "KarrasVeScheduler"})


def test_zero_snr_ends_in_noise_and_begins_where_it_began():
    plain = DdpmSchedule(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    rescaled = DdpmSchedule.from_dict(V5_FILE)
    assert plain.alphas_cumprod[-1] > 0.001
    assert rescaled.alphas_cumprod[-1] == 0
    torch.testing.assert_close(rescaled.alphas_cumprod[0], plain.alphas_cumprod[0])
    assert bool((rescaled.alphas_cumprod.diff() < 0).all())


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_noise_target_and_clean_belong_together(kind):
    schedule = DdpmSchedule(prediction_type=kind)
    clean, noise = torch.randn(3, 2, 1, 4, 4), torch.randn(3, 2, 1, 4, 4)
    timesteps = torch.tensor([0, 300, 700])
    noisy = schedule.add_noise(clean, noise, timesteps)
    kept = schedule.alphas_cumprod[300]
    torch.testing.assert_close(noisy[1], kept.sqrt() * clean[1] + (1 - kept).sqrt() * noise[1])
    back = schedule.clean_from(noisy, schedule.target(clean, noise, timesteps), timesteps)
    torch.testing.assert_close(back, clean, atol=2e-4, rtol=1e-4)
    assert schedule.add_noise(clean.bfloat16(), noise.bfloat16(), timesteps).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction", "flow"])
def test_predictions_convert_into_each_other(kind):
    level = Level(0.6, 0.4) if kind == "flow" else Level(0.6, 0.8)
    clean, noise = torch.randn(5).double(), torch.randn(5).double()
    noisy = level.alpha * clean + level.sigma * noise
    prediction = target_of(clean, noise, level, kind)
    torch.testing.assert_close(clean_of(prediction, noisy, level, kind), clean)
    torch.testing.assert_close(noise_of(prediction, noisy, level, kind), noise)


def test_weights_mean_the_same_for_every_prediction():
    """The weighted error of a wrong answer is min(SNR, gamma) times its error in the clean latents."""
    timesteps, gamma = torch.tensor([5, 150, 400, 900]), 5.0
    clean, noise = torch.randn(4, 2, 8).double(), torch.randn(4, 2, 8).double()
    wrong = clean + 0.1 * torch.randn(4, 2, 8).double()
    losses = {}
    for kind in ("epsilon", "sample", "v_prediction"):
        schedule = DdpmSchedule(prediction_type=kind)
        noisy = schedule.add_noise(clean, noise, timesteps)
        level = schedule.levels(timesteps, clean)
        said = target_of(wrong, (noisy - level.alpha * wrong) / level.sigma, level, kind)
        squares = (said - schedule.target(clean, noise, timesteps)).square().mean(dim=(1, 2))
        losses[kind] = squares * schedule.loss_weight(timesteps, gamma)
    expected = DdpmSchedule().snr(timesteps).clamp(max=gamma) * (wrong - clean).square().mean(dim=(1, 2))
    for loss in losses.values():
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-6)


def test_weights_at_zero_snr_are_finite():
    last = torch.tensor([999])
    for kind, weight in (("epsilon", 1.0), ("sample", 0.0), ("v_prediction", 0.0)):
        schedule = DdpmSchedule.from_dict({**V5_FILE, "prediction_type": kind})
        assert float(schedule.loss_weight(last)) == weight
    with pytest.raises(ValueError, match="gamma must be positive, got 0"):
        DdpmSchedule().loss_weight(last, gamma=0)


def test_timesteps_of_training():
    def draw(batch, **options):
        place = {name: options.pop(name) for name in ("rank", "world_size") if name in options}
        return TimestepSampling(**options).sample(batch, torch.Generator().manual_seed(1), **place)

    drawn = draw(20000)
    assert drawn.dtype == torch.int64
    assert (int(drawn.min()), int(drawn.max())) == (0, 999)
    assert float(drawn.float().mean()) == pytest.approx(499.5, abs=8)
    parts = draw(10, stratified=True).sort().values
    assert torch.equal(parts // 100, torch.arange(10))
    second = draw(500, by_rank=True, rank=1, world_size=4)
    assert 250 <= int(second.min()) <= int(second.max()) < 500
    assert int(draw(500, rank=1, world_size=4).max()) > 900
    assert torch.equal(draw(5), draw(5))
    with pytest.raises(ValueError, match="num_train_timesteps must be at least 1, got 0"):
        TimestepSampling(num_train_timesteps=0)


@pytest.mark.parametrize(
    ("world_size", "ranges"),
    [
        (1, [(0, 1000)]),
        (2, [(0, 500), (500, 1000)]),
        (3, [(0, 1000)] * 3),
        (6, [(0, 500)] * 3 + [(500, 1000)] * 3),
        (7, [(0, 1000)] * 7),
        (8, [(125 * part, 125 * part + 125) for part in range(8)]),
    ],
)
def test_ranges_of_processes_are_those_of_the_release(world_size, ranges):
    assert [rank_range(rank, world_size, 1000) for rank in range(world_size)] == ranges


def test_a_rank_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="rank must be at least 0 and below world_size 2, got 2"):
        rank_range(2, 2, 1000)


def test_cosine_betas_fall_as_the_paper_says():
    kept = DdpmSchedule(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    middle = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert float(kept[499]) == pytest.approx(middle, rel=1e-3)
