"""The teacher's path, its steps, the student's jumps."""

import pytest
import torch

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Iddpm, Memory, sampler_for
from ea_train.objectives.consistency import distance, guided, teacher_path

V5 = DdpmSchedule(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
)
V4 = DdpmSchedule(prediction_type="epsilon")
SHAPE = (3, 2, 2, 4, 4)


def _random(*seeds):
    return [torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in seeds]


def test_the_points_of_a_ddpm_are_those_of_lcm():
    path = teacher_path(V5, 50, scaling=10.0)
    assert path.timesteps.tolist() == [0, *range(19, 1000, 20)]
    assert torch.allclose(path.alphas**2 + path.sigmas**2, torch.ones(51))
    assert torch.allclose(path.alphas[1:] ** 2, V5.alphas_cumprod[path.timesteps[1:]], atol=1e-6)
    # The sampler of distilled models visits points of this path.
    visited = sampler_for(V5, "LCM", 4).timesteps
    assert set(visited.tolist()) <= set(path.timesteps.tolist())


def test_the_points_of_a_flow_end_at_the_clean_latents():
    flow = FlowMatching()
    path = teacher_path(flow, 50, scaling=10.0)
    assert torch.equal(path.sigmas.flip(0), flow.sigmas(50))
    assert (path.sigmas[0], path.alphas[0]) == (0, 1)
    visited = sampler_for(flow, "Flow_LCM", 4).timesteps
    assert all(bool(torch.isclose(path.timesteps, value).any()) for value in visited)


@pytest.mark.parametrize("schedule", [V5, V4, FlowMatching()])
def test_the_teacher_steps_as_the_sampler_does(schedule):
    path = teacher_path(schedule, 10, scaling=10.0)
    latents, prediction = _random(0, 1)
    points = torch.tensor([10, 10, 10])
    found = path.step(prediction, latents, points)
    if isinstance(schedule, FlowMatching):
        sampler = sampler_for(schedule, "Flow", 10)
        expected, _ = sampler.step(0, latents, prediction, Memory(), None)
    else:
        before, after = (schedule.levels(path.timesteps[p].expand(3), latents) for p in (10, 9))
        alpha, sigma = before
        if schedule.prediction_type == "epsilon":
            clean, noise = (latents - sigma * prediction) / alpha, prediction
        else:
            clean, noise = alpha * latents - sigma * prediction, alpha * prediction + sigma * latents
        expected = after.alpha * clean + after.sigma * noise
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("schedule", [V5, FlowMatching()])
def test_a_jump_from_the_first_point_is_what_was_given(schedule):
    path = teacher_path(schedule, 10, scaling=10.0)
    latents, prediction = _random(0, 1)
    assert torch.allclose(
        path.jump(prediction, latents, torch.zeros(3, dtype=torch.long)), latents, atol=1e-6
    )
    far = path.jump(prediction, latents, torch.full((3,), 10))
    level = path.level(torch.full((3,), 10), latents)
    clean = (
        latents - level.sigma * prediction
        if path.kind == "flow"
        else level.alpha * latents - level.sigma * prediction
    )
    assert torch.allclose(far, clean, atol=1e-4)


@pytest.mark.parametrize("schedule", [V5, V4, FlowMatching()])
def test_a_network_that_knows_the_answer_has_no_loss(schedule):
    """Predictions of one clean clip and one noise agree along the whole path, wherever a jump starts."""
    path = teacher_path(schedule, 10, scaling=10.0)
    clean, noise = _random(2, 3)
    points = torch.tensor([2, 5, 9])

    def answer(points_B):
        level = path.level(points_B, clean)
        if path.kind == "epsilon":
            return noise
        return noise - clean if path.kind == "flow" else level.alpha * noise - level.sigma * clean

    noisy = path.noisy(clean, noise, points)
    before = path.step(answer(points), noisy, points)
    assert torch.allclose(before, path.noisy(clean, noise, points - 1), atol=1e-4)
    one = path.jump(answer(points), noisy, points)
    other = path.jump(answer(points - 1), before, points - 1)
    assert distance(one, other, "l2", 0.0).max() < 1e-6


def test_distances():
    first, second = torch.zeros(2, 3), torch.tensor([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    assert distance(first, second, "l2", 0.0).tolist() == [9.0, 0.0]
    assert distance(first, second, "huber", 4.0).tolist() == [1.0, 0.0]


def test_guidance_counts_from_zero():
    positive, negative = _random(0, 1)
    found = guided(positive, negative, torch.tensor([0.0, 1.0, 6.5]))
    assert torch.allclose(found[0], positive[0], atol=1e-6)
    assert torch.allclose(found[2], positive[2] + 6.5 * (positive[2] - negative[2]), atol=1e-4)


def test_what_has_no_path_is_refused():
    with pytest.raises(ValueError, match=r"task\.num_ddim_timesteps must be from 1 to 1000, got 1001"):
        teacher_path(V5, 1001, scaling=10.0)
    with pytest.raises(ValueError, match="epsilon cannot be distilled from pure noise"):
        teacher_path(DdpmSchedule(rescale_betas_zero_snr=True), 50, scaling=10.0)
    with pytest.raises(ValueError, match="knows DDPM and flow schedules"):
        teacher_path(Iddpm(), 50, scaling=10.0)
