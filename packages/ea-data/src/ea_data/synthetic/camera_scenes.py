"""Scenes that a moving camera looks at: one shape with its own motion, before a patterned floor further away.

The path of the camera is written in the words of `ea_data.control.moves`, so its text file is the truth.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ea_data.control.camera import CameraPath
from ea_data.control.moves import parse_camera
from ea_data.synthetic.contrast import plain_choices
from ea_data.synthetic.floors import FLOOR_KINDS, FloorSpec
from ea_data.synthetic.heldout import HeldoutDesign, Triple, allowed_motions, sample_variant
from ea_data.synthetic.motion import pose, times
from ea_data.synthetic.outlines import Track, reach_of
from ea_data.synthetic.sampling import exact_colour
from ea_data.synthetic.scene import MARGIN, ShapeSpec
from ea_data.synthetic.view import view_of
from ea_data.synthetic.vocabulary import (
    COLOURS,
    LANGUAGES,
    SHAPES,
    Language,
    Split,
)

__all__ = [
    "CAMERA_MOVES",
    "CameraScene",
    "camera_track",
    "move_is_heldout",
    "move_triples",
    "sample_camera_scene",
]

CAMERA_MOVES: Final = (
    "pan left",
    "pan right",
    "pan up",
    "pan down",
    "zoom in",
    "zoom out",
    "clockwise",
    "counter-clockwise",
)
"""What the camera does, in the words of `ea_data.control.moves`."""

SHAPE_DEPTH: Final = 5.0
FLOOR_DEPTH: Final = 7.0
_SPEEDS: Final = {"pan": (0.8, 1.2), "zoom in": (0.5, 0.7), "zoom out": (0.7, 1.1), "turn": (0.5, 1.0)}
_DESIGN: Final = HeldoutDesign(
    names=("shape", "colour", "move"), values=(SHAPES, COLOURS, CAMERA_MOVES), steps=(3, 7), stream=0x3EA
)
_STILL: Final = 0.5
_LAYOUT_POSES: Final = 33


@dataclass(frozen=True, kw_only=True)
class CameraScene:
    """A shape, a floor and a move of the camera.

    Attributes:
        shape: Its size and travel are those of the first frame's view.
        floor: The pattern behind it.
        move: One of `CAMERA_MOVES`.
        speed: As the numbers after moves: 1 is 1.5 units to the side, 3 forwards, or a turn by 60 degrees.
        shape_depth: Units from the first camera to the shape, more than it goes forwards.
        floor_depth: Units from the first camera to the floor, more than `shape_depth`.
        language: Of its caption.
        variant: Wording of its caption.
    """

    shape: ShapeSpec
    floor: FloorSpec
    move: str
    speed: float = 1.0
    shape_depth: float = SHAPE_DEPTH
    floor_depth: float = FLOOR_DEPTH
    language: Language = "en"
    variant: int = 0

    def __post_init__(self) -> None:
        if self.move not in CAMERA_MOVES:
            raise ValueError(f"move is {self.move!r}; allowed: {', '.join(CAMERA_MOVES)}")
        if not 0 < self.speed <= 1.5:
            raise ValueError(f"speed is {self.speed}; allowed: above 0, at most 1.5")
        if not 5 <= self.shape_depth < self.floor_depth <= 100:
            raise ValueError(
                f"shape_depth and floor_depth are {self.shape_depth} and {self.floor_depth}; "
                "allowed: 5 to 100, the shape in front"
            )
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}; allowed: {', '.join(LANGUAGES)}")

    def path(self, num_frames: int) -> CameraPath:
        """The camera in every frame."""
        return parse_camera(f"{self.move} {self.speed}", num_frames)


def move_is_heldout(shape: str, colour: str, move: str) -> bool:
    """Whether (shape, colour, camera move) is kept out of training; one shape is for each colour and move.

    Raises:
        ValueError: A name is unknown.
    """
    return _DESIGN.is_heldout(shape, colour, move)


def move_triples(split: Split) -> tuple[Triple, ...]:
    """All (shape, colour, camera move) of a split, in vocabulary order."""
    return _DESIGN.triples(split)


def sample_camera_scene(seed: int, index: int, *, split: Split = "train") -> CameraScene:
    """Draw a scene for a moving camera; a pure function of its arguments.

    Half of the shapes stand still; the others have any motion.

    Args:
        seed: Seed of the data set, 0 or more.
        index: Number of the scene, 0 or more.
        split: "train" shows no held-out shape, colour and motion and no held-out shape, colour and move;
            "heldout" walks through all held-out shapes, colours and moves; "all" draws from everything.

    Raises:
        ValueError: A negative seed or index, or an unknown split.
    """
    rng = _DESIGN.generator(seed, index)
    language, (name, colour, move) = _DESIGN.draw(rng, seed, index, split)
    shape = _sample_shape(rng, name, colour, split)
    floors = plain_choices((colour,))
    floor = FloorSpec(
        kind=FLOOR_KINDS[int(rng.integers(len(FLOOR_KINDS)))],
        colour=floors[int(rng.integers(len(floors)))],
        angle=int(rng.integers(4)) * math.pi / 8,
        period=round(float(rng.uniform(0.38, 0.52)), 4),
        phase=(round(float(rng.random()), 4), round(float(rng.random()), 4)),
    )
    low, high = _SPEEDS["pan" if "pan" in move else move if "zoom" in move else "turn"]
    return CameraScene(
        shape=shape,
        floor=floor,
        move=move,
        speed=round(float(rng.uniform(low, high)), 2),
        language=language,
        variant=sample_variant(rng),
    )


def _sample_shape(rng: np.random.Generator, name: str, colour: str, split: Split) -> ShapeSpec:
    allowed = allowed_motions(name, colour, split)
    stands = rng.random() < _STILL and "still" in allowed
    motion = "still" if stands else allowed[int(rng.integers(len(allowed)))]
    travel = rng.uniform(1.92, 3.14) if motion == "spin" else rng.uniform(0.24, 0.32)
    return ShapeSpec(
        shape=name,
        colour=colour,
        motion=motion,
        size=round(float(rng.uniform(0.26, 0.32)), 4),
        x=round(float(rng.random()), 4),
        y=round(float(rng.random()), 4),
        travel=round(float(travel), 4),
        rgb=exact_colour(rng, colour),
    )


def camera_track(scene: CameraScene, num_frames: int, height: int, width: int) -> Track:
    """Where the shape is in the pictures of the camera.

    Its place 0..1 spans what keeps it in the picture over the whole clip; where nothing does, it is in the
    middle of what comes closest.
    """
    short = min(height, width)
    anchor = _anchor(scene, height, width)
    offset = pose(scene.shape.motion, scene.shape.travel, times(num_frames))
    view = view_of(scene.path(num_frames), scene.shape_depth, height, width)
    x, y = view.to_frames(anchor[0] + offset.dx * short, anchor[1] + offset.dy * short)
    radius = scene.shape.size / 2 * short * offset.scale * view.scale
    return Track(x, y, radius, offset.angle + view.turn, reach_of(float(radius.max())))


def _anchor(scene: CameraScene, height: int, width: int) -> tuple[float, float]:
    """Place of the shape before its motion, in first-frame pixels; the same for every number of frames."""
    shape, short = scene.shape, min(height, width)
    offset = pose(shape.motion, shape.travel, times(_LAYOUT_POSES))
    view = view_of(scene.path(_LAYOUT_POSES), scene.shape_depth, height, width)
    border = reach_of(shape.size / 2 * short) * offset.scale * view.scale + MARGIN * short
    rotates = bool(view.turn.any())
    place = []
    for side, moved, shift, share, centre in (
        (width, offset.dx, view.shift_x, shape.x, view.centre[0]),
        (height, offset.dy, view.shift_y, shape.y, view.centre[1]),
    ):
        # A square inside the circle stays in the picture however it is turned.
        half = (short / 2 - border) / math.sqrt(2) if rotates else side / 2 - border
        low = float(((-half - shift) / view.scale - moved * short).max())
        high = float(((half - shift) / view.scale - moved * short).min())
        place.append(centre + (low + share * (high - low) if low <= high else (low + high) / 2))
    return place[0], place[1]
