"""What can be wrong with captions."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from ftfy.badness import is_bad

from ea_data.training.recipe import CaptionOptions

__all__ = ["caption_findings", "repeated_captions", "same_caption"]

_ADDRESS: Final = re.compile(
    r"https?://|www\.\w|[\w.+-]+@[\w-]+\.\w{2,}|[\w-]\.(?:com|net|org|ru|cn|io)\b", re.IGNORECASE
)
# Controls, private use, halves of characters; not what is unassigned, as each Unicode version adds letters.
_GARBAGE: Final = ("Cc", "Co", "Cs")
_PLAIN_SPACE: Final = "\t\n\r"
_LEAST_TEXT: Final = 0.4
_SHOWN: Final = 60


def caption_findings(text: str, options: CaptionOptions) -> Iterator[tuple[str, str]]:
    """Rules that one caption breaks, with messages."""
    stripped = text.strip()
    if not stripped:
        yield "caption-empty", "the caption is empty"
        return
    if len(stripped) < options.min_length:
        yield (
            "caption-short",
            f"{_quoted(stripped)} has {len(stripped)} characters; expected: {options.min_length} or more",
        )
    if options.max_length is not None and len(stripped) > options.max_length:
        yield (
            "caption-long",
            f"the caption has {len(stripped)} characters; expected: at most {options.max_length}",
        )
    if words := [word for word in options.forbidden if _has_word(text, word)]:
        yield "caption-forbidden", f"the caption has {', '.join(map(repr, words))}"
    if found := _ADDRESS.search(text):
        begin = max(0, found.start() - 5)
        yield "caption-url", f"the caption has an address: {_quoted(text[begin:])}"
    if reason := _garbage(stripped):
        yield "caption-garbage", f"{reason}: {_quoted(text)}"
    elif is_bad(text):
        yield "caption-mojibake", f"the caption was decoded with the wrong encoding: {_quoted(text)}"


def same_caption(text: str) -> str:
    """What captions are compared by: without case and doubled spaces."""
    return " ".join(text.casefold().split())


def repeated_captions(texts: Sequence[str], least: int) -> list[tuple[str, list[int]]]:
    """Captions that many rows have.

    Args:
        texts: Of all rows.
        least: Rows that are many.

    Returns:
        Each caption with the places of its rows, the most frequent first.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        if key := same_caption(text):
            places[key].append(place)
    many = [rows for rows in places.values() if len(rows) >= least]
    return [(texts[rows[0]], rows) for rows in sorted(many, key=lambda rows: (-len(rows), rows[0]))]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text, re.IGNORECASE) is not None


def _garbage(text: str) -> str | None:
    strange = [letter for letter in text if _is_strange(letter)]
    if strange:
        return f"the caption has U+{ord(strange[0]):04X}, which is no text"
    written = [letter for letter in text if not letter.isspace()]
    if sum(letter.isalnum() or unicodedata.category(letter).startswith("M") for letter in written) < (
        _LEAST_TEXT * len(written)
    ):
        return "the caption is hardly made of letters"
    return None


def _is_strange(letter: str) -> bool:
    """Whether no text has this: the mark of what could not be decoded, no characters, controls."""
    if letter == "\ufffd" or ord(letter) & 0xFFFE == 0xFFFE:
        return True
    return unicodedata.category(letter) in _GARBAGE and letter not in _PLAIN_SPACE


def _quoted(text: str) -> str:
    """The beginning of a text, with nothing in it that a terminal would obey."""
    return ascii(text[:_SHOWN]) if not text[:_SHOWN].isprintable() else repr(text[:_SHOWN])
