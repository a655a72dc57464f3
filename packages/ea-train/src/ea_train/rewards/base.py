"""What a reward is, and several of them as one loss. B batch, T frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Reward(Protocol):
    """Any callable of this form is a reward; it has to be differentiable with respect to the frames."""

    def __call__(self, frames_B3THW: Tensor, prompts: Sequence[str]) -> Tensor:
        """Judge videos.

        Args:
            frames_B3THW: Float32 RGB in 0 ... 1.
            prompts: What each video should show.

        Returns:
            Scores (B,), larger for better videos.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """One reward.

    Attributes:
        name: One of `ea_train.rewards.build.HEADS`, or `module:function` or `file.py:function`.
        weight: Of its loss among those of other rewards.
        best: The score that is aimed at, the loss is the distance to it; None: the loss is minus the score.
        encoder: Of heads of the hub: folder of the CLIP or SigLIP model with its tokenizer, or
            `owner/name@commit` of the hub.
        head: Of heads of the hub: weight file, or `owner/name@commit:file`.
        allow_pickle: Accept these in pickles, read without running code.
    """

    name: str
    weight: float = 1.0
    best: float | None = None
    encoder: str = ""
    head: str = ""
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        """Refuse a reward without a name or with a weight that turns it around."""
        if not self.name:
            raise ValueError("rewards: name must not be empty")
        if self.weight <= 0:
            raise ValueError(f"rewards: weight of {self.name} must be above 0, got {self.weight}")


class RewardMix:
    """Several rewards.

    Args:
        rewards: With their settings, by the name that figures have.
    """

    def __init__(self, rewards: Mapping[str, tuple[Reward, RewardConfig]]) -> None:
        self._rewards = dict(rewards)

    def scores(self, frames_B3THW: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Scores (B,) by name.

        Raises:
            ValueError: A reward gives something else than one number for each video.
        """
        found: dict[str, Tensor] = {}
        for name, (reward, _) in self._rewards.items():
            scores = reward(frames_B3THW, prompts)
            if not isinstance(scores, Tensor) or scores.shape != (len(prompts),):
                shown = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ValueError(f"reward {name} must give a tensor of shape [{len(prompts)}], got {shown}")
            found[name] = scores.float()
        return found

    def loss(self, scores: Mapping[str, Tensor]) -> Tensor:
        """What training lowers, a scalar.

        Raises:
            ValueError: No score depends on the frames: nothing could be learned.
        """
        if torch.is_grad_enabled() and not any(one.requires_grad for one in scores.values()):
            raise ValueError(
                f"no gradient: reward {', '.join(scores)} is not differentiable with respect to the frames"
            )
        parts: list[Tensor] = []
        for name, (_, config) in self._rewards.items():
            distance = -scores[name] if config.best is None else (scores[name] - config.best).abs()
            parts.append(config.weight * distance.mean())
        return torch.stack(parts).sum()

    def total(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of the scores of each video, (B,)."""
        return torch.stack([config.weight * scores[name] for name, (_, config) in self._rewards.items()]).sum(
            0
        )
