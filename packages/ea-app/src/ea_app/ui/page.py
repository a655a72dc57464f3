"""The parts of the page while it is built: controls by name, and which words they carry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ea_app.ui.text import has, word


@dataclass(kw_only=True)
class Page:
    """The parts of the page.

    Attributes:
        controls: What decides a job, by the names of `ea_app.ui.form.FIELDS`.
        parts: Everything else that events need, by name.
        worded: Blocks with the key of their word and what of them carries it.
        chosen: Blocks whose choices have words, with what gives them in a language.
    """

    controls: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    worded: list[tuple[Any, str, str]] = field(default_factory=list)
    chosen: dict[Any, Callable[[str], list[tuple[str, str]]]] = field(default_factory=dict)

    def control(self, name: str, component: Any, key: str | None = None) -> Any:
        """Take note of a control."""
        self.controls[name] = component
        return self.say(component, key or name)

    def part(self, name: str, component: Any, key: str | None = None, carries: str = "label") -> Any:
        """Take note of something else."""
        self.parts[name] = component
        return component if key is None else self.say(component, key, carries)

    def say(self, component: Any, key: str, carries: str = "label") -> Any:
        """Take note of the words of a block."""
        self.worded.append((component, key, carries))
        return component


def labels(key: str, language: str = "en") -> dict[str, Any]:
    """The words of a control when it is made."""
    told: dict[str, Any] = {"label": word(key, language)}
    if has(f"{key}.hint"):
        told["info"] = word(f"{key}.hint", language)
    return told
