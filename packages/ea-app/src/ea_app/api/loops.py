"""Mask strategies and loops of a job: which frames of which references go where.

The strategy and the references go into the record; what follows from them is planned anew when a result is
made again. Shapes: T frames, H and W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ea_app.api.fields import REFERENCES, STRATEGY, numbered
from ea_app.options import InputError, concerning
from ea_data.mask_strategy.language import parse_strategy
from ea_data.mask_strategy.plan import CONDITION_FRAMES, LoopPlan, plan_loops
from ea_data.mask_strategy.prompts import loop_texts, read_prompt


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Frames at their place in the whole video.

    Attributes:
        at: Place of the first of them.
        length: How many.
        edit_ratio: 0 gives them as they are, up to 1 changes them the more.
        pixels: (length, H, W, 3) uint8; None for frames of the video itself, from `source` on.
        source: Place of the first frame that comes again.
    """

    at: int
    length: int
    edit_ratio: float
    pixels: NDArray[Any] | None = None
    source: int = 0


def read_prompt_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with those that stand as JSON at the end of the prompt, which win.

    For the command line only: who may write a prompt may name files here.

    Raises:
        InputError: What stands there is wrong.
    """
    with concerning("prompt"):
        prompt = read_prompt(given["prompt"])
    found: dict[str, Any] = {**given, "prompt": prompt.text}
    if prompt.references:
        found["references"] = prompt.references
    if prompt.strategy is not None:
        found["mask_strategy"] = prompt.strategy.to_text()
    return found


def loop_fields(values: Mapping[str, Any], frames: int, shared: int | None) -> dict[str, Any]:
    """Fields of a request that loops decide.

    Args:
        values: Options by key.
        frames: Length of one clip.
        shared: Frames that the clips of this model share; None as Open-Sora does.

    Raises:
        InputError: A prompt whose loops are not there.
    """
    loops = values.get("loops", 1)
    overlap = values.get("overlap", shared or CONDITION_FRAMES)
    with concerning("prompt"):
        texts = loop_texts(values["prompt"], loops)
    if loops == 1:
        return {"prompt": texts[0]}
    if overlap >= frames:
        raise InputError("overlap", f"must be below the {frames} frames of a clip, got {overlap}")
    return {
        "prompt": texts[0],
        "num_frames": loops * (frames - overlap) + overlap,
        "window_frames": frames,
        "overlap_frames": overlap,
        "window_prompts": texts if len(set(texts)) > 1 else (),
    }


def place_references(
    text: str | None, arrays: Mapping[str, NDArray[Any]], fields: Mapping[str, Any]
) -> tuple[Placed, ...]:
    """What a mask strategy puts where.

    Args:
        text: The strategy; None puts nothing.
        arrays: The references, (F, H, W, 3), among the inputs of a job.
        fields: Scalar fields of the request.

    Raises:
        InputError: A strategy that is wrong, or asks for what is not there.
    """
    if text is None:
        return ()
    frames = fields.get("window_frames") or fields["num_frames"]
    overlap = fields.get("overlap_frames") or 0
    references = [array for _, array in sorted(_references(arrays))]
    with concerning(STRATEGY):
        plans = plan_loops(
            parse_strategy(text),
            frames=frames,
            reference_lengths=[len(array) for array in references],
            loops=(fields["num_frames"] - overlap) // (frames - overlap),
            condition_frames=overlap,
        )
    return tuple(placed for plan in plans for placed in _placed(plan, references, frames - overlap))


def _references(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, NDArray[Any]]]:
    for name, array in arrays.items():
        number = numbered(name, REFERENCES)
        if number is not None:
            yield number, array


def _placed(plan: LoopPlan, references: Sequence[NDArray[Any]], stride: int) -> Iterator[Placed]:
    """Runs of frames that belong together. Frames that the clip before hands over need no place."""
    start, sources, ratios = plan.loop * stride, plan.sources(), plan.edit_ratios()
    frame = plan.overlap
    while frame < plan.frames:
        source, ratio = sources[frame], float(ratios[frame])
        stop = frame + 1
        if source is None or ratio == 1:
            frame = stop
            continue
        clip = source[0] - len(references)
        while stop < plan.frames and ratios[stop] == ratio and _goes_on(sources, frame, stop, clip):
            stop += 1
        common = {"at": start + frame, "length": stop - frame, "edit_ratio": ratio}
        if clip >= 0:
            yield Placed(**common, source=clip * stride + source[1])
        else:
            places = [found[1] for found in sources[frame:stop] if found is not None]
            yield Placed(**common, pixels=np.take(references[source[0]], places, axis=0))
        frame = stop


def _goes_on(sources: Sequence[tuple[int, int] | None], first: int, here: int, clip: int) -> bool:
    """Whether a frame belongs to the run that began at `first`: of the same reference, of a clip the next."""
    begin, found = sources[first], sources[here]
    if begin is None or found is None or begin[0] != found[0]:
        return False
    return clip < 0 or found[1] - begin[1] == here - first
