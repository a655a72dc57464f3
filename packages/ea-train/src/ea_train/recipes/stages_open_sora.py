"""The stages of Open-Sora 1.1: buckets of resolution and frames, masks of whole frames.

Buckets are those of the released configs, with the batch of one process of 64; steps are those of the report.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from ea_data.training.recipe import BucketConfig, ClipOptions, DataRecipe, MaskOptions
from ea_train.config import LoopConfig, OptimConfig
from ea_train.data import DataConfig
from ea_train.model import ModelConfig
from ea_train.objectives.config import ObjectiveConfig
from ea_train.objectives.levels import LevelConfig
from ea_train.recipes.finetune import FinetuneConfig

_IMAGES: Final[BucketConfig] = {
    "256": {1: (1.0, 256)},
    "512": {1: (1.0, 80)},
    "480p": {1: (1.0, 52)},
    "1024": {1: (1.0, 20)},
    "1080p": {1: (1.0, 8)},
}
_FIRST: Final[BucketConfig] = {
    "144p": {1: (0.5, 48), 16: (1.0, 6), 32: (1.0, 3), 96: (1.0, 1)},
    "256": {1: (0.5, 24), 16: (0.5, 3), 48: (0.5, 1), 64: (0.0, None)},
    "240p": {16: (0.3, 2), 32: (0.3, 1), 64: (0.0, None)},
    "512": {1: (0.4, 12)},
    "1024": {1: (0.3, 3)},
}
_SECOND: Final[BucketConfig] = {
    "144p": {1: (1.0, 48), 16: (1.0, 17), 32: (1.0, 9), 64: (1.0, 4), 128: (1.0, 1)},
    "256": {1: (0.8, 254), 16: (0.5, 17), 32: (0.5, 9), 64: (0.5, 4), 128: (0.5, 1)},
    "240p": {1: (0.1, 20), 16: (0.9, 17), 32: (0.8, 9), 64: (0.8, 4), 128: (0.8, 2)},
    "512": {1: (0.5, 86), 16: (0.2, 4), 32: (0.2, 2), 64: (0.2, 1), 128: (0.0, None)},
    "480p": {1: (0.4, 54), 16: (0.4, 4), 32: (0.0, None)},
    "720p": {1: (0.1, 20), 16: (0.1, 2), 32: (0.0, None)},
    "1024": {1: (0.3, 20)},
    "1080p": {1: (0.4, 8)},
}
_THIRD: Final[BucketConfig] = {
    "144p": {1: (1.0, 200), 16: (1.0, 36), 32: (1.0, 18), 64: (1.0, 9), 128: (1.0, 4)},
    "256": {1: (0.8, 200), 16: (0.5, 22), 32: (0.5, 11), 64: (0.5, 6), 128: (0.8, 4)},
    "240p": {1: (0.8, 200), 16: (0.5, 22), 32: (0.5, 10), 64: (0.5, 6), 128: (0.5, 3)},
    "360p": {1: (0.5, 120), 16: (0.5, 9), 32: (0.5, 4), 64: (0.5, 2), 128: (0.5, 1)},
    "512": {1: (0.5, 120), 16: (0.5, 9), 32: (0.5, 4), 64: (0.5, 2), 128: (0.8, 1)},
    "480p": {1: (0.4, 80), 16: (0.6, 6), 32: (0.6, 3), 64: (0.6, 1), 128: (0.0, None)},
    "720p": {1: (0.4, 40), 16: (0.6, 3), 32: (0.6, 1), 96: (0.0, None)},
    "1024": {1: (0.3, 40)},
}


def buckets(config: BucketConfig, *, steps: int, recompute: bool) -> FinetuneConfig:
    """A stage with masks of frames.

    Args:
        config: Buckets.
        steps: Of the stage.
        recompute: Whether activations are computed again.
    """
    recipe = DataRecipe(buckets=config, clip=ClipOptions(stride=3), masks=MaskOptions(draw="frames"))
    return FinetuneConfig(
        loop=LoopConfig(
            steps=steps,
            batch_size=1,
            precision="bf16",
            ema_decay=0.9999,
            log_every=10,
            checkpoint_every=500,
            num_workers=8,
            sharding="fsdp2",
        ),
        optim=OptimConfig(
            lr=2e-5,
            betas=(0.9, 0.999),
            weight_decay=0.0,
            warmup_steps=0,
            decay="constant",
            max_grad_norm=1.0,
        ),
        model=ModelConfig(recompute=recompute),
        data=DataConfig(recipe=recipe),
    )


def images(*, steps: int) -> FinetuneConfig:
    """Pictures of every size, with the timesteps where the noise changes fast drawn more often."""
    stage = buckets(_IMAGES, steps=steps, recompute=True)
    return replace(stage, objective=ObjectiveConfig(levels=LevelConfig(density="speed")))


STAGES: Final[Mapping[str, Callable[[], FinetuneConfig]]] = {
    "open-sora-1.1-images": partial(images, steps=6_000),
    # The report's first stage had 24,000 steps more, in buckets like those of the second.
    "open-sora-1.1-1": partial(buckets, _FIRST, steps=57_000, recompute=False),
    "open-sora-1.1-2": partial(buckets, _SECOND, steps=22_000, recompute=True),
    "open-sora-1.1-3": partial(buckets, _THIRD, steps=4_000, recompute=True),
}
"""The images begin with PixArt's image model of 1024 pixels, each stage with the one before."""
