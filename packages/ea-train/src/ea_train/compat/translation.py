"""From a command line of the scripts to settings of our recipes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ea_train.compat.parser import Given
from ea_train.compat.table import SCRIPTS, Flag, flags_of


@dataclass(kw_only=True)
class Translation:
    """The run of one of our recipes that a command line asks for.

    Attributes:
        given: The command line.
        recipe: Name of the recipe.
        preset: What the settings are laid over.
        settings: Values by dotted name.
        inputs: What the recipe is given beside its settings.
        output: Run folder.
        epochs: Steps are those of so many epochs, where the command says no number of steps.
        notes: What is to be known about single flags: (flag, sentence).
        comments: What is to be known about settings that no flag of the command line fills.
    """

    given: Given
    recipe: str
    preset: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    output: Path = Path("run")
    epochs: int | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)

    def note(self, flag: str, text: str) -> None:
        """Remember something to say about a flag."""
        self.notes.append((flag, text))


Apply = Callable[[Given, Translation], None]
"""Reads values and fills the translation."""


@dataclass(frozen=True)
class Rule:
    """How some flags become settings; those of no rule are copied as they are.

    Attributes:
        reads: Python names of the flags.
        scripts: That have them.
        apply: Fills the translation.
    """

    reads: tuple[str, ...]
    scripts: tuple[str, ...]
    apply: Apply


def rule(*reads: str, scripts: tuple[str, ...]) -> Callable[[Apply], Rule]:
    """Make a function a rule for these flags of these scripts."""
    return lambda apply: Rule(reads, scripts, apply)


def copied_flags(script: str, rules: Iterable[Rule]) -> list[Flag]:
    """Flags whose value is that of one setting."""
    read = {name for rule in rules if script in rule.scripts for name in rule.reads}
    flags = flags_of(script)
    return [flag for flag in flags if flag.status != "dropped" and flag.to and flag.dest not in read]


def translate(start: Translation, rules: Iterable[Rule]) -> Translation:
    """The run that a command line asks for.

    Args:
        start: Command line, recipe and preset.
        rules: Of all scripts.

    Returns:
        `start`, filled.

    Raises:
        ValueError: Values that no recipe takes; one line that names the flag.
    """
    given = start.given
    rules = [rule for rule in rules if given.script in rule.scripts]
    for flag in copied_flags(given.script, rules):
        value = given.values[flag.dest]
        if value is not None:
            start.settings[flag.to[0]] = value
    for one in rules:
        try:
            one.apply(given, start)
        except ValueError as error:
            raise ValueError(f"{SCRIPTS[given.script]}: {error}") from None
    said = {flag for flag, _ in start.notes}
    for flag in flags_of(given.script):
        # Where another way of doing the same needs words, the rule that fills the settings says them.
        if flag.dest in given.written and flag.name not in said and flag.why and not flag.to:
            start.note(flag.name, flag.why)
    return start


def renamed_flags(given: Given) -> list[tuple[str, str]]:
    """Flags of a command line that have another name here: (flag, setting)."""
    return [
        (flag.name, flag.to[0])
        for flag in flags_of(given.script)
        if flag.dest in given.written and flag.status == "renamed"
    ]


def one_of(flag: str, value: str, allowed: dict[str, Any]) -> Any:
    """The meaning of a word.

    Raises:
        ValueError: It is none of the allowed words.
    """
    if value not in allowed:
        raise ValueError(f"{flag} is {value!r}; allowed: {', '.join(allowed)}")
    return allowed[value]
