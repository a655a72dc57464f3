"""The stages of EasyAnimate: pictures first, then clips of more and more tokens.

Batches, steps and data of V4, V5 and V5.1 are those of their reports; the batch of a step stands in
`loop.grad_accum`, to be divided by the number of processes. Rates and the optimiser are those of the released
commands. The paper (arXiv 2405.18991) names what learns in which order; numbers of its stages are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from ea_data.training.recipe import ClipOptions, DataRecipe
from ea_data.training.shapes import ShapeOptions
from ea_train.adapters import AdapterConfig
from ea_train.config import LoopConfig, OptimConfig
from ea_train.data import DataConfig
from ea_train.model import ModelConfig
from ea_train.recipes.finetune import FinetuneConfig
from ea_train.tasks.denoise_conditions import ConditionConfig

Mode = Literal["auto", "normal", "inpaint", "control"]

_OPTIM: Final = OptimConfig(
    lr=2e-5,
    betas=(0.9, 0.999),
    eps=1e-10,
    weight_decay=0.05,
    decay_vectors=True,
    lr_scheduler="constant_with_warmup",
    warmup_steps=100,
    max_grad_norm=0.05,
    clipping="abnormal",
)
_INPAINT_CHANNELS: Final = 33
_CONTROL_CHANNELS: Final = 32


def _stage(
    shapes: ShapeOptions, *, batch: int, steps: int, stride: int, model: ModelConfig
) -> FinetuneConfig:
    return FinetuneConfig(
        loop=LoopConfig(
            steps=steps,
            batch_size=1,
            grad_accum=batch,
            precision="bf16",
            ema_decay=0.0,
            checkpoint_every=1000,
            validate_every=1000,
            num_workers=8,
            sharding="fsdp2",
        ),
        optim=_OPTIM,
        model=replace(model, recompute=True),
        data=DataConfig(recipe=DataRecipe(shapes=shapes, clip=ClipOptions(stride=stride))),
    )


def pictures(
    *, batch: int, steps: int, side: int = 512, start: Literal["weights", "random"]
) -> FinetuneConfig:
    """A transformer learns the latents of its autoencoder from pictures with captions.

    Args:
        batch: Samples of a step.
        steps: Of the stage.
        side: Of the pictures.
        start: From given weights, or from nothing.
    """
    shapes = ShapeOptions(
        video_sample_size=side, image_sample_size=side, token_sample_size=side, video_sample_n_frames=1
    )
    return _stage(shapes, batch=batch, steps=steps, stride=1, model=ModelConfig(start=start))


def tokens(
    side: int, *, frames: int, batch: int, steps: int, stride: int = 3, mode: Mode = "auto", channels: int = 0
) -> FinetuneConfig:
    """Clips of a token budget: at larger sides than that of the budget they have fewer frames.

    Args:
        side: At which `frames` frames use up the budget.
        frames: The most frames of a clip.
        batch: Samples of a step.
        steps: Of the stage.
        stride: Source frames per frame.
        mode: What the network is given.
        channels: Input channels that the network grows to, 0 for none.
    """
    shapes = ShapeOptions(
        video_sample_size=256,
        image_sample_size=1024,
        token_sample_size=side,
        video_sample_n_frames=frames,
        random_hw_adapt=True,
        training_with_video_token_length=True,
    )
    model = ModelConfig(in_channels=channels)
    stage = _stage(shapes, batch=batch, steps=steps, stride=stride, model=model)
    return replace(stage, conditions=ConditionConfig(mode=mode))


def v4(side: int, *, batch: int, steps: int) -> FinetuneConfig:
    """V4: 144 frames at full rate, and a share of the loss for what moves."""
    stage = tokens(side, frames=144, batch=batch, steps=steps, stride=1)
    errors = replace(stage.objective.errors, motion_share=0.25)
    return replace(
        stage,
        objective=replace(stage.objective, errors=errors),
        optim=replace(stage.optim, weight_decay=0.03),
    )


def motion_modules() -> FinetuneConfig:
    """The paper's second stage: new motion modules on an image model that stands still."""
    stage = clips(side=256, steps=50_000)
    adapter = AdapterConfig(kind="parts", names=("motion", "skips"))
    return replace(stage, adapter=adapter, model=replace(stage.model, motion="v2-t2v"))


def clips(*, side: int, steps: int, rate: float = 2e-5) -> FinetuneConfig:
    """The paper's later stages: the whole transformer, on clips of one size in buckets of their aspect."""
    shapes = ShapeOptions(
        video_sample_size=side, image_sample_size=side, token_sample_size=side, video_sample_n_frames=144
    )
    stage = _stage(shapes, batch=128, steps=steps, stride=1, model=ModelConfig())
    return replace(stage, optim=replace(stage.optim, lr=rate, weight_decay=0.03, max_grad_norm=0.03))


_inpaint = partial(tokens, frames=49, mode="inpaint", channels=_INPAINT_CHANNELS)
_control = partial(tokens, frames=49, mode="control", channels=_CONTROL_CHANNELS)

STAGES: Final[Mapping[str, Callable[[], FinetuneConfig]]] = {
    "paper-images": partial(pictures, batch=1024, steps=30_000, side=256, start="weights"),
    "paper-motion": motion_modules,
    "paper-whole": partial(clips, side=512, steps=20_000),
    "paper-quality": partial(clips, side=768, steps=5_000, rate=1e-5),
    "v4-images": partial(pictures, batch=1024, steps=30_000, start="weights"),
    "v4-9216": partial(v4, 256, batch=1024, steps=60_000),
    "v4-36864": partial(v4, 512, batch=192, steps=16_000),
    "v4-82944": partial(v4, 768, batch=192, steps=5_000),
    "v4-147456": partial(v4, 1024, batch=96, steps=5_000),
    "v5-images": partial(pictures, batch=1536, steps=120_000, start="random"),
    "v5-3328": partial(tokens, 256, frames=49, batch=1536, steps=66_500),
    "v5-13312": partial(tokens, 512, frames=49, batch=768, steps=30_000),
    "v5-13312-i2v": partial(_inpaint, 512, batch=384, steps=5_000),
    "v5-53248-i2v": partial(_inpaint, 1024, batch=196, steps=5_000),
    "v5-control-13312": partial(_control, 512, batch=128, steps=5_000),
    "v5-control-53248": partial(_control, 1024, batch=96, steps=2_000),
    "v5.1-images": partial(pictures, batch=1024, steps=120_000, start="random"),
    "v5.1-3328": partial(tokens, 256, frames=49, batch=1024, steps=100_000),
    "v5.1-13312": partial(tokens, 512, frames=49, batch=512, steps=60_000),
    "v5.1-13312-i2v": partial(_inpaint, 512, batch=256, steps=5_000),
    "v5.1-53248-i2v": partial(_inpaint, 1024, batch=256, steps=5_000),
}
"""By generation and tokens of a clip; `i2v` begins with the text model of the same tokens, `control` with an
inpaint model."""
