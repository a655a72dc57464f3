"""One stage by itself: a plan of what it needs, and of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from ea_data.curation.plan import Plan, plan_of
from ea_data.curation.registry import STAGES, find_stage, open_stage
from ea_data.curation.stage import SplitStage

__all__ = ["option_lines", "plan_of_stage"]

_OPEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "probe": {"least_pixels": 1, "least_seconds": 0.0, "most_aspect": 1000.0},
}
"""Options with which a stage that only another one needs drops nothing."""

_GIVEN: Final = ("text", "class", "stem")


def plan_of_stage(name: str, changes: Sequence[str] = ()) -> Plan:
    """The plan that runs one stage, with the stages before it that give what it reads.

    Args:
        name: Of the stage.
        changes: OPTION=VALUE each, the value as YAML.

    Raises:
        ValueError: No such stage or option, or a wrong value.
    """
    options: dict[str, Any] = {}
    for change in changes:
        option, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"{change[:80]!r} changes nothing; allowed: OPTION=VALUE")
        try:
            options[option.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"{change[:80]!r}: the value is no YAML") from error
    before: dict[str, None] = {}
    _add_needed(open_stage(name, options).reads(), before)
    needed = [{each: dict(_OPEN.get(each, {}))} for each in before]
    about = f"The stage {name}, and what it needs."
    return plan_of(name, {"about": about, "stages": [*needed, {name: options}]})


def option_lines(name: str) -> str:
    """The options of a stage with their defaults, as YAML, and what they mean."""
    stage = find_stage(name)
    plan = plan_of_stage(name)
    defaults = yaml.safe_dump(dict(plan.steps[-1].options), sort_keys=False, allow_unicode=True)
    meaning = (stage.options_type.__doc__ or "").strip()
    return f"{name}: {stage.summary}\n\n{meaning}\n\n{defaults.rstrip()}"


def _add_needed(columns: Sequence[str], found: dict[str, None]) -> None:
    """Stages that give columns, and what those need before them."""
    for column in columns:
        if column in _GIVEN or any(column in find_stage(each).gives for each in found):
            continue
        # A stage that reads and writes a column, such as one that cleans captions, is no source of it.
        giver = next(
            each
            for each in STAGES
            if column in find_stage(each).gives
            and column not in find_stage(each).needs
            and not issubclass(find_stage(each), SplitStage)
        )
        _add_needed(find_stage(giver).needs, found)
        found[giver] = None
