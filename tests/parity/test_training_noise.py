"""Timesteps, weights and losses of EasyAnimate's training against recorded ones."""

import pytest
import torch
from discovery import record, unknown

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.flow_training import (
    flow_levels,
    limited_mse,
    logit_normal_positions,
    loss_weight,
    mode_positions,
)
from ea_dit.diffusion.timesteps import TimestepSampling, rank_range
from ea_train.objectives.errors import ErrorConfig, sample_losses
from ea_train.objectives.levels import LevelConfig, Ranks, draw_positions, timesteps_of

pytestmark = pytest.mark.parity

FLOW = record("data", "flow_sampling.json")
RANKS = record("data", "discrete_sampling.json")
HERE = {"description", "index_from_u", "logit_normal_by_mean_std", "loss_weighting", "masked_mse", "none"}
HERE |= {"masked_mse_threshold", "mode_by_scale", "noisy_latent", "normal_in", "scheduler_tables_by_shift"}
HERE |= {"sigma_in", "target", "u_in"}
NOT_YET = {"grad_norm_linear_decay": "falling limits of gradients come with the trainer of released models"}


def close(actual, expected, rtol=1e-6):
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=rtol, atol=1e-7)


def test_every_record_is_known():
    assert unknown(FLOW, supported=HERE, not_yet=NOT_YET) == []
    assert unknown(RANKS, supported={"description", "cases", "not_uniform_example"}, not_yet={}) == []


def test_positions():
    u, normal = torch.tensor(FLOW["u_in"]), torch.tensor(FLOW["normal_in"])
    assert FLOW["none"] == FLOW["u_in"]
    for scale, expected in FLOW["mode_by_scale"].items():
        close(mode_positions(u, float(scale)), expected, rtol=1e-5)
    for name, expected in FLOW["logit_normal_by_mean_std"].items():
        mean, std = map(float, name.split(","))
        close(logit_normal_positions(normal, mean=mean, std=std), expected)


def test_places_in_the_schedule():
    entry = FLOW["index_from_u"]
    count = entry["num_train_timesteps"]
    flow = FlowMatching(num_train_timesteps=count, shift=1.0, use_dynamic_shifting=False)
    levels = flow_levels(flow, torch.tensor(entry["u"]))
    assert (count - levels.timesteps).round().long().tolist() == entry["index"]


@pytest.mark.parametrize("shift", FLOW.get("scheduler_tables_by_shift", {}))
def test_schedule(shift):
    entry = FLOW["scheduler_tables_by_shift"][shift]
    flow = FlowMatching(shift=float(shift), use_dynamic_shifting=False)
    u = (torch.tensor(entry["index"], dtype=torch.float64) + 0.5) / flow.num_train_timesteps
    levels = flow_levels(flow, u)
    close(levels.sigmas, entry["sigmas"])
    close(levels.timesteps, entry["timesteps"])


@pytest.mark.parametrize("scheme", FLOW.get("loss_weighting", {}))
def test_weights(scheme):
    close(loss_weight(torch.tensor(FLOW["sigma_in"]), scheme), FLOW["loss_weighting"][scheme])


def test_losses():
    assert len(FLOW["masked_mse"]) >= 2
    for entry in FLOW["masked_mse"]:
        weight = None if entry["weight"] is None else torch.tensor(entry["weight"])
        loss = limited_mse(
            torch.tensor(entry["pred"]),
            torch.tensor(entry["target"]),
            weight,
            limit=FLOW["masked_mse_threshold"],
        )
        close(loss, entry["loss"])


def test_noise_and_target():
    assert (FLOW["noisy_latent"], FLOW["target"]) == ("(1-sigma)*latent + sigma*noise", "noise - latent")
    clean, noise, sigma = torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([0.25])
    close(FlowMatching().add_noise(clean, noise, sigma), [1.25])
    close(FlowMatching().target(clean, noise), [-3.0])


def ranges(world_size, count):
    return [list(rank_range(rank, world_size, count)) for rank in range(world_size)]


@pytest.mark.parametrize(
    "case", RANKS.get("cases", []), ids=lambda case: f"{case['num_idx']}-{case['world_size']}"
)
def test_timesteps_of_ranks(case):
    assert ranges(case["world_size"], case["num_idx"]) == case["range_low_high_exclusive_by_rank"]


def test_timesteps_without_ranks():
    example = RANKS["not_uniform_example"]
    (expected,) = {tuple(entry) for entry in example["ranges"]}
    sampling = TimestepSampling(num_train_timesteps=example["num_idx"])
    drawn = sampling.sample(
        20_000, torch.Generator().manual_seed(0), rank=1, world_size=example["world_size"]
    )
    assert (int(drawn.min()), int(drawn.max()) + 1) == expected


@pytest.mark.parametrize(
    "case", RANKS.get("cases", []), ids=lambda case: f"{case['num_idx']}-{case['world_size']}"
)
def test_the_trainer_draws_from_the_ranges_of_ranks(case):
    count, world_size = case["num_idx"], case["world_size"]
    levels = LevelConfig(spread="ranks")
    for rank, (low, high) in enumerate(case["range_low_high_exclusive_by_rank"]):
        ranks = Ranks(rank=rank, world_size=world_size)
        generator = torch.Generator().manual_seed(rank)
        steps = timesteps_of(draw_positions(levels, 500, generator, ranks, count=count), count)
        assert low <= int(steps.min()) <= int(steps.max()) < high


def test_the_trainer_counts_errors_as_recorded():
    for entry in FLOW["masked_mse"]:
        prediction, target = (torch.tensor(entry[name]) for name in ("pred", "target"))
        flat = [tensor.reshape(1, 1, 1, 1, -1) for tensor in (prediction, target)]
        if entry["weight"] is None:
            loss = sample_losses(*flat, None, ErrorConfig(limit=FLOW["masked_mse_threshold"]))
            close(loss[0], entry["loss"])
