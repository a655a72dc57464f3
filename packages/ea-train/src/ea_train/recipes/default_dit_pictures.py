"""Single pictures for the denoiser of the bundled model, the start of `default-dit`.

What a prompt says about colours, shapes and backgrounds is learned on the first latent frame alone, with a
third of a clip's tokens; how things move comes after.
"""

import dataclasses
from typing import Any, Literal

from ea_train.recipes import default_dit
from ea_train.recipes.default_dit import DefaultDitConfig
from ea_train.tasks.denoise import DenoiseTask


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultDitConfig:
    """Settings: those of `default-dit`, on pictures."""
    base = default_dit.config(preset)
    steps = {"tiny": 4, "cpu": 5000, "gpu": 10000}[preset]
    return dataclasses.replace(
        base,
        task=dataclasses.replace(base.task, latent_lengths=((1, 1.0),)),
        loop=dataclasses.replace(base.loop, steps=steps),
        optim=dataclasses.replace(base.optim, decay_fraction=0.3),
    )


def build(settings: DefaultDitConfig, **inputs: Any) -> DenoiseTask:
    """The task; the arguments are those of `default_dit.build`."""
    return default_dit.build(settings, **inputs)
