"""Token budgets: how many frames a clip may have at a size, so that all sizes cost about the same.

The budget of a run is `num_frames` x `token_size`², in pixels: a clip of `num_frames` at `token_size` uses it
up, a larger one gets fewer frames. Source: the released training of EasyAnimate and its documentation.
"""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "FrameGrid",
    "Rule",
    "batch_repeat",
    "budget_sides",
    "frame_table",
    "sides",
]

Rule = Literal["documented", "original"]
_SIDE_STEP = 128
_MAX_STEP = 10_000


@dataclass(frozen=True)
class FrameGrid:
    """Lengths of clips that an autoencoder encodes as they are.

    Attributes:
        step: Frames that one latent frame stands for: 4 in V5 and V5.1, 8 or 9 in V2 to V4.
        causal: Whether the first frame stands alone, so that lengths are n x step + 1 and not n x step.
    """

    step: int = 4
    causal: bool = True

    def __post_init__(self) -> None:
        """Refuses a step below 1, or one that no clip is long enough for."""
        if not 1 <= self.step <= _MAX_STEP:
            raise ValueError(f"step is {self.step}; allowed: 1 to {_MAX_STEP} frames")

    def fit(self, frames: float) -> int:
        """The longest length within `frames`; at least 1, since every autoencoder takes a picture."""
        alone = int(self.causal)
        return max(int((frames - alone) // self.step) * self.step + alone, 1)

    def lengths(self, frames: int) -> tuple[int, ...]:
        """All lengths up to `frames` with at least one whole step, ascending; (1,) if there is none."""
        alone = int(self.causal)
        return tuple(range(self.step + alone, frames + 1, self.step)) or (1,)


def sides(video_size: int, image_size: int) -> tuple[int, ...]:
    """Sides that clips are trained at: from the size of videos in steps of 128 to the size of images.

    Raises:
        ValueError: A size below 1.
    """
    if min(video_size, image_size) < 1:
        raise ValueError(f"sizes are {video_size} and {image_size}; allowed: 1 or more")
    if image_size <= video_size:
        return (image_size,)
    return _steps(video_size, image_size)


def budget_sides(token_size: int) -> tuple[int, ...]:
    """Sides of which ranks draw one with `keep_all_node_same_token_length`: 256, 384, ... `token_size`."""
    return _steps(256, token_size) if token_size > 256 else (256,)


def frame_table(
    *,
    video_size: int,
    image_size: int,
    token_size: int,
    num_frames: int,
    grid: FrameGrid | None = None,
    rule: Rule = "documented",
) -> dict[int, int]:
    """Frames that the budget allows at each of `sides`.

    Args:
        video_size: Smallest side.
        image_size: Largest side.
        token_size: Side at which `num_frames` use up the budget.
        num_frames: The most frames at any side.
        grid: Lengths that the autoencoder takes.
        rule: "documented" stays within the budget and gives the numbers of EasyAnimate's documentation (49
            frames at 512 allow 21 at 768 and 9 at 1024). "original" is what its program computes: for a
            causal autoencoder it adds the first frame without having counted it (13 at 1024).

    Returns:
        Side to frames, sides ascending.

    Raises:
        ValueError: A number below 1, or an unknown rule.
    """
    grid = grid or FrameGrid()
    if min(token_size, num_frames) < 1:
        raise ValueError(f"token_size and num_frames are {token_size} and {num_frames}; allowed: 1 or more")
    if rule not in get_args(Rule):
        raise ValueError(f"rule is {rule!r}; allowed: {', '.join(get_args(Rule))}")
    budget = num_frames * token_size**2
    spare = int(grid.causal and rule == "original")
    return {
        side: grid.fit(min(budget / side**2, num_frames) + spare) for side in sides(video_size, image_size)
    }


def batch_repeat(frames: int, height: int, width: int, *, token_size: int, num_frames: int) -> int:
    """How often a small batch is repeated so that a step is not wasted on it: 4, 2 or 1 times.

    Args:
        frames: Of each sample.
        height: In pixels.
        width: In pixels.
        token_size: Side of the budget.
        num_frames: Frames of the budget.
    """
    pixels, budget = frames * height * width, num_frames * token_size**2
    if pixels <= budget // 16:
        return 4
    return 2 if pixels <= budget // 4 else 1


def _steps(first: int, last: int) -> tuple[int, ...]:
    found = tuple(range(first, last + 1, _SIDE_STEP))
    return found if found[-1] == last else (*found, last)
