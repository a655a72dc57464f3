"""What a mask strategy does to each clip of a video.

A video is made in loops. Every loop makes a clip of T frames; from the second on, the last frames of the
clip before are the first ones of the next and are not shown again. Frames are those of the video, which are
those of its latents too where the autoencoder leaves their number as it is, as Open-Sora's does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.mask_strategy.language import MAX_COUNT, Group, MaskStrategy

__all__ = [
    "CONDITION_FRAMES",
    "LoopPlan",
    "Placement",
    "plan_loop",
    "plan_loops",
    "total_frames",
]

CONDITION_FRAMES: Final = 4
"""Frames that a clip takes over from the one before, unless said otherwise."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Frames of a reference that are put into a clip; all indexes count from the start.

    Attributes:
        reference: Index among the references given, followed by the clips of the loops before.
        source_start: First frame of the reference.
        source_length: The same as `target_length`; or 1, and this frame is repeated.
        target_start: First frame of the clip.
        target_length: Number of frames of the clip.
        edit_ratio: 0 keeps them, 1 makes them anew.
    """

    reference: int
    source_start: int
    source_length: int
    target_start: int
    target_length: int
    edit_ratio: float

    def source_of(self, frame: int) -> int:
        """The frame of the reference that goes to a frame of the clip."""
        return self.source_start + min(frame - self.target_start, self.source_length - 1)


@dataclass(frozen=True, kw_only=True)
class LoopPlan:
    """What is given to the clip of one loop.

    Attributes:
        loop: 0 ...
        frames: T, the length of the clip.
        placements: In order; where two meet, the later one wins.
        overlap: Number of its first frames that the clip before has shown.
    """

    loop: int
    frames: int
    placements: tuple[Placement, ...] = ()
    overlap: int = 0

    def edit_ratios(self) -> NDArray[np.float32]:
        """(T): how far each frame is made anew, 0 (kept) ... 1 (made; also where nothing is put)."""
        ratios = np.ones(self.frames, dtype=np.float32)
        for placement in self.placements:
            ratios[_target(placement)] = placement.edit_ratio
        return ratios

    def kept_frames(self) -> NDArray[np.bool_]:
        """(T): which frames stay as they are, for models that keep a frame or make it.

        Raises:
            ValueError: A frame is changed in part.
        """
        ratios = self.edit_ratios()
        partial = np.flatnonzero((ratios > 0) & (ratios < 1))
        if partial.size:
            frame = int(partial[0])
            raise ValueError(
                f"loop {self.loop}: the edit ratio of frame {frame} is {ratios[frame]:g}; allowed for this "
                "model: 0 or 1"
            )
        return ratios == 0

    def sources(self) -> tuple[tuple[int, int] | None, ...]:
        """For each of T frames the reference and its frame, or None where nothing is put."""
        found: list[tuple[int, int] | None] = [None] * self.frames
        for placement in self.placements:
            for frame in range(self.frames)[_target(placement)]:
                found[frame] = (placement.reference, placement.source_of(frame))
        return tuple(found)

    def placed(self, canvas: NDArray[Any], references: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Put the frames of references into a clip.

        Args:
            canvas: (T, ...): what is there where nothing is put, such as zeros.
            references: Each (F, ...); the ones given, followed by the clips of the loops before.

        Returns:
            (T, ...): a copy of the canvas with the frames in it.

        Raises:
            ValueError: The canvas has another number of frames, a frame another shape, or a reference is
                missing or too short.
        """
        if len(canvas) != self.frames:
            raise ValueError(f"the canvas has {len(canvas)} frames; allowed: {self.frames}, as planned")
        clip = canvas.copy()
        for frame, source in enumerate(self.sources()):
            if source is None:
                continue
            reference, place = source
            if reference >= len(references) or place >= len(references[reference]):
                raise ValueError(f"frame {place} of reference {reference} is planned; it is not there")
            given = references[reference][place]
            if given.shape != clip.shape[1:]:
                raise ValueError(
                    f"frames of reference {reference} are {given.shape}; allowed: {clip.shape[1:]}"
                )
            clip[frame] = given
        return clip


