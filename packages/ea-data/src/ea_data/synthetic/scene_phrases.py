"""Words and sentence templates for pairs and camera scenes; the first entry of a list is the canonical one.

Templates are keyed by (motion stated, background stated). `{a}` and `{b}` are shapes at their first mention,
`{the_a}` and `{the_b}` later on; `{is}` says how a stands to b, `{cam}` what the camera does.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ea_data.synthetic.phrases import Templates

RELATION_WORDS_EN: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = MappingProxyType(
    {
        "left of": (
            ("to the left of", "on the left of", "left of"),
            ("to the right of", "on the right of", "right of"),
        ),
        "above": (("above", "over"), ("below", "under")),
        "behind": (("behind", "partly hidden behind"), ("in front of", "partly covering")),
    }
)
"""How the first shape stands to the second, and the second to the first."""
RELATION_WORDS_ZH: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = MappingProxyType(
    {
        "left of": (
            ("在{b}的左边", "在{b}左侧", "位于{b}的左面"),
            ("在{b}的右边", "在{b}右侧", "位于{b}的右面"),
        ),
        "above": (("在{b}的上方", "在{b}上面"), ("在{b}的下方", "在{b}下面")),
        "behind": (("在{b}的后面", "被{b}部分遮住"), ("在{b}的前面", "部分遮住{b}")),
    }
)

RELATION_TEMPLATES_EN: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a} {is} {b} on {bg}, {the_a} {a_does} and {the_b} {b_does}",
            "on {bg}, {a}, which {a_does}, is {is} {b}, which {b_does}",
            "{a} is {is} {b} on {bg}; {the_a} {a_does}, {the_b} {b_does}",
            "on {bg}, {the_a} {a_does} and {the_b} {b_does}, {the_a} is {is} {the_b}",
        ),
        (True, False): (
            "{a} {is} {b}, {the_a} {a_does} and {the_b} {b_does}",
            "{a}, which {a_does}, is {is} {b}, which {b_does}",
            "{the_a} {a_does} and {the_b} {b_does}, {the_a} is {is} {the_b}",
        ),
        (False, True): (
            "{a} {is} {b} on {bg}",
            "on {bg}, {a} is {is} {b}",
            "a picture of {a} {is} {b} on {bg}",
        ),
        (False, False): ("{a} {is} {b}", "a picture of {a} {is} {b}"),
    }
)
RELATION_TEMPLATES_ZH: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{bg}上，{a}{is}，{the_a}{a_does}，{the_b}{b_does}",
            "{a}{is}，{the_a}{a_does}，{the_b}{b_does}，{bg}",
            "在{bg}上，{the_a}{a_does}，同时{the_b}{b_does}，{the_a}{is}",
        ),
        (True, False): (
            "{a}{is}，{the_a}{a_does}，{the_b}{b_does}",
            "{the_a}{a_does}，{the_b}{b_does}，{the_a}{is}",
        ),
        (False, True): ("{bg}上，{a}{is}", "{a}{is}，{bg}"),
        (False, False): ("{a}{is}", "一张图片，{a}{is}"),
    }
)

CAMERA_PHRASES_EN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "pan left": ("pans to the left", "pans left", "moves to the left", "slides left"),
        "pan right": ("pans to the right", "pans right", "moves to the right", "slides right"),
        "pan up": ("pans up", "moves upwards", "slides up"),
        "pan down": ("pans down", "moves downwards", "slides down"),
        "zoom in": ("zooms in", "moves closer", "moves forwards"),
        "zoom out": ("zooms out", "moves away", "moves backwards"),
        "clockwise": ("rotates clockwise", "turns clockwise", "rolls clockwise"),
        "counter-clockwise": ("rotates counter-clockwise", "turns counter-clockwise", "rolls anticlockwise"),
    }
)
CAMERA_PHRASES_ZH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "pan left": ("向左平移", "向左移动", "往左移"),
        "pan right": ("向右平移", "向右移动", "往右移"),
        "pan up": ("向上平移", "向上移动", "往上移"),
        "pan down": ("向下平移", "向下移动", "往下移"),
        "zoom in": ("推近", "向前推进", "靠近"),
        "zoom out": ("拉远", "向后拉", "远离"),
        "clockwise": ("顺时针旋转", "顺时针转动"),
        "counter-clockwise": ("逆时针旋转", "逆时针转动"),
    }
)
CAMERA_TEMPLATES_EN: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a} {a_does} on {bg}, the camera {cam}",
            "the camera {cam} while {a} {a_does} on {bg}",
            "on {bg}, {a} {a_does} as the camera {cam}",
            "{a} {a_doing} on {bg}, camera: {cam}",
        ),
        (True, False): ("{a} {a_does}, the camera {cam}", "the camera {cam} while {a} {a_does}"),
        (False, True): ("{a} on {bg}", "on {bg}, {a}", "a picture of {a} on {bg}"),
        (False, False): ("{a}", "a picture of {a}"),
    }
)
CAMERA_TEMPLATES_ZH: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a}在{bg}上{a_does}，镜头{cam}",
            "镜头{cam}，{a}在{bg}上{a_does}",
            "{bg}上，{a}{a_does}，相机{cam}",
        ),
        (True, False): ("{a}{a_does}，镜头{cam}", "镜头{cam}，{a}{a_does}"),
        (False, True): ("{bg}上的{a}", "{a}，{bg}"),
        (False, False): ("{a}", "一张图片，{a}"),
    }
)
FLOOR_WORDS_EN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "checkered": (
            "checkered {c} background",
            "{c} checkerboard background",
            "{c} background with checks",
        ),
        "dotted": ("dotted {c} background", "{c} polka-dot background", "{c} background with dots"),
    }
)
FLOOR_WORDS_ZH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "checkered": ("{c}棋盘格背景", "{c}方格背景", "带方格的{c}背景"),
        "dotted": ("{c}波点背景", "带波点的{c}背景"),
    }
)
