"""Messages about a wrong text: one line that points at the character."""

import json
from typing import Final

__all__ = ["error_at", "expected_at", "json_reason"]

_SHOWN: Final = 30


def expected_at(text: str, place: int, what: str, found: str) -> ValueError:
    """An error that says what should stand at a place of a text, and what does.

    Args:
        text: The whole text.
        place: Index of the character, 0 ... len(text).
        what: What would be right there.
        found: What stands there; empty for the end of the text.

    Returns:
        For the caller to raise; see `error_at`.
    """
    shown = f'"{found[:_SHOWN]}"' if found else "the end"
    return error_at(text, place, f"expected {what}, found {shown}")


def error_at(text: str, place: int, reason: str) -> ValueError:
    """An error that shows a place of a text with a mark before it, and says what is wrong.

    Args:
        text: The whole text.
        place: Index of the character, 0 ... len(text).
        reason: What is wrong there.

    Returns:
        For the caller to raise: one line such as `character 5 (pan ▸lft): expected left, right, up or down`.
    """
    begin, end = max(0, place - _SHOWN), place + _SHOWN
    before = ("..." if begin else "") + text[begin:place]
    after = text[place:end] + ("..." if end < len(text) else "")
    return ValueError(f"character {place + 1} ({_line(f'{before}▸{after}')}): {_line(reason)}")


def json_reason(error: Exception) -> str:
    """What is wrong with a text that `json.loads` refused, in words for whoever wrote it.

    Args:
        error: The ValueError or RecursionError that it raised.
    """
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, RecursionError):
        return "brackets within brackets, too deep to be read"
    if "set_int_max_str_digits" in str(error):
        return "a number with thousands of digits"
    return _line(str(error))[:100]


def _line(text: str) -> str:
    """The text in one line, without characters that a terminal would act on."""
    return "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))
