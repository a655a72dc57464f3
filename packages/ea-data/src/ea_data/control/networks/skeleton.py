"""Drawing people as pose control models were shown them: OpenPose's 18 joints, hands and faces.

Colours go round the wheel: 18 hues for joints and limbs, limbs at 60 % of the brightness, 20 hues for the
bones of a hand. Released control videos are drawn so.

Points: (K, 2) x and y in pixels, with (K,) scores.
"""

import colorsys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load

__all__ = ["Person", "draw_people", "from_coco", "from_coco_wholebody"]

Points = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Of OpenPose's joints: nose, neck, then shoulder, elbow, wrist of the right and of the left arm, hip, knee,
# ankle of the right and of the left leg, right and left eye, right and left ear.
_LIMBS: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_JOINTS: Final = 18
# COCO's joints in that order; the neck, which COCO lacks, is added.
_FROM_COCO: Final = (0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_SHOULDERS: Final = [5, 6]
_NECK: Final = 1
_FINGERS: Final = tuple(tuple(range(first, first + 4)) for first in (1, 5, 9, 13, 17))
_BONES: Final = tuple(pair for finger in _FINGERS for pair in zip((0, *finger), finger))
_COCO: Final = 17
_FACE, _LEFT_HAND, _RIGHT_HAND = slice(23, 91), slice(91, 112), slice(112, 133)
_LIMB_BRIGHTNESS: Final = 0.6
_WIDTH: Final = 4
_SUBPIXEL_BITS: Final = 4
_FAR: Final = 4000  # OpenCV draws with 16 bits, a part of them for fractions of a pixel


@dataclass(frozen=True, eq=False, kw_only=True)
class Person:
    """What is drawn of a person; points that are not sure enough are NaN.

    Attributes:
        body: (18, 2).
        hands: Each (21, 2).
        face: (68, 2), or None.
    """

    body: Points
    hands: tuple[Points, ...] = ()
    face: Points | None = None


def from_coco(points: Points, scores: NDArray[np.float32], least: float) -> Person:
    """A body from COCO's 17 joints; the neck is put between the shoulders."""
    sure = np.where((scores >= least)[:, None], points, np.nan).astype(np.float32)[:_COCO]
    neck = sure[_SHOULDERS].mean(axis=0)
    return Person(body=np.insert(sure[list(_FROM_COCO)], _NECK, neck, axis=0))


def from_coco_wholebody(points: Points, scores: NDArray[np.float32], least: float) -> Person:
    """Body, hands and face from the 133 points of COCO-WholeBody; the feet are not drawn."""
    sure = np.where((scores >= least)[:, None], points, np.nan).astype(np.float32)
    body = from_coco(points, scores, least).body
    return Person(body=body, hands=(sure[_LEFT_HAND], sure[_RIGHT_HAND]), face=sure[_FACE])


def draw_people(people: list[Person], height: int, width: int) -> Pixels:
    """Draw people on black, (H, W, 3) uint8."""
    cv2 = load("cv2")
    canvas = np.zeros((height, width, 3), np.uint8)
    for number, (start, end) in enumerate(_LIMBS):
        for person in people:
            _draw_limb(cv2, canvas, person.body[start], person.body[end], _hue(number, _JOINTS))
    canvas = (canvas * _LIMB_BRIGHTNESS).astype(np.uint8)
    for person in people:
        for number, joint in enumerate(person.body):
            _draw_dot(cv2, canvas, joint, _WIDTH, _hue(number, _JOINTS))
        for hand in person.hands:
            _draw_hand(cv2, canvas, hand)
        for point in () if person.face is None else person.face:
            _draw_dot(cv2, canvas, point, _WIDTH - 1, (255, 255, 255))
    return canvas


def _draw_hand(cv2: Any, canvas: Pixels, hand: Points) -> None:
    for number, (start, end) in enumerate(_BONES):
        ends = hand[[start, end]]
        if np.isfinite(ends).all():
            first, last = ends.clip(-_FAR, _FAR).astype(int).tolist()
            cv2.line(canvas, first, last, _hue(number, len(_BONES)), 2)
    for point in hand:
        _draw_dot(cv2, canvas, point, _WIDTH, (0, 0, 255))


def _draw_limb(cv2: Any, canvas: Pixels, start: Points, end: Points, colour: tuple[int, ...]) -> None:
    """A filled ellipse from joint to joint."""
    if not np.isfinite([start, end]).all():
        return
    middle, half = (start + end) / 2, (end - start) / 2
    length = float(np.hypot(*half))
    along = half / length if length else np.array([1.0, 0.0])
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = middle + np.outer(np.cos(turn), along * length)
    outline = outline + np.outer(np.sin(turn), np.array([-along[1], along[0]]) * _WIDTH)
    corners = np.round(outline.clip(-_FAR, _FAR) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(canvas, corners, colour, shift=_SUBPIXEL_BITS)


def _draw_dot(cv2: Any, canvas: Pixels, point: Points, radius: int, colour: tuple[int, ...]) -> None:
    if np.isfinite(point).all():
        cv2.circle(canvas, point.clip(-_FAR, _FAR).astype(int).tolist(), radius, colour, thickness=-1)


def _hue(number: int, count: int) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number / count, 1, 1))