def plan_loops(
    strategy: MaskStrategy | None,
    *,
    frames: int,
    reference_lengths: Sequence[int] = (),
    loops: int = 1,
    condition_frames: int = CONDITION_FRAMES,
) -> tuple[LoopPlan, ...]:
    """Plan all clips of a video.

    From the second loop on, the last `condition_frames` of the clip before come first, with edit ratio 0;
    they win over what the strategy puts there. Earlier clips count as references after the ones given.

    Args:
        strategy: None puts nothing.
        frames: T, the length of every clip.
        reference_lengths: Number of frames of each reference given; 1 for a picture.
        loops: Number of clips.
        condition_frames: 0 ... T - 1; 0 makes clips that know nothing of each other. Of no use for one loop.

    Returns:
        One plan per loop.

    Raises:
        ValueError: A count is out of range, a group is for a loop that is not there, or puts frames that are
            not there; one line.
    """
    _check_counts(frames, reference_lengths)
    if not 1 <= loops <= MAX_COUNT:
        raise ValueError(f"loops is {loops}; allowed: 1 to {MAX_COUNT}")
    if loops > 1 and not 0 <= condition_frames < frames:
        raise ValueError(
            f"condition_frames is {condition_frames}; allowed: 0 to {frames - 1}, less than a clip has"
        )
    groups = () if strategy is None else strategy.groups
    for group in groups:
        if group.loop >= loops:
            there = "there is 1 loop" if loops == 1 else f"there are {loops} loops"
            raise ValueError(f"mask strategy {group.to_text()}: loop {group.loop} is not there; {there}")
    lengths = tuple(reference_lengths)
    return tuple(_continued(groups, loop, frames, lengths, condition_frames) for loop in range(loops))


def plan_loop(
    strategy: MaskStrategy | None, loop: int, *, frames: int, reference_lengths: Sequence[int]
) -> LoopPlan:
    """Plan one clip by what a strategy says of its loop, and nothing else.

    Args:
        strategy: None puts nothing.
        loop: Whose groups apply, 0 ...
        frames: T, the length of the clip.
        reference_lengths: Number of frames of each reference.

    Raises:
        ValueError: A count is out of range, or a group puts frames that are not there; one line.
    """
    _check_counts(frames, reference_lengths)
    if loop < 0:
        raise ValueError(f"loop is {loop}; allowed: 0 or more")
    groups = () if strategy is None else strategy.in_loop(loop)
    return LoopPlan(
        loop=loop, frames=frames, placements=_placements(groups, frames, tuple(reference_lengths), 0)
    )


def total_frames(plans: Sequence[LoopPlan]) -> int:
    """Length of the video: every clip without what the clip before has shown."""
    return sum(plan.frames - plan.overlap for plan in plans)


def _continued(
    groups: tuple[Group, ...], loop: int, frames: int, lengths: tuple[int, ...], condition_frames: int
) -> LoopPlan:
    """The plan of a loop, which begins with the end of the clip before; each loop before made one clip."""
    overlap = condition_frames if loop else 0
    own = tuple(group for group in groups if group.loop == loop)
    if overlap:
        own += (Group(loop=loop, reference=-1, source_start=-overlap, length=overlap),)
    return LoopPlan(
        loop=loop, frames=frames, placements=_placements(own, frames, lengths, loop), overlap=overlap
    )


def _placements(
    groups: tuple[Group, ...], frames: int, lengths: tuple[int, ...], clips: int
) -> tuple[Placement, ...]:
    """What groups put into a clip of `frames` frames, when `clips` of that length were made before."""
    found: list[Placement] = []
    for group in groups:
        reference = _reference(group, len(lengths) + clips)
        available = lengths[reference] if reference < len(lengths) else frames
        if group.length:
            found.append(_placement(group, frames, reference, available))
    return tuple(found)


def _placement(group: Group, frames: int, reference: int, available: int) -> Placement:
    source_length = 1 if available == 1 else group.length
    source_start = _start(group, group.source_start, source_length, available, f"reference {reference}")
    return Placement(
        reference=reference,
        source_start=source_start,
        source_length=source_length,
        target_start=_start(group, group.target_start, group.length, frames, "the clip"),
        target_length=group.length,
        edit_ratio=group.edit_ratio,
    )


def _reference(group: Group, count: int) -> int:
    """The index of the reference, counted from the start."""
    if -count <= group.reference < count:
        return group.reference % count
    there = {0: "there is none", 1: "there is 1"}.get(count, f"there are {count}")
    before = ", clips made before included" if group.loop else ""
    raise _error(group, f"reference {group.reference} is not there; {there}{before}")


def _start(group: Group, start: int, length: int, available: int, what: str) -> int:
    """The first frame, counted from the start; all frames must be there."""
    first = start + available if start < 0 else start
    if first < 0 or first + length > available:
        has = "1 frame" if available == 1 else f"{available} frames"
        asked = "1 frame" if length == 1 else f"{length} frames"
        raise _error(group, f"{what} has {has}; asked for: {asked} from {start} on")
    return first


def _error(group: Group, reason: str) -> ValueError:
    return ValueError(f"mask strategy {group.to_text()}: {reason}")


def _target(placement: Placement) -> slice:
    return slice(placement.target_start, placement.target_start + placement.target_length)


def _check_counts(frames: int, reference_lengths: Sequence[int]) -> None:
    if not 1 <= frames <= MAX_COUNT:
        raise ValueError(f"frames is {frames}; allowed: 1 to {MAX_COUNT}")
    for index, length in enumerate(reference_lengths):
        if length < 1:
            raise ValueError(f"reference {index} has {length} frames; allowed: 1 or more")
