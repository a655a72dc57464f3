"""What a scene is: frozen descriptions, and where their shapes are.

A scene says everything about a clip except its size and length, in numbers relative to the frame, so one
scene can be rendered at any resolution, aspect ratio and number of frames.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.geometry import OUTER_RADIUS
from ea_data.synthetic.motion import pose, reach
from ea_data.synthetic.vocabulary import (
    BACKGROUND_KINDS,
    BACKGROUND_RGB,
    BACKGROUNDS,
    LANGUAGES,
    SHAPE_RGB,
    Language,
    Rgb,
    is_valid,
)

MARGIN: Final = 0.02
_STRIPE_MIX: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class ShapeSpec:
    """One moving shape.

    Attributes:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        motion: One of `MOTIONS`.
        size: Nominal diameter in short sides of the frame (at its largest, for grow and shrink).
        x: Horizontal place of the whole path, 0 (as far left as fits) .. 1 (as far right as fits).
        y: Vertical place of the whole path, 0 .. 1.
        travel: Distance per moving axis or hop height in short sides; the turn in radians for spin.
        rgb: Exact fill colour in sRGB 0..255.
    """

    shape: str
    colour: str
    motion: str
    size: float
    x: float = 0.5
    y: float = 0.5
    travel: float = 0.4
    rgb: Rgb | None = None

    @property
    def fill(self) -> Rgb:
        """The colour to draw with: `rgb`, or the prototype of `colour`."""
        return SHAPE_RGB[self.colour] if self.rgb is None else self.rgb

    def __post_init__(self) -> None:
        if not is_valid(self.shape, self.colour, self.motion):
            raise ValueError(
                f"no such shape, colour and motion: {self.shape!r}, {self.colour!r}, {self.motion!r}"
            )
        if not 0.02 <= self.size <= 0.9:
            raise ValueError(f"size is {self.size}; allowed: 0.02 to 0.9 of the short side")


@dataclass(frozen=True, kw_only=True)
class BackgroundSpec:
    """What is behind the shapes.

    Attributes:
        kind: "plain", "gradient" or "striped".
        colours: One name from `BACKGROUNDS`, or two for a gradient.
        angle: Direction of the gradient, or normal of the stripes, in radians.
        period: Width of a pair of stripes in short sides.
        phase: Shift of the stripes in periods.
    """

    kind: str
    colours: tuple[str, ...]
    angle: float = 0.0
    period: float = 0.3
    phase: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in BACKGROUND_KINDS:
            raise ValueError(f"background kind is {self.kind!r}; allowed: {', '.join(BACKGROUND_KINDS)}")
        if len(self.colours) != (2 if self.kind == "gradient" else 1) or any(
            c not in BACKGROUNDS for c in self.colours
        ):
            raise ValueError(f"{self.kind} background cannot have the colours {self.colours}")

    @property
    def rgb(self) -> tuple[Rgb, Rgb]:
        """The two colours that are drawn (equal for a plain background)."""
        first = BACKGROUND_RGB[self.colours[0]]
        if self.kind == "plain":
            return first, first
        if self.kind == "gradient":
            return first, BACKGROUND_RGB[self.colours[1]]
        towards = 255 if sum(first) < 384 else 0
        red, green, blue = (round(channel + (towards - channel) * _STRIPE_MIX) for channel in first)
        return first, (red, green, blue)


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """A whole scene: one or two shapes on a background, and which caption goes with it."""

    shapes: tuple[ShapeSpec, ...]
    background: BackgroundSpec
    language: Language = "en"
    variant: int = 0

    def __post_init__(self) -> None:
        if len(self.shapes) not in (1, 2):
            raise ValueError(f"a scene has 1 or 2 shapes, not {len(self.shapes)}")
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}; allowed: {', '.join(LANGUAGES)}")


def centres(
    shape: ShapeSpec, time: NDArray[np.float64], width: float, height: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of a shape at the given times, in short sides of the frame.

    Args:
        shape: The shape.
        time: Normalised times in 0..1.
        width: Frame width in short sides (1 for a square or upright frame).
        height: Frame height in short sides.

    Returns:
        x and y, each of the shape of `time`; the whole path stays inside the frame.
    """
    left, right, up, down = reach(shape.motion, shape.travel)
    border = shape.size / 2 * OUTER_RADIUS + MARGIN
    free_x = max(width - 2 * border - left - right, 0.0)
    free_y = max(height - 2 * border - up - down, 0.0)
    offset = pose(shape.motion, shape.travel, time)
    x = border + left + shape.x * free_x + offset.dx
    y = border + up + shape.y * free_y + offset.dy
    return x, y
