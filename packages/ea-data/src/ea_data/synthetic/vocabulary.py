"""The closed vocabulary of the procedural dataset: names, colours, words, and splits.

Every tuple here is ordered for good: a position in it is an attribute id, so entries are only ever appended.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Rgb = tuple[int, int, int]
Language = Literal["en", "zh"]
Split = Literal["train", "heldout", "all"]

SHAPES: Final = (
    "circle",
    "square",
    "triangle",
    "star",
    "diamond",
    "pentagon",
    "crescent",
    "cross",
    "ring",
    "heart",
)
COLOURS: Final = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "pink", "white")
MOTIONS: Final = (
    "right",
    "left",
    "up",
    "down",
    "up-right",
    "up-left",
    "down-right",
    "down-left",
    "grow",
    "shrink",
    "spin",
    "bounce",
    "still",
)
BACKGROUND_KINDS: Final = ("plain", "gradient", "striped")
BACKGROUNDS: Final = (
    "black",
    "grey",
    "white",
    "red",
    "green",
    "blue",
    "yellow",
    "orange",
    "purple",
    "pink",
    "navy",
    "brown",
    "beige",
    "teal",
)
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")

SHAPE_RGB: Final[Mapping[str, Rgb]] = MappingProxyType(
    {
        "red": (222, 28, 36),
        "green": (46, 178, 62),
        "blue": (24, 100, 236),
        "yellow": (252, 224, 36),
        "orange": (250, 134, 16),
        "purple": (158, 44, 186),
        "cyan": (44, 216, 226),
        "pink": (252, 134, 196),
        "white": (248, 248, 248),
    }
)
BACKGROUND_RGB: Final[Mapping[str, Rgb]] = MappingProxyType(
    {
        "black": (14, 14, 16),
        "grey": (118, 120, 122),
        "white": (232, 232, 230),
        "red": (158, 36, 40),
        "green": (38, 112, 56),
        "blue": (44, 76, 178),
        "yellow": (222, 198, 74),
        "orange": (208, 122, 46),
        "purple": (98, 54, 132),
        "pink": (222, 150, 180),
        "navy": (18, 26, 72),
        "brown": (96, 64, 40),
        "beige": (220, 204, 172),
        "teal": (20, 116, 118),
    }
)

# A circle or ring that turns in place looks still.
_SPIN_INVISIBLE: Final = frozenset({"circle", "ring"})

SHAPE_WORDS_EN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "circle": ("circle", "disc", "round dot"),
        "square": ("square", "box"),
        "triangle": ("triangle",),
        "star": ("star", "five-pointed star"),
        "diamond": ("diamond", "rhombus"),
        "pentagon": ("pentagon", "five-sided shape"),
        "crescent": ("crescent", "crescent moon"),
        "cross": ("cross", "plus sign"),
        "ring": ("ring", "hoop"),
        "heart": ("heart", "heart shape"),
    }
)
SHAPE_WORDS_ZH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "circle": ("圆形", "圆", "圆点"),
        "square": ("正方形", "方块"),
        "triangle": ("三角形",),
        "star": ("五角星", "星星"),
        "diamond": ("菱形",),
        "pentagon": ("五边形",),
        "crescent": ("月牙", "弯月"),
        "cross": ("十字", "十字形"),
        "ring": ("圆环", "环形"),
        "heart": ("心形", "爱心"),
    }
)
COLOUR_WORDS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "red": "红色",
        "green": "绿色",
        "blue": "蓝色",
        "yellow": "黄色",
        "orange": "橙色",
        "purple": "紫色",
        "cyan": "青色",
        "pink": "粉色",
        "white": "白色",
        "black": "黑色",
        "grey": "灰色",
        "navy": "深蓝色",
        "brown": "棕色",
        "beige": "米色",
        "teal": "蓝绿色",
    }
)


def is_valid(shape: str, colour: str, motion: str) -> bool:
    """Whether the triple can be shown: known names, and a motion that is visible on that shape."""
    known = shape in SHAPES and colour in COLOURS and motion in MOTIONS
    return known and not (motion == "spin" and shape in _SPIN_INVISIBLE)


def split_of(split: Split) -> bool | None:
    """Whether a split is the held-out one; None for both together.

    Raises:
        ValueError: An unknown split.
    """
    if split not in ("train", "heldout", "all"):
        raise ValueError(f"split is {split!r}; allowed: train, heldout, all")
    return None if split == "all" else split == "heldout"
