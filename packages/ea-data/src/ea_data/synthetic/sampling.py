"""Drawing scenes at random: a pure function of (seed, index)."""

import math
from typing import Final

import numpy as np

from ea_data.synthetic.contrast import gradient_choices, plain_choices
from ea_data.synthetic.geometry import OUTER_RADIUS
from ea_data.synthetic.heldout import MOTION_DESIGN, Triple, may_show, sample_variant
from ea_data.synthetic.motion import pose, times
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec, centres
from ea_data.synthetic.vocabulary import (
    BACKGROUND_KINDS,
    COLOURS,
    LANGUAGES,
    MOTIONS,
    SHAPE_RGB,
    SHAPES,
    Rgb,
    Split,
    split_of,
)

_KIND_WEIGHTS: Final = (0.5, 0.25, 0.25)


def sample_scene(seed: int, index: int, *, split: Split = "train", two_shapes: float = 0.25) -> SceneSpec:
    """Draw a scene; a pure function of its arguments.

    Args:
        seed: Seed of the data set, 0 or more.
        index: Number of the scene, 0 or more.
        split: "train" never shows a held-out triple; "heldout" shows one shape with a held-out triple,
            walking through all of them, languages alternating; "all" draws from both.
        two_shapes: Share of scenes with two shapes (ignored for "heldout").

    Raises:
        ValueError: A negative seed or index, or an unknown split.
    """
    rng = MOTION_DESIGN.generator(seed, index)
    if split_of(split):
        language, triple = MOTION_DESIGN.turn(seed, index)
        shapes = (_sample_shape(rng, triple, pair=False),)
    else:
        language = LANGUAGES[int(rng.integers(2))]
        if rng.random() < two_shapes:
            shapes = _sample_pair(rng, split)
        else:
            shapes = (_sample_shape(rng, _pick(rng, split), pair=False),)
    background = sample_background(rng, tuple(sorted({shape.colour for shape in shapes})))
    return SceneSpec(shapes=shapes, background=background, language=language, variant=sample_variant(rng))


def _pick(rng: np.random.Generator, split: Split) -> Triple:
    # Motion and colour are uniform; the shape is uniform among those that may go with them.
    motion = MOTIONS[int(rng.integers(len(MOTIONS)))]
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    shapes = [shape for shape in SHAPES if may_show(shape, colour, motion, split)]
    return shapes[int(rng.integers(len(shapes)))], colour, motion


def _sample_shape(rng: np.random.Generator, triple: Triple, *, pair: bool) -> ShapeSpec:
    shape, colour, motion = triple
    size = rng.uniform(0.24, 0.30) if pair else rng.uniform(0.30, 0.40)
    if motion in ("grow", "shrink"):
        size *= 1.15
    if motion == "spin":
        travel = rng.uniform(math.radians(110), math.radians(180))
    elif "-" in motion:
        travel = rng.uniform(0.27, 0.34) if pair else rng.uniform(0.30, 0.40)
    elif motion == "bounce":
        travel = rng.uniform(0.26, 0.34) if pair else rng.uniform(0.30, 0.40)
    else:
        travel = rng.uniform(0.33, 0.42) if pair else rng.uniform(0.36, 0.46)
    fill = exact_colour(rng, colour)
    return ShapeSpec(
        shape=shape,
        colour=colour,
        motion=motion,
        size=round(float(size), 4),
        x=round(float(rng.random()), 4),
        y=round(float(rng.random()), 4),
        travel=round(float(travel), 4),
        rgb=fill,
    )


def exact_colour(rng: np.random.Generator, colour: str) -> Rgb:
    """Draw a fill near the prototype of a colour."""
    jitter = rng.integers(-6, 7, size=3)
    red, green, blue = (int(np.clip(c + j, 0, 255)) for c, j in zip(SHAPE_RGB[colour], jitter, strict=True))
    return red, green, blue


def _sample_pair(rng: np.random.Generator, split: Split) -> tuple[ShapeSpec, ShapeSpec]:
    first = _pick(rng, split)
    second = _pick(rng, split)
    while second[1] == first[1]:  # colours tell the two shapes apart
        second = _pick(rng, split)
    best: tuple[ShapeSpec, ShapeSpec] | None = None
    best_gap = -math.inf
    for _ in range(40):
        pair = (_sample_shape(rng, first, pair=True), _sample_shape(rng, second, pair=True))
        gap = _smallest_gap(pair)
        if gap > best_gap:
            best, best_gap = pair, gap
        if gap > 0.01:
            break
    assert best is not None
    return best


def _smallest_gap(pair: tuple[ShapeSpec, ShapeSpec]) -> float:
    """Smallest distance between the outer circles of two shapes over a square clip, in frame sides."""
    time = times(9)
    (xa, ya), (xb, yb) = (centres(shape, time, 1.0, 1.0) for shape in pair)
    radii = [shape.size / 2 * pose(shape.motion, shape.travel, time).scale * OUTER_RADIUS for shape in pair]
    return float((np.hypot(xa - xb, ya - yb) - radii[0] - radii[1]).min())


def sample_background(rng: np.random.Generator, colours: tuple[str, ...]) -> BackgroundSpec:
    """Draw a background that shapes of these colours stand out from."""
    kind = str(rng.choice(BACKGROUND_KINDS, p=_KIND_WEIGHTS))
    angle = int(rng.integers(8)) * math.pi / 4
    if kind == "gradient":
        pairs = gradient_choices(colours)
        return BackgroundSpec(kind=kind, colours=pairs[int(rng.integers(len(pairs)))], angle=angle)
    names = plain_choices(colours)
    name = names[int(rng.integers(len(names)))]
    if kind == "plain":
        return BackgroundSpec(kind=kind, colours=(name,))
    period, phase = round(float(rng.uniform(0.3, 0.5)), 4), round(float(rng.random()), 4)
    return BackgroundSpec(kind=kind, colours=(name,), angle=angle, period=period, phase=phase)
