"""Cleaning of captions, as the T5 models of PixArt's line (Open-Sora, EasyAnimate V1 to V3) read them.

What a scraped caption has beside its words is taken out: addresses, markup, file names, article numbers,
ideographs, advertisements. The order of the rules counts. Repair of wrongly decoded text, which the original
attempts after lower-casing has destroyed most of it, is left out.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote_plus

_FILE_KINDS = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_MOST_JOINTS = 3


class Rule(NamedTuple):
    """What is looked for, and what takes its place."""

    pattern: re.Pattern[str]
    replacement: str = ""


def _rules(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple(Rule(re.compile(pattern), replacement) for pattern, replacement in pairs)


_ADDRESSES = _rules(
    ("<person>", "person"),
    (r"\b(?:https?|www):(?:/{1,3}|[a-z0-9%])", ""),
    (r"\b[a-z0-9.-]+\.(?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)", ""),
)
_SIGNS = _rules(
    (r"@\w+\b", ""),
    # Ideographs with their strokes and enclosed forms, and the phonetic extensions between them.
    ("[\u31c0-\u9fff]+", ""),
)
_MARKS = _rules(
    ("[`´«»“”¨]", '"'),
    ("[‘’]", "'"),
    ("&quot;?|&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),
    (r"\d:\d\d\s+$", ""),
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"\S+\.(?:{_FILE_KINDS})", ""),
    ("[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~()\[\]{}|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
_OFFERS = _rules(
    (r"\b[a-z]{1,3}\d{3,15}\b", ""),
    (r"\b[a-z]+\d+[a-z]+\b", ""),
    (r"\b\d+[a-z]+\d+\b", ""),
    (r"(?:worldwide\s+)?(?:free\s+)?shipping", ""),
    (r"(?:free\s)?download(?:\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILE_KINDS})(?:\simages?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-z]+\d+[a-z]+\d+[a-z\d]*\b", " "),
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),
)
_SPACING = _rules(
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
)
# A space at either end keeps a mark there: the original trims only afterwards.
_ENDS = _rules(
    ("^[\"']([\\w\\W]+)[\"']$", r"\1"),
    ("^['_,:;-]", ""),
    ("['_,:+-]$", ""),
    (r"^\.\S+$", ""),
)
_JOINT = re.compile("[-_]")
_LIGATURES_AND_WIDE = re.compile(
    "[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u3000\ufb00-\ufb06\uff01-\uffef]"
)
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]")


def clean_caption(text: str, *, passes: int = 2) -> str:
    """Cleans a caption.

    Args:
        text: As a user or a data set gives it.
        passes: How often; released programs clean a prompt twice, since one pass may uncover more. 0 only
            lower-cases and trims.

    Returns:
        Lower-case text, possibly empty.

    Raises:
        ValueError: If passes is negative.
    """
    if passes < 0:
        raise ValueError(f"passes must be at least 0, got {passes}")
    for _ in range(passes):
        text = _clean_once(text)
    return text.lower().strip()


def _clean_once(text: str) -> str:
    text = unquote_plus(text).strip().lower()
    text = _without_markup(_apply(_ADDRESSES, text))
    text = _with_plain_dashes(_apply(_SIGNS, text))
    text = _apply(_MARKS, text)
    if len(_JOINT.findall(text)) > _MOST_JOINTS:
        text = _JOINT.sub(" ", text)
    text = html.unescape(html.unescape(_with_plain_characters(text))).strip()
    text = _apply(_SPACING, _apply(_OFFERS, text))
    return _apply(_ENDS, text).strip()


def _apply(rules: Sequence[Rule], text: str) -> str:
    for rule in rules:
        text = rule.pattern.sub(rule.replacement, text)
    return text


class _Words(HTMLParser):
    """Collects what a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enters an element that is not shown."""
        del attrs
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        """Leaves it."""
        self.hidden = max(self.hidden - (tag in ("script", "style")), 0)

    def handle_data(self, data: str) -> None:
        """Keeps text."""
        if not self.hidden:
            self.words.append(data)


def _without_markup(text: str) -> str:
    parser = _Words()
    parser.feed(text)
    parser.close()
    return "".join(parser.words)


def _with_plain_dashes(text: str) -> str:
    return "".join("-" if unicodedata.category(sign) == "Pd" else sign for sign in text)


def _with_plain_characters(text: str) -> str:
    """Composes accents, spells out ligatures and wide forms, drops what is not visible."""
    text = _LIGATURES_AND_WIDE.sub(lambda hit: unicodedata.normalize("NFKC", hit[0]), text)
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
