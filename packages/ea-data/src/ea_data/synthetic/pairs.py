"""Scenes of two shapes that stand to each other in a way that the caption states.

A pair is laid out in a square with the short side of the frame, which lies somewhere in the frame; so what is
true of it is true at any aspect ratio.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.geometry import OUTER_RADIUS
from ea_data.synthetic.heldout import HeldoutDesign, Triple, allowed_motions, sample_variant
from ea_data.synthetic.motion import pose, times
from ea_data.synthetic.outlines import outline, track_of
from ea_data.synthetic.sampling import exact_colour, sample_background
from ea_data.synthetic.scene import BackgroundSpec, ShapeSpec, centres
from ea_data.synthetic.vocabulary import (
    COLOURS,
    LANGUAGES,
    SHAPES,
    Language,
    Split,
)

__all__ = ["RELATIONS", "PairScene", "pair_is_heldout", "pair_triples", "sample_pair"]

RELATIONS: Final = ("left of", "above", "behind")
"""How the first shape of a pair stands to the second one, in every frame."""

_DESIGN: Final = HeldoutDesign(
    names=("shape", "relation", "shape"), values=(SHAPES, RELATIONS, SHAPES), steps=(7, 3), stream=0x2EA
)
_ROUNDS: Final = 200
_PLACES: Final = 48
_GAP: Final = 0.02
_LOOKS: Final = 4
_HIDDEN: Final = (0.04, 0.55)  # of what is behind
_FRAMES: Final = 13
_SIDE: Final = 64

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairScene:
    """Two shapes and their relation.

    Attributes:
        shapes: The first is drawn first, so the second one covers it where they meet.
        relation: One of `RELATIONS`: the first shape is left of, above or behind the second one.
        background: What is behind both.
        x: Horizontal place of the square in the frame, 0 (left) .. 1 (right).
        y: Vertical place of the square, 0 .. 1.
        language: Of its caption.
        variant: Wording of its caption.
    """

    shapes: tuple[ShapeSpec, ShapeSpec]
    relation: str
    background: BackgroundSpec
    x: float = 0.5
    y: float = 0.5
    language: Language = "en"
    variant: int = 0

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation is {self.relation!r}; allowed: {', '.join(RELATIONS)}")
        if len(self.shapes) != 2 or self.shapes[0].colour == self.shapes[1].colour:
            raise ValueError("a pair has 2 shapes of different colours")
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}; allowed: {', '.join(LANGUAGES)}")


def pair_is_heldout(first: str, relation: str, second: str) -> bool:
    """Whether (shape, relation, shape) is kept out of training.

    For each relation and second shape exactly one of the ten first shapes is held out, and each pair of
    values still occurs in training.

    Raises:
        ValueError: A name is unknown.
    """
    return _DESIGN.is_heldout(first, relation, second)


def pair_triples(split: Split) -> tuple[Triple, ...]:
    """All (shape, relation, shape) of a split, in vocabulary order."""
    return _DESIGN.triples(split)


def sample_pair(seed: int, index: int, *, split: Split = "train") -> PairScene:
    """Draw a pair; a pure function of its arguments.

    Motions are uniform at first; those with which the relation cannot hold in every frame are drawn again.

    Args:
        seed: Seed of the data set, 0 or more.
        index: Number of the scene, 0 or more.
        split: "train" shows no held-out shape, colour and motion and no held-out shape, relation and shape;
            "heldout" walks through all held-out shapes, relations and shapes; "all" draws from everything.

    Raises:
        ValueError: A negative seed or index, or an unknown split.
    """
    rng = _DESIGN.generator(seed, index)
    language, (first, relation, second) = _DESIGN.draw(rng, seed, index, split)
    colours = tuple(COLOURS[i] for i in rng.permutation(len(COLOURS))[:2])
    shapes = _place(rng, (first, second), colours, relation, split)
    background = sample_background(rng, tuple(sorted(colours)))
    x, y = (round(float(value), 4) for value in rng.random(2))
    return PairScene(
        shapes=shapes,
        relation=relation,
        background=background,
        x=x,
        y=y,
        language=language,
        variant=sample_variant(rng),
    )


def _place(
    rng: np.random.Generator,
    names: tuple[str, str],
    colours: tuple[str, ...],
    relation: str,
    split: Split,
) -> tuple[ShapeSpec, ShapeSpec]:
    fills = [exact_colour(rng, colour) for colour in colours]
    for round_ in range(_ROUNDS):
        drawn: list[ShapeSpec] = []
        for place in range(2):
            motion = "still" if round_ == _ROUNDS - 1 else _motion(rng, names[place], colours[place], split)
            size, travel = _size(rng, relation, place, motion)
            drawn.append(
                ShapeSpec(
                    shape=names[place],
                    colour=colours[place],
                    motion=motion,
                    size=size,
                    travel=travel,
                    rgb=fills[place],
                )
            )
        places = np.round(rng.random((_PLACES, 4)), 4)
        for row in np.nonzero(_holds(drawn, places, relation))[0][:_LOOKS]:
            xa, ya, xb, yb = (float(value) for value in places[row])
            pair = replace(drawn[0], x=xa, y=ya), replace(drawn[1], x=xb, y=yb)
            if relation != "behind" or _hides_a_part(pair):
                return pair
    raise AssertionError(f"no place for {names} {relation}")


def _hides_a_part(pair: tuple[ShapeSpec, ShapeSpec]) -> bool:
    """Whether the second shape covers some of the first one in every frame, and never most of it."""
    first, second = (_inside(shape) for shape in pair)
    hidden = (first & second).sum(axis=(1, 2)) / first.sum(axis=(1, 2))
    return bool(hidden.min() >= _HIDDEN[0] and hidden.max() <= _HIDDEN[1])


def _inside(shape: ShapeSpec) -> NDArray[np.bool_]:
    """(T, S, S): pixels of a small square picture that are inside a shape."""
    drawn = outline(shape.shape, track_of(shape, times(_FRAMES), _SIDE, _SIDE), _SIDE, _SIDE)
    inside = np.zeros((_FRAMES, _SIDE, _SIDE), dtype=bool)
    for frame in range(_FRAMES):
        inside[frame][drawn.window(frame)] = drawn.distance[frame] <= 0
    return inside


def _motion(rng: np.random.Generator, shape: str, colour: str, split: Split) -> str:
    allowed = allowed_motions(shape, colour, split)
    return allowed[int(rng.integers(len(allowed)))]


def _size(rng: np.random.Generator, relation: str, place: int, motion: str) -> tuple[float, float]:
    """Size and travel; what stands behind is larger, so that much of it is seen."""
    if relation == "behind":
        size = rng.uniform(0.34, 0.40) if place == 0 else rng.uniform(0.24, 0.28)
    else:
        size = rng.uniform(0.22, 0.27)
    travel = rng.uniform(1.92, 3.14) if motion == "spin" else rng.uniform(0.22, 0.32)
    return round(float(size * (1.1 if motion in ("grow", "shrink") else 1)), 4), round(float(travel), 4)


def _holds(shapes: list[ShapeSpec], places: Array, relation: str) -> NDArray[np.bool_]:
    """Whether the relation holds in all frames, for each row (x, y, x, y) of places."""
    time = times(9)
    corner = [centres(replace(shape, x=0, y=0), time, 1, 1) for shape in shapes]
    end = [centres(replace(shape, x=1, y=1), time, 1, 1) for shape in shapes]
    # Where a shape is, is linear in its place.
    (xa, ya), (xb, yb) = (
        [
            corner[i][axis] + places[:, 2 * i + axis, None] * (end[i][axis] - corner[i][axis])
            for axis in range(2)
        ]
        for i in range(2)
    )
    radii = [shape.size / 2 * OUTER_RADIUS * pose(shape.motion, shape.travel, time).scale for shape in shapes]
    right, down, both = xb - xa, yb - ya, radii[0] + radii[1]
    if relation == "behind":
        apart = np.hypot(right, down)
        right_places = (apart >= np.maximum(0.4 * both, 0.75 * radii[1])) & (apart <= 0.75 * both)
        return np.all(right_places, axis=1)
    ahead, aside = (right, down) if relation == "left of" else (down, right)
    return np.all((ahead >= both + _GAP) & (np.abs(aside) <= ahead), axis=1)
