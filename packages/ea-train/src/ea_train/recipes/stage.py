"""One stage of how a released generation was trained, by name; the networks are those of a model directory.

`NAME-tiny` is the same stage with short clips of a few pixels and four steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import torch

from ea_data.training.shapes import ShapeOptions
from ea_train.recipes import finetune
from ea_train.recipes.finetune import FinetuneConfig
from ea_train.recipes.stage_names import TINY
from ea_train.recipes.stages_easyanimate import STAGES as EASYANIMATE
from ea_train.recipes.stages_open_sora import STAGES as OPEN_SORA
from ea_train.tasks.denoise import DenoiseTask

_SMALLEST: Final = f"v5.1-13312{TINY}"
STAGES: Final[Mapping[str, Callable[[], FinetuneConfig]]] = MappingProxyType({**EASYANIMATE, **OPEN_SORA})
"""Settings of every stage at its released scale."""


def config(preset: str) -> FinetuneConfig:
    """Settings of a stage.

    Args:
        preset: Name of a stage, with `-tiny` for the tiny one; "tiny" is that of one that needs no control.

    Raises:
        ValueError: No such stage.
    """
    preset = _SMALLEST if preset == "tiny" else preset
    name = preset.removesuffix(TINY)
    if name not in STAGES:
        known = ", ".join(STAGES)
        raise ValueError(f"preset must be one of {known}, or with {TINY} behind it, got {preset!r}")
    settings = STAGES[name]()
    return tiny(settings) if preset != name else settings


def build(settings: FinetuneConfig, *, device: torch.device) -> DenoiseTask:
    """The task, as `finetune.build` makes it."""
    return finetune.build(settings, device=device)


def tiny(settings: FinetuneConfig) -> FinetuneConfig:
    """The stage on clips and batches that a CPU trains on in seconds; what learns and how stays the same."""
    recipe = settings.data.recipe
    if recipe.buckets is not None:
        pictures = all(set(slots) == {1} for slots in recipe.buckets.values())
        slots: dict[int, tuple[float, int | None]] = {1: (1.0, 2)}
        if not pictures:
            slots[16] = (1.0, 1)
        recipe = replace(recipe, buckets={"144p": slots}, clip=replace(recipe.clip, stride=1))
    else:
        assert recipe.shapes is not None
        frames = 1 if recipe.shapes.video_sample_n_frames == 1 else 17
        shapes: ShapeOptions = replace(
            recipe.shapes,
            video_sample_size=32,
            image_sample_size=32,
            token_sample_size=32,
            video_sample_n_frames=frames,
        )
        recipe = replace(recipe, shapes=shapes, clip=replace(recipe.clip, stride=1))
    return replace(
        settings,
        loop=replace(
            settings.loop,
            steps=4,
            batch_size=1 if recipe.buckets is not None else 2,
            grad_accum=1,
            precision="fp32",
            log_every=1,
            validate_every=0,
            num_workers=0,
            sharding="none",
        ),
        optim=replace(settings.optim, lr=1e-3, warmup_steps=1),
        model=replace(settings.model, recompute=False, low_vram=False),
        data=replace(settings.data, recipe=recipe, validation_clips=2),
    )
