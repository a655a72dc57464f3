"""Losses of a network with a learned variance, and which steps Open-Sora's fast variant trains on.

Source: Nichol and Dhariwal 2021 (arXiv 2102.09672, section 3.1: the hybrid loss); Ho et al. 2020 (arXiv
2006.11239, section 3.3: the discretised decoder); loss weights Choi et al. 2022 (arXiv 2204.00227). B
batch, T frames.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ea_dit.diffusion.iddpm import Iddpm, Noised, at

_HALF_BIN = 1 / 255
_OPEN_BIN = 0.999
_LEAST_PROBABILITY = 1e-12


class LossTerms(NamedTuple):
    """Losses of every sample, each (B,).

    Attributes:
        loss: What training minimises.
        squared: Mean squared error of the prediction; None with kind "kl".
        bound: Of the variational bound, in bits per number.
    """

    loss: Tensor
    squared: Tensor | None
    bound: Tensor


@dataclass(frozen=True)
class IddpmLoss:
    """Squared error of the noise plus the variational bound, of which only the variance learns.

    Attributes:
        process: The steps.
        kind: "mse"; "rescaled_mse" (`rescale_learned_sigmas`: the bound times K / 1000); "kl" (`use_kl`: the
            bound alone, times K, from which everything learns).
        weighting: Of the squared error: "uniform"; "p2", 1 - a(t), as `iddpm-speed` has it; or "min_snr",
            gamma / SNR where the signal-to-noise ratio is above gamma, else 1 (arXiv 2303.09556).
        gamma: Of "min_snr".
    """

    process: Iddpm
    kind: Literal["mse", "rescaled_mse", "kl"] = "mse"
    weighting: Literal["uniform", "p2", "min_snr"] = "uniform"
    gamma: float = 5.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.kind not in ("mse", "rescaled_mse", "kl"):
            raise ValueError(f"kind must be 'mse', 'rescaled_mse' or 'kl', got {self.kind!r}")
        if self.weighting not in ("uniform", "p2", "min_snr"):
            raise ValueError(f"weighting must be 'uniform', 'p2' or 'min_snr', got {self.weighting!r}")
        if self.gamma <= 0:
            raise ValueError(f"gamma must be positive, got {self.gamma}")
        if self.weighting == "min_snr" and self.process.predict_xstart:
            raise ValueError("weighting 'min_snr' is for a process that predicts noise")

    def __call__(self, prediction: Tensor, sample: Noised) -> LossTerms:
        """Compares a prediction with what was hidden.

        Args:
            prediction: Noise, then variance.
            sample: As `Iddpm.noised` made it. Condition frames count in no loss; a sample of nothing else has
                loss 0 (in the released program not a number).

        Raises:
            ValueError: If the prediction has no variance, or kind "kl" is given a frame mask.
        """
        if self.kind == "kl":
            if sample.frame_mask is not None:
                raise ValueError("a loss of kind 'kl' takes no frame mask")
            bound = self._bound(prediction, sample)
            return LossTerms(bound * len(self.process), None, bound)
        predicted, position = prediction.float().chunk(2, dim=1)
        bound = self._bound(torch.cat((predicted.detach(), position), dim=1), sample)
        if self.kind == "rescaled_mse":
            bound = bound * (len(self.process) / 1000)
        target = sample.clean if self.process.predict_xstart else sample.noise
        error = (target - predicted).square()
        if self.weighting != "uniform":
            error = error * at(self._weights, sample.steps, error)
        squared = _mean_by_sample(error, sample.frame_mask)
        return LossTerms(squared + bound, squared, bound)

    @cached_property
    def _weights(self) -> Tensor:
        """Of the squared error at every step, (K,)."""
        kept = self.process.tables.kept
        if self.weighting == "p2":
            return 1 - kept
        return self.gamma / (kept / (1 - kept)).clamp(min=self.gamma)

    def _bound(self, prediction: Tensor, sample: Noised) -> Tensor:
        process, steps = self.process, sample.steps
        true_mean, true_log_variance = process.posterior(sample.clean, sample.noisy, steps)
        estimate = process.estimate(prediction, sample.noisy, steps)
        divergence = gaussian_divergence(true_mean, true_log_variance, estimate.mean, estimate.log_variance)
        decoder = -discretised_log_likelihood(sample.clean, estimate.mean, estimate.log_variance / 2)
        divergence, decoder = (
            _mean_by_sample(part, sample.frame_mask) / math.log(2) for part in (divergence, decoder)
        )
        return torch.where(steps.to(divergence.device) == 0, decoder, divergence)


def gaussian_divergence(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor
) -> Tensor:
    """KL divergence of one normal distribution from another, in nats, elementwise."""
    spread = other_log_variance - log_variance + (log_variance - other_log_variance).exp()
    return 0.5 * (spread - 1 + (mean - other_mean).square() * (-other_log_variance).exp())


def discretised_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-probability of the bin that x lies in, of 255 bins over -1 ... 1 whose outer ones are open."""
    centred, sharpness = x - mean, (-log_scale).exp()
    below_upper = _normal_cdf(sharpness * (centred + _HALF_BIN))
    below_lower = _normal_cdf(sharpness * (centred - _HALF_BIN))
    inside = torch.where(x < -_OPEN_BIN, below_upper, below_upper - below_lower)
    inside = torch.where(x > _OPEN_BIN, 1 - below_lower, inside)
    return inside.clamp(min=_LEAST_PROBABILITY).log()


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation that the released losses use."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


