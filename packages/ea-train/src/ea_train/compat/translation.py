"""From a command line of the scripts to settings of our recipes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ea_train.compat.parser import Given
from ea_train.compat.table import SCRIPTS, Flag, flags_of


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What the launcher says.

    Attributes:
        processes: How many train together; None where that is not known.
        precision: Mixed precision of the launcher.
        deepspeed: Whether the launcher asks for DeepSpeed.
    """

    processes: int | None = None
    precision: str | None = None
    deepspeed: bool = False


@dataclass(kw_only=True)
class Translation:
    """A run of one of our recipes.

    Attributes:
        recipe: Its name.
        settings: Values by dotted name.
        inputs: What the recipe is given beside its settings.
        output: Run folder.
        epochs: Steps are those of so many epochs, where the command says no number of steps.
        notes: What is to be known about single flags: (flag, sentence).
    """

    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    output: Path = Path("run")
    epochs: int | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)

    def note(self, flag: str, text: str) -> None:
        """Remember something to say about a flag."""
        self.notes.append((flag, text))


Rule = Callable[[Given, Launch, Translation], None]
"""Reads values and fills the translation."""

_RULES: Final[list[tuple[tuple[str, ...], frozenset[str], Rule]]] = []


def rule(*reads: str, scripts: tuple[str, ...]) -> Callable[[Rule], Rule]:
    """Say which flags a function translates; those of other flags are copied as they are.

    Args:
        reads: Python names of the flags.
        scripts: Of these scripts.
    """

    def add(function: Rule) -> Rule:
        _RULES.append((reads, frozenset(scripts), function))
        return function

    return add


def rules_of(script: str) -> list[tuple[tuple[str, ...], Rule]]:
    """The rules of a script: what they read, and what they are."""
    return [(reads, function) for reads, scripts, function in _RULES if script in scripts]


def copied_flags(script: str) -> list[Flag]:
    """Flags whose value is that of one setting."""
    read = {name for reads, _ in rules_of(script) for name in reads}
    return [flag for flag in flags_of(script) if flag.status != "dropped" and flag.to and flag.dest not in read]


def translate(given: Given, launch: Launch, recipe: str) -> Translation:
    """The run that a command line asks for.

    Args:
        given: The command line.
        launch: What the launcher says.
        recipe: Ours.

    Raises:
        ValueError: Values that no recipe takes; one line that names the flag.
    """
    found = Translation(recipe=recipe)
    for flag in copied_flags(given.script):
        value = given.values[flag.dest]
        if value is not None:
            found.settings[flag.to[0]] = value
    for _, function in rules_of(given.script):
        try:
            function(given, launch, found)
        except ValueError as error:
            raise ValueError(f"{SCRIPTS[given.script]}: {error}") from None
    for flag in flags_of(given.script):
        if flag.dest in given.written and flag.status in ("dropped", "improved"):
            found.note(flag.name, flag.why)
    return found


def renamed_flags(given: Given) -> list[tuple[str, str]]:
    """Flags of a command line that have another name here: (flag, settings)."""
    return [
        (flag.name, ", ".join(flag.to))
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
