"""What a prompt of Open-Sora may hold beside its text.

* References and a strategy, as JSON after the text: a cat{"reference_path": "a.png", "mask_strategy": "0"}.
* Texts for single loops: |0|a cat sits|2|it jumps, each shown until the next one begins.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from ea_data.mask_strategy.language import MAX_COUNT, MaskStrategy, parse_strategy
from ea_data.parsing import error_at, expected_at, json_reason

__all__ = [
    "OPTIONS",
    "Prompt",
    "loop_texts",
    "read_prompt",
    "split_prompt",
    "split_references",
]

OPTIONS: Final = ("reference_path", "mask_strategy")
"""What the JSON after a prompt may hold."""

_Value = TypeVar("_Value")
_BEGIN: Final = re.compile(r'\{\s*(?:"|\}\s*\Z)')
_FIRST: Final = "|0|"
_NUMBERED: Final = re.compile(r"\s*\|\s*[0-9]+\s*\|")
_WRONG: Final = "the options after the prompt cannot be read"


@dataclass(frozen=True)
class Prompt:
    """A prompt and what was written after it.

    Attributes:
        text: The prompt without the JSON; it may hold texts for single loops, see `loop_texts`.
        references: Files or addresses, in order; empty if none are named.
        strategy: None if none is given.
    """

    text: str
    references: tuple[str, ...] = ()
    strategy: MaskStrategy | None = None


def read_prompt(prompt: str) -> Prompt:
    """Read a prompt with what may be written after it.

    Args:
        prompt: Text, or text with a JSON object of `OPTIONS` at its end. Other braces are text.

    Raises:
        ValueError: The JSON, one of its values or its strategy is wrong; one line.
    """
    text, options = split_prompt(prompt)
    if unknown := sorted(set(options) - set(OPTIONS)):
        name = json.dumps(unknown[0])[:30]
        raise ValueError(f"the options after the prompt have {name}; allowed: {' and '.join(OPTIONS)}")
    for name, value in options.items():
        if not isinstance(value, str):
            shown = json.dumps(value)[:30]
            raise ValueError(f"{name} after the prompt is {shown}; allowed: a text in quotes")  # noqa: TRY004
    references, strategy = options.get("reference_path"), options.get("mask_strategy")
    return Prompt(
        text if text == prompt else text.strip(),
        () if references is None else _named("reference_path", split_references, references),
        None if strategy is None else _named("mask_strategy", parse_strategy, strategy),
    )


def split_prompt(prompt: str) -> tuple[str, dict[str, Any]]:
    """Split a prompt into its text and the JSON object at its end.

    Returns:
        The text as it stands before the object, and what the object holds; empty if there is none.

    Raises:
        ValueError: What begins like an object is none, or something follows it; points at the character.
    """
    begin = _BEGIN.search(prompt)
    if begin is None:
        return prompt, {}
    start = begin.start()
    try:
        values, length = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(prompt[start:])
    except json.JSONDecodeError as error:
        raise error_at(prompt, start + error.pos, f"{_WRONG}: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, endless digits, or a name twice
        raise error_at(prompt, start, f"{_WRONG}: {json_reason(error)}") from None
    rest = prompt[start + length :]
    if rest.strip():
        place = len(prompt) - len(rest.lstrip())
        raise expected_at(prompt, place, "the end after the options", rest.strip())
    return prompt[:start], cast("dict[str, Any]", values)


def split_references(text: str) -> tuple[str, ...]:
    """The names in a list of references joined by ";".

    Raises:
        ValueError: A name is empty; points at the character.
    """
    names: list[str] = []
    start = 0
    for part in text.split(";"):
        if not part.strip():
            raise expected_at(text, start, "the name of a reference", text[start + len(part) :][:1])
        names.append(part.strip())
        start += len(part) + 1
    return tuple(names)


def loop_texts(text: str, loops: int) -> tuple[str, ...]:
    """The text of every loop.

    Args:
        text: One text for all loops, or texts such as "|0|a cat sits|2|it jumps": from loop 0, from loop 2.
        loops: Number of loops.

    Returns:
        `loops` texts.

    Raises:
        ValueError: A loop is no number, does not rise, is not there or has no text, or texts for several
            loops that do not begin with the first; points at the character.
    """
    if not 1 <= loops <= MAX_COUNT:
        raise ValueError(f"loops is {loops}; allowed: 1 to {MAX_COUNT}")
    if not text.startswith(_FIRST):
        if loops > 1 and _NUMBERED.match(text):
            raise error_at(text, 0, f"texts for loops begin with {_FIRST}")
        return (text,) * loops
    texts: list[str] = []
    place = 1
    pieces = text.split("|")[1:]
    for number in range(0, len(pieces), 2):
        begin = _first_loop(text, place, pieces[number], len(texts), loops)
        if number + 1 == len(pieces):
            raise expected_at(text, len(text), '"|" and a text', "")
        if not pieces[number + 1].strip():
            raise expected_at(text, place + len(pieces[number]) + 1, "the text of a loop", "")
        texts += texts[-1:] * (begin - len(texts)) + [pieces[number + 1].strip()]
        place += len(pieces[number]) + len(pieces[number + 1]) + 2
    return tuple(texts + texts[-1:] * (loops - len(texts)))


def _first_loop(text: str, place: int, piece: str, low: int, loops: int) -> int:
    """From which loop on a text is shown; every text before was given one loop at least."""
    word = piece.strip()
    if re.fullmatch("[0-9]{1,9}", word) and low <= int(word) < loops:
        return int(word)
    found = word or text[place + len(piece) :][:1]
    place += piece.find(word)
    if low == loops:
        many = "1 loop has its text" if loops == 1 else f"{loops} loops have their texts"
        raise expected_at(text, place, f"the end, since the {many}", found)
    raise expected_at(text, place, f"a loop from {low} to {loops - 1}, in which the text begins", found)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON pairs; a name that comes twice is refused."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{json.dumps(name)[:30]} is given twice")
        found[name] = value
    return found


def _named(name: str, read: Callable[[str], _Value], text: str) -> _Value:
    """Read a value of the JSON; errors name it."""
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
