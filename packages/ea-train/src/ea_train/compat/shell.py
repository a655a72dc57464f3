"""Statements of a shell script, read and never run."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

# Private characters that stand for others while shlex takes quotes away: a `$` that is replaced, one that is
# replaced and never split into words, one that is a plain dollar, a backtick that runs a command, and `<` or
# `>` that leads elsewhere.
_BARE, _QUOTED, _PLAIN, _TICK, _LEADS = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
_MARK: Final = f"[{_BARE}{_QUOTED}]"
_VARIABLE: Final = re.compile(rf"{_MARK}(?:(?P<name>\w+|[@*#?!])|\{{(?P<inner>[^}}]*)\}})")
_INNER: Final = re.compile(r"(?P<name>\w+)(?::?-(?P<default>.*))?")
_RUNS: Final = re.compile(rf"{_MARK}\(|{_TICK}")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_REDIRECTION: Final = re.compile(rf"(?:\d*|&){_LEADS}+(?P<target>.*)")
_LEADING: Final = {"export", "then", "do", "else", "env", "exec", "nohup", "time", "!"}
_ENDS: Final = "\n;&|"


@dataclass(frozen=True)
class Statement:
    """One command of a script.

    Attributes:
        line: Where it begins, from 1.
        words: Without quotes, variables replaced.
    """

    line: int
    words: tuple[str, ...]


def read_statements(text: str, variables: Mapping[str, str], *, needed: str = "") -> list[Statement]:
    """The commands of a script, in their order, with assignments followed.

    Args:
        text: Of the script, or one command line.
        variables: Known before the script.
        needed: Regular expression; only statements that contain it have to be understood, others that
            cannot be are left out.

    Raises:
        ValueError: Such a statement has an open quote, takes a value from another command, or uses a variable
            that nothing sets; one line with its number.
    """
    known = dict(variables)
    found: list[Statement] = []
    for line, raw in _split(text):
        try:
            words = _follow_assignments(_words(raw, known), known)
        except ValueError as error:
            if re.search(needed, raw):
                raise ValueError(f"line {line}: {error}") from None
            continue
        if words:
            found.append(Statement(line, tuple(words)))
    return found


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Statements with the numbers of their first lines; comments gone, continued lines joined, `$` marked."""
    part, quote, line, first, place = "", "", 1, 1, 0
    text = text.replace("\r\n", "\n")
    while place < len(text):
        char, place = text[place], place + 1
        if not part.strip():
            first = line
        line += char == "\n"
        if char == "\\" and quote != "'":
            after, place = text[place : place + 1], place + 1
            line += after == "\n"
            part += {"\n": "", "$": _PLAIN}.get(after, char + after)
        elif quote or char in "'\"":
            quote = "" if char == quote else quote or char
            part += _marked(char, quote)
        elif char == "#" and (not part or part[-1].isspace()):
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
        elif char in _ENDS and not _redirects(part, char, text[place : place + 1]):
            yield first, part
            part = ""
        else:
            part += _marked(char, quote)
    yield first, part


def _marked(char: str, quote: str) -> str:
    if char == "$":
        return {"'": _PLAIN, '"': _QUOTED}.get(quote, _BARE)
    if char in "<>" and not quote:
        return _LEADS
    return _TICK if char == "`" and quote != "'" else char


def _redirects(part: str, char: str, after: str) -> bool:
    """Whether `&` belongs to `2>&1` or `&>file`, and ends no statement."""
    return char == "&" and (part[-1:] == _LEADS or after == ">")


def _words(raw: str, known: Mapping[str, str]) -> list[str]:
    if _RUNS.search(raw):
        raise ValueError("a value comes from another command, which is not run; write the value there")
    try:
        words = shlex.split(raw)
    except ValueError:
        raise ValueError("a quote is open, or a backslash ends the script") from None
    return [plain for word in _without_redirections(words) for plain in _expand(word, known)]


def _without_redirections(words: list[str]) -> Iterator[str]:
    takes_next = False
    for word in words:
        match = _REDIRECTION.fullmatch(word)
        if match:
            takes_next = not match["target"]
        elif takes_next:
            takes_next = False
        else:
            yield word


def _expand(word: str, known: Mapping[str, str]) -> list[str]:
    """Replace variables; a word that is one bare variable becomes as many words as its value has."""
    whole = _VARIABLE.fullmatch(word)
    if whole and word[0] == _BARE:
        return _value(whole, known).split()
    text = _VARIABLE.sub(lambda match: _value(match, known), word)
    if re.search(_MARK + r"\{", text):
        raise ValueError("${ is not understood; write the value there")
    return [re.sub(f"[{_BARE}{_QUOTED}{_PLAIN}]", "$", text).replace(_TICK, "`")]


def _value(match: re.Match[str], known: Mapping[str, str]) -> str:
    inner = _INNER.fullmatch(match["name"] or match["inner"])
    if match["name"] and not inner:
        raise ValueError(f"${match['name']} is not set; write the value there")
    if not inner:
        raise ValueError(f"${{{match['inner']}}} is not understood; write the value there")
    name, default = inner["name"], inner["default"]
    found = known.get(name) or default
    if found is None and name not in known:
        raise ValueError(f"the variable {name} is not set; set it in a line before")
    return found or ""


def _follow_assignments(words: list[str], known: dict[str, str]) -> list[str]:
    """Take `NAME=value` and words like `export` from the front, and remember the values."""
    while words and (words[0] in _LEADING or _ASSIGNMENT.match(words[0])):
        name, equals, value = words[0].partition("=")
        if equals:
            known[name] = value
        words = words[1:]
    return words
