"""Positions, weights and the loss of flow training: what they refuse, and what records do not show."""

import pytest
import torch

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.flow_training import flow_levels, limited_mse, loss_weight, mode_positions


@pytest.mark.parametrize("u", [-0.001, 1.0, float("nan")])
def test_positions_outside_are_refused(u):
    with pytest.raises(ValueError, match="allowed: 0 up to, not including, 1"):
        flow_levels(FlowMatching(), torch.tensor([0.5, u]))


def test_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match=r"weighting_scheme is 'sqrt'; allowed: none, sigma_sqrt, cosmap"):
        loss_weight(torch.ones(1), "sqrt")


def test_the_schedule_falls_from_pure_noise():
    levels = flow_levels(FlowMatching(), torch.linspace(0, 0.9999, 1000))
    assert levels.sigmas[0] == 1
    assert bool((levels.sigmas.diff() <= 0).all())
    assert torch.equal(levels.timesteps, levels.sigmas * 1000)


def test_the_mode_scheme_prefers_the_middle():
    u = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    drawn = mode_positions(u, 1.29)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    middle = ((drawn > 0.4) & (drawn < 0.6)).float().mean()
    assert middle > 0.25 > 0.2


def test_broken_elements_do_not_reach_the_gradient():
    prediction = torch.tensor([1.0, 100.0, float("inf")], requires_grad=True)
    loss = limited_mse(prediction, torch.zeros(3))
    loss.backward()
    assert loss.item() == pytest.approx(1 / 3)
    assert prediction.grad[0].item() == pytest.approx(2 / 3)
    assert prediction.grad[1].item() == 0


def test_the_loss_is_computed_in_float32():
    prediction = torch.full((4096,), 0.1, dtype=torch.bfloat16)
    loss = limited_mse(prediction, torch.zeros_like(prediction))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(prediction[0]) ** 2, rel=1e-5)