def _mean_by_sample(x_BCTHW: Tensor, frame_mask_BT: Tensor | None) -> Tensor:
    if frame_mask_BT is None:
        return x_BCTHW.flatten(1).mean(dim=1)
    mask_BT = frame_mask_BT.to(x_BCTHW)
    per_frame_BT = x_BCTHW.mean(dim=(1, 3, 4))
    return (per_frame_BT * mask_BT).sum(dim=1) / mask_BT.sum(dim=1).clamp(min=1)


@dataclass(frozen=True)
class SpeedSampling:
    """Steps that `iddpm-speed` trains on: mostly those where the noise level changes fast.

    Half of a batch, and one more, is drawn: steps where sqrt(1 - a) grows by more than `threshold` have five
    times the weight of the others. Each draw t has a partner: the number of meaningful steps minus t, without
    sign.

    Attributes:
        process: The steps.
        threshold: Growth per step.
        least: Steps count as meaningful up to the first that grows by less.
    """

    process: Iddpm
    threshold: float = 1e-4
    least: float = 5e-5

    @cached_property
    def _growth(self) -> Tensor:
        # The switch between the weights magnifies the last bit of a float32 root, in which machines differ.
        level = (1 - self.process.tables.kept).double().sqrt().to(self.process.tables.kept)
        (growth,) = torch.gradient(level)
        return growth

    @cached_property
    def weights(self) -> Tensor:
        """Probability of every step, (K,), sum 1; a steep tanh switches between the two levels."""
        weights = torch.tanh(1e6 * (self._growth - self.threshold)) + 1.5
        return weights / weights.sum()

    @cached_property
    def meaningful(self) -> int:
        """Number of meaningful steps, 700 of the released 1000."""
        slow = (self._growth < self.least).nonzero()
        return int(slow[0]) + 1 if len(slow) else len(self.process)

    def partner(self, steps: Tensor) -> Tensor:
        """The step that goes with each of the given ones."""
        return (self.meaningful - steps).abs()

    def sample(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draws steps.

        Args:
            batch: How many.
            generator: A CPU generator.

        Returns:
            (batch,) int64 on the CPU: the draws, then their partners.
        """
        draws = torch.multinomial(self.weights, batch // 2 + 1, replacement=True, generator=generator)
        return torch.cat((draws, self.partner(draws)))[:batch]
