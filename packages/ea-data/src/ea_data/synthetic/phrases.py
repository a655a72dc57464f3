"""Words and sentence templates of the captions. The first entry of every list is the canonical one.

Templates are keyed by (motion stated, background stated); `{a}` is the first object, `{a_does}` and
`{a_doing}` its motion, `{bg}` the background.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Templates = Mapping[tuple[bool, bool], tuple[str, ...]]

MOTION_PHRASES_EN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "right": (
            "moves to the right",
            "moves right",
            "slides right",
            "travels rightwards",
            "glides to the right",
            "drifts from left to right",
        ),
        "left": (
            "moves to the left",
            "moves left",
            "slides left",
            "travels leftwards",
            "glides to the left",
            "drifts from right to left",
        ),
        "up": ("moves up", "moves upwards", "rises", "slides up", "travels upwards", "goes straight up"),
        "down": (
            "moves down",
            "moves downwards",
            "falls",
            "slides down",
            "travels downwards",
            "goes straight down",
        ),
        "up-right": (
            "moves to the upper right",
            "moves up and to the right",
            "slides diagonally up right",
            "travels towards the top right corner",
        ),
        "up-left": (
            "moves to the upper left",
            "moves up and to the left",
            "slides diagonally up left",
            "travels towards the top left corner",
        ),
        "down-right": (
            "moves to the lower right",
            "moves down and to the right",
            "slides diagonally down right",
            "travels towards the bottom right corner",
        ),
        "down-left": (
            "moves to the lower left",
            "moves down and to the left",
            "slides diagonally down left",
            "travels towards the bottom left corner",
        ),
        "grow": ("grows", "gets bigger", "grows larger", "expands", "becomes larger"),
        "shrink": ("shrinks", "gets smaller", "shrinks in size", "contracts", "becomes smaller"),
        "spin": ("spins", "rotates", "turns around", "spins in place", "rotates clockwise"),
        "bounce": ("bounces", "bounces up and down", "hops up and down", "jumps up and down"),
        "still": ("stays still", "does not move", "stands still", "remains in place"),
    }
)
GERUNDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "moves": "moving",
        "slides": "sliding",
        "travels": "travelling",
        "glides": "gliding",
        "drifts": "drifting",
        "rises": "rising",
        "goes": "going",
        "falls": "falling",
        "grows": "growing",
        "gets": "getting",
        "expands": "expanding",
        "becomes": "becoming",
        "shrinks": "shrinking",
        "contracts": "contracting",
        "spins": "spinning",
        "rotates": "rotating",
        "turns": "turning",
        "bounces": "bouncing",
        "hops": "hopping",
        "jumps": "jumping",
        "stays": "staying",
        "stands": "standing",
        "remains": "remaining",
        "does": "that does",
    }
)
MOTION_PHRASES_ZH: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "right": ("向右移动", "往右移动", "向右滑动", "从左向右移动", "朝右边移动"),
        "left": ("向左移动", "往左移动", "向左滑动", "从右向左移动", "朝左边移动"),
        "up": ("向上移动", "往上移动", "向上滑动", "上升", "朝上方移动"),
        "down": ("向下移动", "往下移动", "向下滑动", "下降", "朝下方移动"),
        "up-right": ("向右上方移动", "往右上角移动", "向右上滑动"),
        "up-left": ("向左上方移动", "往左上角移动", "向左上滑动"),
        "down-right": ("向右下方移动", "往右下角移动", "向右下滑动"),
        "down-left": ("向左下方移动", "往左下角移动", "向左下滑动"),
        "grow": ("变大", "逐渐变大", "慢慢放大", "扩大"),
        "shrink": ("变小", "逐渐变小", "慢慢缩小", "缩小"),
        "spin": ("旋转", "原地旋转", "转动", "顺时针旋转"),
        "bounce": ("弹跳", "上下弹跳", "上下跳动", "蹦跳"),
        "still": ("静止不动", "保持不动", "没有移动", "停在原地"),
    }
)

SINGLE_TEMPLATES_EN: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a} {a_does} on {bg}",
            "on {bg}, {a} {a_does}",
            "{a} {a_doing} on {bg}",
            "a video of {a} {a_doing} on {bg}",
            "{a} {a_does} in front of {bg}",
            "{bg}, {a} {a_does}",
        ),
        (True, False): (
            "{a} {a_does}",
            "{a} {a_doing}",
            "a video of {a} {a_doing}",
            "there is {a} and it {a_does}",
        ),
        (False, True): ("{a} on {bg}", "on {bg}, {a}", "a picture of {a} on {bg}", "{a} in front of {bg}"),
        (False, False): ("{a}", "a picture of {a}", "there is {a}"),
    }
)
PAIR_TEMPLATES_EN: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a} {a_does} and {b} {b_does} on {bg}",
            "on {bg}, {a} {a_does} while {b} {b_does}",
            "{a} {a_doing} and {b} {b_doing} on {bg}",
            "{a} {a_does}, {b} {b_does}, on {bg}",
        ),
        (True, False): (
            "{a} {a_does} and {b} {b_does}",
            "{a} {a_does} while {b} {b_does}",
            "{a} {a_doing} and {b} {b_doing}",
        ),
        (False, True): ("{a} and {b} on {bg}", "on {bg}, {a} and {b}", "a picture of {a} and {b} on {bg}"),
        (False, False): ("{a} and {b}", "a picture of {a} and {b}"),
    }
)
SINGLE_TEMPLATES_ZH: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a}在{bg}上{a_does}",
            "在{bg}上，{a}{a_does}",
            "{bg}，{a}{a_does}",
            "{a}在{bg}前{a_does}",
            "视频：{bg}上，{a}{a_does}",
        ),
        (True, False): ("{a}{a_does}", "{a}正在{a_does}", "视频中，{a}{a_does}"),
        (False, True): ("{bg}上的{a}", "{a}，{bg}", "一张图片，{bg}上有{a}"),
        (False, False): ("{a}", "一张图片，{a}"),
    }
)
PAIR_TEMPLATES_ZH: Final[Templates] = MappingProxyType(
    {
        (True, True): (
            "{a}{a_does}，{b}{b_does}，{bg}",
            "在{bg}上，{a}{a_does}，{b}{b_does}",
            "{bg}，{a}{a_does}，同时{b}{b_does}",
        ),
        (True, False): ("{a}{a_does}，{b}{b_does}", "{a}{a_does}，同时{b}{b_does}"),
        (False, True): ("{bg}上的{a}和{b}", "{a}和{b}，{bg}"),
        (False, False): ("{a}和{b}", "一张图片，{a}和{b}"),
    }
)
