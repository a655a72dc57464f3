"""What losses draw and what they count."""

import math

import pytest
import torch

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Iddpm, IddpmLoss
from ea_dit.diffusion.flow_training import limited_mse, loss_weight
from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.pipelines.variants import traits_of
from ea_train.objectives.base import Drawn
from ea_train.objectives.config import ObjectiveConfig, make_objective, released_loss
from ea_train.objectives.ddpm import DdpmObjective
from ea_train.objectives.errors import ErrorConfig, sample_losses
from ea_train.objectives.flow import FlowObjective, training_flow
from ea_train.objectives.levels import LevelConfig, Ranks, draw_positions
from ea_train.objectives.noise import NoiseConfig, draw_noise, shared_in_frames
from ea_train.objectives.sigma import VarianceObjective

FLOW = FlowMatching(shift=1.0, use_dynamic_shifting=False)
SHAPE = (4, 2, 3, 4, 4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def latents(seed=0):
    return torch.randn(SHAPE, generator=seeded(seed))


def oracle(answer):
    """A network that knows the answer, and what it was asked."""
    asked = []

    def predict(noisy, timestep, frame_mask=None):
        asked.append((noisy, timestep, frame_mask))
        return answer

    return predict, asked


@pytest.mark.parametrize("density", ["uniform", "logit_normal", "mode"])
def test_positions_are_in_range_and_follow_the_density(density):
    u = draw_positions(LevelConfig(density=density), 20_000, seeded(), Ranks())
    assert bool(((u >= 0) & (u < 1)).all())
    middle = float(((u > 0.25) & (u < 0.75)).float().mean())
    expected = {"uniform": 0.5, "logit_normal": 0.728, "mode": 0.73}[density]
    assert middle == pytest.approx(expected, abs=0.02)


def test_positions_of_a_batch_are_spread():
    u = draw_positions(LevelConfig(spread="batch"), 10, seeded(), Ranks())
    assert sorted((u * 10).long().tolist()) == list(range(10))
    both = [
        draw_positions(LevelConfig(spread="both"), 5, seeded(rank), Ranks(rank=rank, world_size=2))
        for rank in (0, 1)
    ]
    assert sorted((torch.cat(both) * 10).long().tolist()) == list(range(10))


def test_processes_draw_from_parts_of_the_schedule():
    levels = LevelConfig(spread="ranks")
    for rank in range(4):
        u = draw_positions(levels, 1000, seeded(), Ranks(rank=rank, world_size=4))
        assert rank / 4 <= float(u.min()) < float(u.max()) < (rank + 1) / 4
    alone = draw_positions(levels, 1000, seeded(), Ranks())
    assert float(alone.max() - alone.min()) > 0.9


def test_noise_is_shared_from_frame_to_frame():
    noise = latents()
    mixed = shared_in_frames(noise, 0.5)
    assert torch.equal(mixed[:, :, 0], noise[:, :, 0])
    assert torch.allclose(mixed[:, :, 1], 0.5 * noise[:, :, 0] + 0.5 * noise[:, :, 1])
    assert torch.allclose(mixed[:, :, 2], 0.5 * mixed[:, :, 1] + 0.5 * noise[:, :, 2])


def test_noise_offset_and_input_perturbation():
    plain, same = draw_noise(latents(), NoiseConfig(), seeded())
    assert plain is same
    offset, _ = draw_noise(latents(), NoiseConfig(offset=2.0), seeded())
    moved = offset - plain
    assert torch.allclose(moved, moved[:, :, :1, :1, :1].expand_as(moved), atol=1e-5)
    assert float(moved.std()) > 0.5
    noise, seen = draw_noise(latents(), NoiseConfig(input_perturbation=0.1), seeded())
    assert torch.equal(noise, plain)
    assert float((seen - noise).std()) == pytest.approx(0.1, rel=0.2)


def test_the_loss_of_a_flow():
    clean = latents()
    objective = FlowObjective(flow=FLOW, weighting="cosmap")
    drawn = objective.draw(clean, seeded(1), Ranks())
    wrong = drawn.noise_BCthw - clean + 2.0
    predict, asked = oracle(wrong)
    losses = objective.losses(predict, clean, drawn)
    sigma = drawn.level_B
    torch.testing.assert_close(losses, 4 * loss_weight(sigma, "cosmap"))
    noisy, timestep, mask = asked[0]
    assert mask is None
    torch.testing.assert_close(timestep, 1000 * sigma)
    torch.testing.assert_close(noisy, FLOW.add_noise(clean, drawn.noise_BCthw, sigma))
    with pytest.raises(ValueError, match=r"objective\.loss 'flow' takes no held frames"):
        objective.losses(predict, clean, drawn, torch.ones(4, 3, dtype=torch.bool))


def test_levels_come_from_the_schedule_of_training():
    shifted = training_flow(FlowMatching(shift=3.0, use_dynamic_shifting=False))
    assert shifted.effective_shift == 3.0
    # A shift that follows the size of a run belongs to sampling.
    assert training_flow(FlowMatching(use_dynamic_shifting=True)).effective_shift == 1.0
    assert training_flow(FlowMatching(use_dynamic_shifting=True), shift=5.0).effective_shift == 5.0
    objective = FlowObjective(flow=FLOW)
    assert objective.at(latents(), seeded(), 0.0).level_B.tolist() == [1.0] * 4
    assert objective.at(latents(), seeded(), 0.75).level_B[0] == pytest.approx(0.25, abs=2e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_loss_of_a_ddpm(kind):
    clean, schedule = latents(), DdpmSchedule(prediction_type=kind)
    objective = DdpmObjective(schedule=schedule, snr_gamma=5.0)
    drawn = objective.draw(clean, seeded(1), Ranks())
    right = schedule.target(clean, drawn.noise_BCthw, drawn.level_B)
    variance = torch.full_like(clean, 7.0)
    predict, asked = oracle(torch.cat((right + 1.0, variance), dim=1))
    losses = objective.losses(predict, clean, drawn)
    torch.testing.assert_close(losses, schedule.loss_weight(drawn.level_B, 5.0), rtol=1e-4, atol=1e-4)
    assert asked[0][1].dtype == torch.int64
    half = DdpmObjective(schedule=schedule, count=500)
    assert max(int(half.draw(clean, seeded(n), Ranks()).level_B.max()) for n in range(50)) in range(450, 500)


def test_the_loss_with_a_variance_counts_only_made_frames():
    clean = latents()
    objective = VarianceObjective(loss=IddpmLoss(Iddpm()))
    drawn = objective.draw(clean, seeded(1), Ranks())
    mask = torch.tensor([[False, True, True]] * 4)
    wrong = drawn.noise_BCthw.clone()
    wrong[:, :, 0] += 100.0
    predict, asked = oracle(torch.cat((wrong, torch.zeros_like(wrong)), dim=1))
    losses = objective.losses(predict, clean, drawn, mask)
    assert float(losses.max()) < 10
    assert bool((objective.losses(predict, clean, drawn) > 1000).all())
    noisy, timestep, seen_mask = asked[0]
    assert torch.equal(seen_mask, mask)
    assert torch.equal(timestep, drawn.level_B)
    # Frames that are given have the noise of step 0.
    least = objective.loss.process.add_noise(clean, drawn.noise_BCthw, torch.zeros_like(drawn.level_B))
    assert torch.equal(noisy[:, :, 0], least[:, :, 0])


def test_signal_to_noise_weights_of_a_variance_loss():
    process = Iddpm(table_dtype="float64")
    clean, noise = latents(), latents(1)
    steps = torch.tensor([0, 100, 500, 999])
    sample = process.noised(clean, noise, steps)
    prediction = torch.cat((noise + 1, torch.zeros_like(noise)), dim=1)
    squared = IddpmLoss(process, weighting="min_snr", gamma=5.0)(prediction, sample).squared
    expected = DdpmSchedule().loss_weight(steps, 5.0)
    torch.testing.assert_close(squared.float(), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="gamma must be positive"):
        IddpmLoss(process, weighting="min_snr", gamma=0.0)
    with pytest.raises(ValueError, match="for a process that predicts noise"):
        IddpmLoss(Iddpm(predict_xstart=True), weighting="min_snr")


def test_errors_have_a_limit_and_changes_count():
    target = torch.zeros(SHAPE)
    broken = target.clone()
    broken[0, 0, 0, 0, 0] = 51.0
    assert float(sample_losses(broken, target, None, ErrorConfig()).sum()) == 0
    assert float(sample_losses(broken, target, None, ErrorConfig(limit=0.0))[0]) > 20
    prediction = latents()
    mean = sample_losses(prediction, target, None, ErrorConfig()).mean()
    torch.testing.assert_close(mean, limited_mse(prediction, target))
    still = torch.ones(SHAPE)
    assert sample_losses(still, target, None, ErrorConfig(motion_share=0.25)).tolist() == [0.75] * 4
    moving = prediction.diff(dim=2).square().mean(dim=(1, 2, 3, 4))
    both = 0.75 * sample_losses(prediction, target, None, ErrorConfig()) + 0.25 * moving
    torch.testing.assert_close(sample_losses(prediction, target, None, ErrorConfig(motion_share=0.25)), both)
    two = sample_losses(still[:, :, :2], target[:, :, :2], None, ErrorConfig(motion_share=0.25))
    assert two.tolist() == [1.0] * 4


def test_every_release_has_its_loss():
    configs = {**MMDIT, **PIXART, **HUNYUAN3D, **STDIT}
    found = {name: released_loss(config) for name, config in configs.items()}
    for name, loss in found.items():
        generation = name.split("-")[0]
        open_sora = name in STDIT
        wanted = (
            "iddpm" if open_sora else {"v4": "ddpm", "v5": "ddpm", "v5.1": "flow"}.get(generation, "sigma")
        )
        assert loss == wanted, name
        objective = make_objective(ObjectiveConfig(), configs[name], traits_of(configs[name]).schedule)
        assert math.isfinite(float(objective.at(torch.zeros(SHAPE), seeded(), 0.5).level_B[0]))


V51, V5, V1, OPEN_SORA = MMDIT["v5.1-7b-inp"], MMDIT["v5-7b-inp"], PIXART["v1-t2v"], STDIT["v1.1"]


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (V51, {"loss": "ddpm"}, r"objective\.loss 'ddpm' does not fit the model, whose schedule is flow"),
        (V5, {"loss": "flow"}, r"'flow' does not fit the model, whose schedule is ddpm of v_prediction"),
        (V5, {"loss": "sigma"}, r"'sigma' does not fit the model, whose schedule is ddpm of v_prediction"),
        (OPEN_SORA, {"loss": "ddpm"}, r"'ddpm' does not fit the model, whose schedule is iddpm"),
        (V51, {"snr_gamma": 5.0}, r"objective\.snr_gamma is no setting of the loss 'flow'"),
        (V5, {"shift": 3.0}, r"objective\.shift is no setting of the loss 'ddpm'"),
        (V1, {"errors": ErrorConfig(limit=1.0)}, r"objective\.errors is no setting of the loss 'sigma'"),
        (V5, {"timesteps": 2000}, r"objective\.timesteps must be at most 1000, the model's, got 2000"),
        (
            V5,
            {"levels": LevelConfig(density="speed")},
            "density 'speed' is for the losses 'sigma' and 'iddpm'",
        ),
    ],
)
def test_losses_that_do_not_fit(config, values, message):
    with pytest.raises(ValueError, match=message):
        make_objective(ObjectiveConfig(**values), config, traits_of(config).schedule)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ObjectiveConfig, {"shift": -1.0}, r"objective\.shift must be at least 0, got -1\.0"),
        (LevelConfig, {"std": 0.0}, r"objective\.levels\.std must be above 0"),
        (NoiseConfig, {"share_in_frames": 1.5}, r"objective\.noise\.share_in_frames must be from 0 to 1"),
        (NoiseConfig, {"offset": -0.1}, r"objective\.noise\.offset must be at least 0"),
        (ErrorConfig, {"limit": -1.0}, r"objective\.errors\.limit must be at least 0"),
        (ErrorConfig, {"channel_weights": (0.0, 0.0)}, r"channel_weights must be numbers from 0"),
    ],
)
def test_settings_that_cannot_be_meant(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)


def test_channel_weights_are_as_many_as_channels():
    with pytest.raises(ValueError, match="channel weights must be 2 numbers, got 3"):
        sample_losses(latents(), latents(1), None, ErrorConfig(channel_weights=(1.0, 1.0, 2.0)))


def test_what_is_drawn_is_a_function_of_the_generator():
    for objective in (
        FlowObjective(flow=FLOW),
        DdpmObjective(schedule=DdpmSchedule()),
        VarianceObjective(loss=IddpmLoss(Iddpm()), levels=LevelConfig(density="speed")),
    ):
        first, again, other = (objective.draw(latents(), seeded(seed), Ranks()) for seed in (1, 1, 2))
        assert isinstance(first, Drawn)
        assert torch.equal(first.noise_BCthw, again.noise_BCthw)
        assert torch.equal(first.level_B, again.level_B)
        assert not torch.equal(first.noise_BCthw, other.noise_BCthw)
