"""The stages by name; a stage is imported when it is used."""

import importlib
from collections.abc import Mapping
from typing import Any, Final

from ea_data.curation.stage import Stage
from ea_data.settings import from_mapping

__all__ = ["STAGES", "find_stage", "open_stage"]

_HERE: Final = "ea_data.curation.stages"
STAGES: Final[Mapping[str, str]] = {
    "probe": "probe:Probe",
    "duplicates": "duplicates:Duplicates",
    "looks": "looks_stage:LooksStage",
    "scenes": "scenes:Scenes",
    "cut": "cut:Cut",
    "transform": "transform:Transform",
    "quality": "quality:Quality",
    "motion": "motion:Motion",
    "camera": "camera:Camera",
    "text": "text_area:TextArea",
    "dissolves": "dissolves:Dissolves",
    "consistency": "consistency:Consistency",
    "aesthetics": "aesthetics:Aesthetics",
    "captions": "captions:Captions",
    "caption-server": "caption_server:CaptionServer",
    "caption-local": "caption_local:CaptionLocal",
    "rewrite": "rewrite:Rewrite",
    "clean": "clean:Clean",
    "match": "match:Match",
    "control-signals": "control_signals:ControlSignals",
}
"""Name to module and class."""


def find_stage(name: str) -> type[Stage[Any]]:
    """The class of a stage.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in STAGES:
        raise ValueError(f"there is no stage {name[:60]!r}; allowed: {', '.join(STAGES)}")
    module, _, attribute = STAGES[name].partition(":")
    return getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)


def open_stage(name: str, options: Mapping[str, Any]) -> Stage[Any]:
    """A stage with options; it loads nothing yet.

    Raises:
        ValueError: No such stage, an unknown option or a wrong value.
    """
    kind = find_stage(name)
    return kind(from_mapping(kind.options_type, options, where=name))
