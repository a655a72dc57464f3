"""Camera paths from words: "pan left + zoom in, then clockwise 0.5".

Moves joined by + happen together; parts joined by "then" follow each other. A number after a move is its
speed: 1 goes 1.5 units to the side, 3 forwards or turns by 60 degrees within its part. "for N" gives a part N
frames; the others share what is left. Source of the moves: the camera nodes of EasyAnimate for ComfyUI.
"""

import re
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ea_data.control.camera import CameraPath
from ea_data.parsing import error_at, expected_at

__all__ = [
    "INTRINSICS",
    "MOVES",
    "motion_poses",
    "parse_camera",
]

INTRINSICS: Final = (0.532139961, 0.946026558, 0.5, 0.5)
"""fx, fy, cx, cy of the example paths that EasyAnimate comes with."""

MOVES: Final[dict[str, tuple[float, float, float, float]]] = {
    "static": (0, 0, 0, 0),
    "pan left": (1, 0, 0, 0),
    "pan right": (-1, 0, 0, 0),
    "pan up": (0, 1, 0, 0),
    "pan down": (0, -1, 0, 0),
    "zoom in": (0, 0, -2, 0),
    "zoom out": (0, 0, 2, 0),
    "clockwise": (0, 0, 0, -1),
    "counter-clockwise": (0, 0, 0, 1),
}
"""What a move does to the world as the camera sees it: shift to x, y, z, and turn about z."""

_ALIASES: Final = {
    "cw": "clockwise",
    "acw": "counter-clockwise",
    "ccw": "counter-clockwise",
    "counterclockwise": "counter-clockwise",
    "anticlockwise": "counter-clockwise",
    "anti-clockwise": "counter-clockwise",
}
_SHIFT: Final = 1.5
_TURN: Final = np.pi / 3
_MAX_SPEED: Final = 100.0
_MAX_FRAMES: Final = 100_000
_TOKEN: Final = re.compile(
    r"(?P<word>[a-z]+(?:-[a-z]+)*)|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<sign>[+,])|(?P<other>\S)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Part:
    """Moves that happen together: their sum, and how many frames they were given."""

    motion: NDArray[np.float64]
    frames: int | None
    start: int


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_camera(
    text: str, frames: int, *, intrinsics: tuple[float, float, float, float] = INTRINSICS
) -> CameraPath:
    """Turn words into a camera path.

    Args:
        text: Such as "pan left", "pan left 0.5 + zoom in", "static for 8, then zoom out"; see `MOVES`.
        frames: Number of poses.
        intrinsics: fx, fy, cx, cy of every pose.

    Raises:
        ValueError: Words that are no path, pointing at the character; or too few frames for all parts.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; allowed: 1 or more")
    parts = _Parser(text).parts()
    poses, last = [], np.eye(4)
    for part, count in zip(parts, _shares(text, parts, frames), strict=True):
        made = motion_poses(part.motion, count) @ last
        poses.append(made)
        last = made[-1]
    world_to_camera = np.concatenate(poses)[:, :3]
    return CameraPath(np.tile(np.array(intrinsics, dtype=np.float64), (frames, 1)), world_to_camera)


def motion_poses(motion: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The poses of a motion, from its start to one step before its end.

    Args:
        motion: Four numbers as in `MOVES`, times the speed; sums of moves happen together.
        count: Number of poses.

    Returns:
        (count, 4, 4) world to camera.
    """
    done = np.arange(count) / count
    turn = done * _TURN * motion[3]
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0] = poses[:, 1, 1] = np.cos(turn)
    poses[:, 1, 0] = np.sin(turn)
    poses[:, 0, 1] = -np.sin(turn)
    poses[:, :3, 3] = done[:, None] * _SHIFT * motion[:3]
    return poses


def _shares(text: str, parts: list[_Part], frames: int) -> list[int]:
    """How many frames each part gets."""
    open_parts = [part for part in parts if part.frames is None]
    left = frames - sum(part.frames or 0 for part in parts)
    if left < len(open_parts) or (left and not open_parts):
        more = " and at least 1 for each other part" if open_parts else ""
        raise error_at(
            text, parts[-1].start, f"the parts ask for {frames - left} frames{more}, there are {frames}"
        )
    ends = [left * i // max(1, len(open_parts)) for i in range(1, len(open_parts) + 1)]
    shares = iter([end - start for start, end in zip([0, *ends], ends)])
    return [next(shares) if part.frames is None else part.frames for part in parts]


class _Parser:
    """Reads parts from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0

    def parts(self) -> list[_Part]:
        found = [self._part()]
        while self._peek().kind != "end":
            comma = self._take(",")
            if not self._take("then"):
                self._expected('"then"' if comma else '"+", "then" or the end')
            found.append(self._part())
        return found

    def _part(self) -> _Part:
        start = self._peek().start
        motion = self._move()
        while self._take("+"):
            motion = motion + self._move()
        frames = None
        if self._take("for"):
            frames = self._count()
            self._take("frames")
        return _Part(motion, frames, start)

    def _move(self) -> NDArray[np.float64]:
        self._take("rotate")
        first = self._peek().text.lower()
        ways = [name.split()[1] for name in MOVES if name.startswith(f"{first} ")]
        name = _ALIASES.get(first, first)
        if not ways and name not in MOVES:
            self._expected(f"a move ({', '.join(MOVES)})")
        self.place += 1
        if ways:
            way = self._peek().text.lower()
            if way not in ways:
                self._expected(f"{', '.join(ways[:-1])} or {ways[-1]}")
            self.place += 1
            name = f"{first} {way}"
        return np.array(MOVES[name]) * self._speed()

    def _speed(self) -> float:
        token = self._peek()
        if token.kind != "number":
            return 1.0
        if float(token.text) > _MAX_SPEED:
            self._expected(f"a speed from 0 to {_MAX_SPEED:g}")
        self.place += 1
        return float(token.text)

    def _count(self) -> int:
        token = self._peek()
        if not (token.text.isdecimal() and 1 <= int(token.text[:9]) <= _MAX_FRAMES):
            self._expected(f"a whole number of frames from 1 to {_MAX_FRAMES}")
        self.place += 1
        return int(token.text)

    def _peek(self) -> _Token:
        return self.tokens[self.place]

    def _take(self, word: str) -> bool:
        found = self._peek().text.lower() == word
        self.place += found
        return found

    def _expected(self, what: str) -> NoReturn:
        token = self._peek()
        raise expected_at(self.text, token.start, what, token.text)


def _tokens(text: str) -> list[_Token]:
    found = [_Token(match.lastgroup or "", match[0], match.start()) for match in _TOKEN.finditer(text)]
    return [*found, _Token("end", "", len(text.rstrip()))]
