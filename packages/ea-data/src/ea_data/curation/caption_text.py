"""Captions as models write them: answers that hold one, and what has to be cleaned away."""

import html
import json
import re
from typing import Final

import ftfy

__all__ = ["cleaned", "rewritten"]

_ADDRESS: Final = re.compile(r"(?:https?://|www\.)[^\s)\]>]+|\b[\w.+-]+@[\w-]+\.[\w.]+\b", re.IGNORECASE)
_EMPTY_BRACKETS: Final = re.compile(r"\(\s*\)|\[\s*\]")
_THOUGHTS: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_MARKS: Final = re.compile(r"\*\*|__|`|^#+\s*", re.MULTILINE)
_OPENINGS: Final = re.compile(
    r"\A(?:(?:sure|certainly|of course|okay|ok)[!,.:]\s*)?"
    r"(?:here(?: is|'s| are) (?:the|a|an|your)\b[^.:\n]{0,80}:\s*)?"
    r"(?:(?:the|this)\s+(?:video|image|picture|clip)\s+(?:shows|depicts|features|captures|presents)\s+)?"
    r"(?:in (?:the|this) (?:video|image|picture|clip),\s*)?",
    re.IGNORECASE,
)
_QUOTES: Final = ('""', "''", "“”", "「」", "‘’")


def cleaned(text: str, *, addresses: bool = True, openings: bool = True) -> str:
    """A caption without what is no caption: wrong encodings, tags, markup, addresses, words to the asker.

    Args:
        text: As it came.
        addresses: Whether to take out web and mail addresses.
        openings: Whether to take out what a model says before the caption, such as "The video shows".
    """
    text = _THOUGHTS.sub("", html.unescape(ftfy.fix_text(text)))
    text = _MARKS.sub("", re.sub(r"</?[a-zA-Z][^<>]{0,40}>", " ", text))
    if addresses:
        text = _EMPTY_BRACKETS.sub(" ", _ADDRESS.sub(" ", text))
    text = _unquoted(" ".join(text.split()))
    if openings:
        without = _OPENINGS.sub("", text, count=1).strip()
        if without and without != text:
            text = without[0].upper() + without[1:]
    text = re.sub(r"\s+([,.;:!?])", r"\1", text)
    return _unquoted(text).strip()


def rewritten(answer: str, key: str) -> str | None:
    """The text of one key in an answer that should be a JSON object, or None.

    As released, the object may stand among other words, and the text may have line breaks, which JSON
    forbids; unlike there, it may have a closing brace.

    Args:
        answer: Of a model.
        key: Such as "rewritten description".
    """
    begin = answer.find("{")
    if begin < 0:
        return None
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(answer, begin)
    except ValueError:
        return None
    text = found.get(key) if isinstance(found, dict) else None
    return text if isinstance(text, str) and text.strip() else None


def _unquoted(text: str) -> str:
    for first, last in _QUOTES:
        if len(text) > 1 and text[0] == first and text[-1] == last and first not in text[1:-1]:
            return text[1:-1].strip()
    return text
