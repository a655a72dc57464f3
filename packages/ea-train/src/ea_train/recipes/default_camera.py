"""A camera model that grows out of the bundled model: it follows the rays of a camera.

It learns what `default-control` learns, from clips of which half also show their first picture: where things
go is easiest to learn where it is given what they are.
"""

import dataclasses
from typing import Any, Literal

from ea_train.recipes import default_control
from ea_train.recipes.default_control import DefaultControlConfig
from ea_train.tasks.control_cached import ControlTask


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultControlConfig:
    """Settings: those of `default-control`, with more references and fewer samples without rays."""
    base = default_control.config(preset)
    task = dataclasses.replace(base.task, reference_dropout=0.5, condition_dropout=0.15)
    return dataclasses.replace(base, task=task)


def build(settings: DefaultControlConfig, **inputs: Any) -> ControlTask:
    """The task; the arguments are those of `default_control.build`."""
    return default_control.build(settings, kind="camera", **inputs)
