"""Held-out scenes: what they should show, and what the blind judge says a clip shows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic import SceneSpec, caption, render, sample_scene
from ea_data.synthetic.judge import judge
from report import GateError

Frames = NDArray[np.uint8]

ATTRIBUTES = ("colour", "shape", "motion")
NOTHING = ("nothing", "nothing", "nothing")
JUDGE_BAR = 0.99


@dataclass(frozen=True)
class Seen:
    """One clip against its prompt.

    Attributes:
        language: Of the prompt.
        expected: Colour, shape and motion that the prompt states.
        found: What the judge saw; `NOTHING` when no object was seen.
    """

    language: str
    expected: tuple[str, str, str]
    found: tuple[str, str, str]

    @property
    def right(self) -> tuple[bool, ...]:
        """Per attribute."""
        return tuple(want == got for want, got in zip(self.expected, self.found, strict=True))


def held_out(count: int, seed: int) -> list[SceneSpec]:
    """Scenes whose shape, colour and motion are together in no training clip; every other one is Chinese."""
    return [sample_scene(seed, index, split="heldout") for index in range(count)]


def prompt_of(scene: SceneSpec) -> str:
    """The scene's own caption, in its own language and wording."""
    return caption(scene)


def clip_of(scene: SceneSpec, frames: int, height: int, width: int) -> Frames:
    """Ground truth (T, H, W, 3)."""
    return render(scene, num_frames=frames, height=height, width=width)


def look(scene: SceneSpec, clip: Frames) -> Seen:
    """Judge a clip without telling the judge what was asked for."""
    shape = scene.shapes[0]
    objects = judge(clip).objects
    found = (objects[0].colour, objects[0].shape, objects[0].motion) if objects else NOTHING
    return Seen(scene.language, (shape.colour, shape.shape, shape.motion), found)


def rates(seen: Iterable[Seen]) -> dict[str, float]:
    """Share of right clips per attribute, and of clips with all three right."""
    table = np.array([entry.right for entry in seen], dtype=float)
    result = {name: float(table[:, index].mean()) for index, name in enumerate(ATTRIBUTES)}
    return {**result, "all_three": float(table.all(axis=1).mean())}


def rates_by_language(seen: Sequence[Seen]) -> dict[str, dict[str, float]]:
    """`rates` of each language's prompts."""
    languages = sorted({entry.language for entry in seen})
    return {name: rates(entry for entry in seen if entry.language == name) for name in languages}


def confusion(seen: Iterable[Seen], most: int = 12) -> dict[str, dict[str, int]]:
    """The most frequent mistakes per attribute, as "expected -> found"."""
    counters = {name: Counter[str]() for name in ATTRIBUTES}
    for entry in seen:
        for name, want, got in zip(ATTRIBUTES, entry.expected, entry.found, strict=True):
            if want != got:
                counters[name][f"{want} -> {got}"] += 1
    return {name: dict(counter.most_common(most)) for name, counter in counters.items()}


def check_judge(scenes: Sequence[SceneSpec], frames: int, height: int, width: int) -> dict[str, float]:
    """Let the judge look at ground truth of the same scenes.

    Raises:
        GateError: It is right in less than 99 % for some attribute.
    """
    found = rates(look(scene, clip_of(scene, frames, height, width)) for scene in scenes)
    accuracy = {f"judge_{name}": round(found[name], 5) for name in ATTRIBUTES}
    if frames == 1:  # a picture shows no motion
        accuracy.pop("judge_motion")
    if min(accuracy.values()) < JUDGE_BAR:
        raise GateError(f"the judge must be right in {JUDGE_BAR:.0%} of ground-truth clips, got {accuracy}")
    return accuracy
