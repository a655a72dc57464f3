"""Which steps of a sampler a reward teaches."""

import random
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["last", "tail", "uniform", "random"]


@dataclass(frozen=True, kw_only=True)
class BackpropConfig:
    """Choice of steps; the more, the more memory.

    Attributes:
        strategy: "last": the last step; "tail": the last `count`; "uniform": `count` at equal distances from
            a random one on; "random": any `count` of those from `random_start` to `random_end`.
        count: How many.
        steps: These instead, numbered from 0.
        random_start: First step that "random" draws from.
        random_end: Last one; beyond the run it is the run's last.
        stop_input_gradient: The network's input counts as given: a step learns from what it adds to the
            latents, not from what later steps make of them. Gradients of long chains explode less.
    """

    strategy: Strategy = "last"
    count: int = 5
    steps: tuple[int, ...] = ()
    random_start: int = 0
    random_end: int = 50
    stop_input_gradient: bool = False

    def __post_init__(self) -> None:
        """Refuse a choice of nothing."""
        if self.count < 1:
            raise ValueError(f"task.backprop.count must be at least 1, got {self.count}")
        if any(step < 0 for step in self.steps):
            raise ValueError(f"task.backprop.steps must not be negative, got {list(self.steps)}")
        if not 0 <= self.random_start <= self.random_end:
            raise ValueError(
                "task.backprop: must be 0 <= random_start <= random_end, got "
                f"{self.random_start} and {self.random_end}"
            )

    def check(self, total: int) -> None:
        """Refuse steps that a run of `total` steps does not have.

        Raises:
            ValueError: Naming the field.
        """
        if self.steps and max(self.steps) >= total:
            raise ValueError(f"task.backprop.steps must be below num_steps {total}, got {max(self.steps)}")
        if not self.steps and self.strategy != "last" and self.count > total:
            raise ValueError(f"task.backprop.count must be at most num_steps {total}, got {self.count}")
        drawn_from = min(self.random_end, total - 1) - self.random_start + 1
        if not self.steps and self.strategy == "random" and self.count > drawn_from:
            raise ValueError(
                f"task.backprop.count must be at most {max(drawn_from, 0)}, the steps from random_start to "
                f"random_end, got {self.count}"
            )

    def chosen(self, total: int, rng: random.Random) -> frozenset[int]:
        """Indices of the steps of a run that learn.

        Args:
            total: Steps of the run.
            rng: Source of chance.
        """
        if self.steps:
            return frozenset(self.steps)
        if self.strategy == "last":
            return frozenset((total - 1,))
        if self.strategy == "tail":
            return frozenset(range(total - self.count, total))
        if self.strategy == "uniform":
            width = total // self.count
            # Released code may draw a start whose last step lies beyond the run.
            start = rng.randint(0, min(width, total - 1 - (self.count - 1) * width))
            return frozenset(range(start, start + self.count * width, width))
        end = min(self.random_end, total - 1)
        return frozenset(rng.sample(range(self.random_start, end + 1), self.count))
