"""TeaCache: steps whose blocks are left out because little changes. An approximation, off unless asked for.

Where the modulated input of the first block changes little from step to step, so does what all blocks add to
the tokens. Relative changes are added up, each through a polynomial that was fitted to the network; as long
as the sum is below a threshold, the blocks' last addition is used again. Source: Liu et al. 2024 (arXiv
2411.19108), and EasyAnimate's version of it, which spans the last norm too. L video tokens, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ea_dit.blocks.shortcut import Shortcut

CurveName = Literal["released", "identity"]
IDENTITY = (1.0, 0.0)
"""A polynomial for networks that none was fitted to: rough, since outputs may move more than inputs."""


@dataclass(frozen=True)
class Skipping:
    """How steps are left out.

    Attributes:
        threshold: The sum of changes from which on blocks are run.
        curve: Coefficients of the polynomial, the highest power first.
        start: Steps at the beginning that are always run, at least 1.
    """

    threshold: float
    curve: tuple[float, ...]
    start: int = 1


@dataclass(frozen=True)
class SkipState:
    """What is known between two steps: a run that starts from it ends as one that never stopped.

    Attributes:
        skipped: Numbers of the model calls so far whose blocks were left out.
        distance: Sum of changes since blocks were run.
        signal_BLD: Of the call before; None before the first.
        added_BLD: What blocks added when they were run last.
    """

    skipped: tuple[int, ...] = ()
    distance: float = 0.0
    signal_BLD: Tensor | None = None
    added_BLD: Tensor | None = None

    def finished(self) -> "SkipState":
        """What is left to tell when all steps are done."""
        return SkipState(self.skipped)

    def to(self, device: torch.device) -> "SkipState":
        """The same with its tensors on a device."""
        signal, added = (
            None if tensor is None else tensor.to(device) for tensor in (self.signal_BLD, self.added_BLD)
        )
        return replace(self, signal_BLD=signal, added_BLD=added)


class StepCache:
    """Decides for every step of one window, and remembers what the next decision needs.

    Args:
        skipping: How steps are left out.
        state: Where to go on.
    """

    def __init__(self, skipping: Skipping, state: SkipState | None = None) -> None:
        self._skipping = skipping
        self.state = SkipState() if state is None else state
        """After the last call; never changed in place."""

    def at(self, index: int, total: int) -> Shortcut:
        """The decision of a model call, the first being 0 and the last `total` - 1, which are always run."""
        forced = index < self._skipping.start or index == total - 1

        def shortcut(tokens_BLD: Tensor, signal: Callable[[], Tensor], run: Callable[[], Tensor]) -> Tensor:
            before, now_BLD = self.state, signal()
            distance = 0.0 if forced else before.distance + self._change(now_BLD, before.signal_BLD)
            if before.added_BLD is not None and not forced and distance < self._skipping.threshold:
                skipped = (*before.skipped, index)
                self.state = replace(before, skipped=skipped, distance=distance, signal_BLD=now_BLD)
                return tokens_BLD + before.added_BLD
            made_BLD = run()
            self.state = SkipState(before.skipped, 0.0, now_BLD, made_BLD - tokens_BLD)
            return made_BLD

        return shortcut

    def _change(self, now_BLD: Tensor, before_BLD: Tensor | None) -> float:
        """The change of the signal, through the polynomial; guided halves count together."""
        assert before_BLD is not None, "the first step is always run"
        apart = (now_BLD - before_BLD).abs().float().mean() / before_BLD.abs().float().mean()
        change = apart.item()
        total = 0.0
        for coefficient in self._skipping.curve:
            total = total * change + coefficient
        return total
