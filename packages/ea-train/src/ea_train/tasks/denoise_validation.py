"""How held-out samples are judged: the same ones, the same noise, the same noise levels every time."""

from dataclasses import dataclass

from torch import Tensor

_NORMAL_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Noise of a validation.

    Attributes:
        positions: Places of the schedule, each in [0, 1), at which every sample is judged; empty draws one
            per sample as training does.
        seed: Of the noise.
    """

    positions: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse places outside the schedule."""
        if any(not 0 <= position < 1 for position in self.positions):
            raise ValueError(f"validation.positions must be from 0 to below 1, got {list(self.positions)}")


def mean_and_interval(losses_N: Tensor) -> dict[str, float]:
    """The mean of the losses of N samples, and how far it may be off.

    Args:
        losses_N: One per sample.

    Returns:
        `val/loss`, and from two samples on `val/loss_interval`: the mean of other samples of the same kind
        lies within plus and minus this in 95 of 100 cases.
    """
    figures = {"val/loss": float(losses_N.mean())}
    if len(losses_N) > 1:
        figures["val/loss_interval"] = _NORMAL_95 * float(losses_N.std()) / len(losses_N) ** 0.5
    return figures
