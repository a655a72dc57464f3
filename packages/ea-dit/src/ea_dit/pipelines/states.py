"""How far a run is, between two steps: enough to go on in another process and end with the same frames.

What is not kept is computed again, and gives the same: texts, conditions, and the frames of windows that are
done, which are decoded from their latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ea_dit.diffusion.loop import LoopState
from ea_dit.pipelines.teacache import SkipState


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """How far a window is; a video without windows has one.

    Attributes:
        window: Its number.
        windows: How many the video has.
        total: Model calls that it takes.
        loop: Of its denoising loop; of a window that is done its latents are those to decode.
        finished: Whether only decoding is left.
        noise: State of the request's generator; None where draws come from elsewhere, and then nothing can
            go on from here.
        skipping: What leaving out steps needs to go on, and which were; None where all are run.
        path: The end of its latents before every call, for a next window that is held on it; mostly empty.
    """

    window: int
    windows: int
    total: int
    loop: LoopState
    finished: bool
    noise: Tensor | None
    path: tuple[Tensor, ...] = ()
    skipping: SkipState | None = None


def check_states(states: Sequence[WindowState], windows: int) -> None:
    """Refuses states that are not those of a run with so many windows.

    Raises:
        ValueError: Saying what does not fit.
    """
    if [state.window for state in states] != list(range(len(states))):
        raise ValueError("resume must hold the states of the first windows, in order")
    if any(state.windows != windows for state in states):
        raise ValueError(f"resume must be of a video in {windows} windows, got {states[0].windows}")
    if any(not state.finished for state in states[:-1]):
        raise ValueError("resume must hold windows that are done, and one more at most")
    if any(state.noise is None for state in states):
        raise ValueError("resume must hold the state of the noise: draws from elsewhere cannot be continued")


def all_finished(states: Sequence[WindowState], windows: int) -> bool:
    """Whether only decoding is left of a run."""
    return len(states) == windows and all(state.finished for state in states)
