"""Plans: which stages, in which order, with which options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import yaml

from ea_data.curation.listing import ListOptions
from ea_data.curation.registry import STAGES, find_stage, open_stage
from ea_data.curation.stage import SplitStage, Stage
from ea_data.media.errors import media_errors
from ea_data.settings import from_mapping, to_mapping

__all__ = ["CARRIED", "Plan", "Step", "check_prompts", "load_plan", "plan_names", "plan_of"]

CARRIED: Final = ("text", "class", "stem", "models")
"""Columns that files made of a file inherit from it."""

_FROM_LIST: Final = ("text", "class", "stem")
_KEYS: Final = ("about", "list", "stages")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stage in a plan.

    Attributes:
        label: STAGE, or STAGE/WORD for one that comes twice.
        stage: Its name.
        options: Its options, defaults among them.
    """

    label: str
    stage: str
    options: Mapping[str, Any]

    def opened(self) -> Stage[Any]:
        """The stage; it loads nothing yet."""
        return open_stage(self.stage, self.options)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Stages in their order.

    Attributes:
        name: Of a shipped plan, or of the file.
        about: One line.
        listing: Which files it begins with.
        steps: One or more.
    """

    name: str
    about: str = ""
    listing: ListOptions = field(default_factory=ListOptions)
    steps: tuple[Step, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """Plain values from which `plan_of` makes the same plan."""
        stages = [{step.label: dict(step.options)} for step in self.steps]
        return {"about": self.about, "list": to_mapping(self.listing), "stages": stages}


def plan_names() -> list[str]:
    """The shipped plans."""
    found = (entry.name for entry in _shipped().iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def load_plan(name: str, changes: Sequence[str] = ()) -> Plan:
    """A shipped plan, or one of a YAML file.

    Args:
        name: Of the plan, or of the file.
        changes: LABEL.OPTION=VALUE each, the value as YAML.

    Raises:
        ValueError: No such plan, or something in it is wrong.
    """
    if name in plan_names():
        text = (_shipped() / f"{name}.yaml").read_text(encoding="utf-8")
    elif (path := Path(name)).suffix in (".yaml", ".yml"):
        with media_errors(path, "read"):
            text = path.read_text(encoding="utf-8")
        name = path.stem
    else:
        raise ValueError(
            f"there is no plan {name[:80]!r}; allowed: {', '.join(plan_names())}, or a .yaml file"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"plan {name}: {' '.join(str(error).split())}") from error
    return plan_of(name, _changed(name, values, changes))


def plan_of(name: str, values: object) -> Plan:
    """A plan from plain values.

    Raises:
        ValueError: Something in it is wrong, with its place.
    """
    where = f"plan {name}"
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected the keys {', '.join(_KEYS)}")  # noqa: TRY004  a wrong setting
    entries = cast(dict[str, Any], values)
    if unknown := sorted(map(str, set(entries) - set(_KEYS))):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(_KEYS)}")
    about = entries.get("about") or ""
    if not isinstance(about, str):
        raise ValueError(f"{where}.about: expected text, got {about!r}")  # noqa: TRY004
    listing = from_mapping(ListOptions, entries.get("list") or {}, where=f"{where}.list")
    steps = tuple(_step(where, entry) for entry in _stage_entries(where, entries.get("stages")))
    _check_labels(where, steps)
    _check_columns(where, steps)
    return Plan(name=name, about=" ".join(about.split()), listing=listing, steps=steps)


def _stage_entries(where: str, stages: object) -> list[tuple[str, Any]]:
    if not isinstance(stages, list) or not stages:
        raise ValueError(f"{where}.stages: expected a list of one or more stages")
    found: list[tuple[str, Any]] = []
    for number, entry in enumerate(cast(list[object], stages)):
        if isinstance(entry, str):
            found.append((entry, {}))
        elif isinstance(entry, dict) and len(cast(dict[Any, Any], entry)) == 1:
            found.extend(cast(dict[str, Any], entry).items())
        else:
            raise ValueError(
                f"{where}.stages[{number}]: expected the name of a stage, or NAME: {{OPTION: VALUE}}"
            )
    return found


def _step(where: str, entry: tuple[str, Any]) -> Step:
    label, options = entry
    stage = str(label).partition("/")[0]
    try:
        opened = open_stage(stage, options or {})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return Step(label=str(label), stage=stage, options=_plain(to_mapping(opened.options)))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}


def _check_labels(where: str, steps: Sequence[Step]) -> None:
    labels = [step.label for step in steps]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{where}: stage {label!r} comes twice; write {label}/WORD for one of them")


def _check_columns(where: str, steps: Sequence[Step]) -> None:
    """Whether all that a stage reads is given by an earlier one."""
    known = set(_FROM_LIST)
    for step in steps:
        stage = step.opened()
        if missing := [name for name in stage.reads() if name not in known]:
            givers = _givers(missing[0])
            raise ValueError(f"{where}: {step.label} needs {missing[0]!r}; put {givers} before it")
        if isinstance(stage, SplitStage) and not stage.same_content:
            known &= set(CARRIED)
        known |= set(stage.gives)


def check_prompts(plan: Plan, source: str) -> None:
    """Refuse a list of prompts for a plan whose stages need files: what a stage cannot see it cannot judge.

    Args:
        plan: The stages.
        source: Name of the list.

    Raises:
        ValueError: A stage needs files.
    """
    able = [name for name in STAGES if "text" in find_stage(name).kinds]
    for step in plan.steps:
        if step.stage not in able:
            raise ValueError(
                f"{source} is a list of prompts, and the stage {step.label} of plan {plan.name} needs files; "
                f"allowed: {', '.join(able)}"
            )


def _givers(column: str) -> str:
    return " or ".join(name for name in STAGES if column in find_stage(name).gives) or "a stage that gives it"


def _changed(name: str, values: Any, changes: Sequence[str]) -> Any:
    """The plain values of a plan with other options."""
    for change in changes:
        place, equals, text = change.partition("=")
        label, dot, option = place.rpartition(".")
        if not equals or not dot:
            raise ValueError(f"{change[:80]!r} changes nothing; allowed: STAGE.OPTION=VALUE")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{change[:80]!r}: the value is no YAML") from error
        if label == "list":
            values["list"] = {**(values.get("list") or {}), option: value}
            continue
        entries = _stage_entries(f"plan {name}", values.get("stages"))
        labels = [entry[0] for entry in entries]
        if label not in labels:
            raise ValueError(f"plan {name} has no stage {label!r}; it has list, {', '.join(labels)}")
        values["stages"] = [
            {key: {**(old or {}), option: value} if key == label else old} for key, old in entries
        ]
    return values


def _shipped() -> Any:
    return resources.files("ea_data.curation") / "plans"
