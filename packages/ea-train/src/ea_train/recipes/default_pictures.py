"""Single pictures for the autoencoder of the bundled model, the start of `default-vae`.

A clip is nearly the same picture many times. Pictures cost a fraction and are all different, so what does not
need time (edges, colours, shapes) is learned on them.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from ea_train.recipes import default_vae
from ea_train.recipes.default_vae import DefaultVaeConfig
from ea_train.tasks.autoencoder import AutoencoderTask


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultVaeConfig:
    """Settings: those of `default-vae`, on pictures."""
    base = default_vae.config(preset)
    size, batch, steps, muon_lr = {
        "tiny": (16, 2, 4, 0.01),
        "cpu": (64, 16, 1200, 0.012),
        "gpu": (128, 128, 3000, 0.012),
    }[preset]
    shapes = ((1, size, size, 1.0),)
    if preset == "gpu":
        shapes = ((1, 128, 128, 0.5), (1, 64, 64, 0.2), (1, 96, 128, 0.2), (1, 128, 224, 0.1))
    task = dataclasses.replace(
        base.task, shapes=shapes, voxels_per_sample=size * size, whole_frames=17, validation_clips=64
    )
    loop = dataclasses.replace(base.loop, steps=steps, batch_size=batch)
    return dataclasses.replace(
        base, task=task, loop=loop, optim=dataclasses.replace(base.optim, muon_lr=muon_lr, lr=1e-3)
    )


def build(
    settings: DefaultVaeConfig, *, data: Path | None = None, init: Path | None = None
) -> AutoencoderTask:
    """The task; the arguments are those of `default_vae.build`."""
    return default_vae.build(settings, data=data, init=init)
