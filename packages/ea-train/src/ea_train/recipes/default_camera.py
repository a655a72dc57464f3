"""A camera model that grows out of the bundled model: it follows the rays of a camera.

It learns only attention and the first and last layers: a camera changes where things are, not what they are.
"""

import dataclasses
from typing import Any, Literal

from ea_train.adapters import AdapterConfig
from ea_train.recipes import default_control
from ea_train.recipes.default_control import DefaultControlConfig
from ea_train.tasks.control_cached import ControlTask


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultControlConfig:
    """Settings: those of `default-control`, on fewer weights."""
    base = default_control.config(preset)
    names = ("patch_embed", "attention.video", "head.projection")
    return dataclasses.replace(base, adapter=AdapterConfig(kind="parts", names=names))


def build(settings: DefaultControlConfig, **inputs: Any) -> ControlTask:
    """The task; the arguments are those of `default_control.build`."""
    return default_control.build(settings, kind="camera", **inputs)
