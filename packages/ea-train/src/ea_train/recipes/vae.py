"""Finetuning of released video autoencoders, with the settings that they were released with.

The presets are those of the released files for training autoencoders; batch sizes and steps are the paper's
(arXiv 2405.18991, section 5) where it has them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from ea_kernels.runtime.files import CONFIG_NAME
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.tasks.autoencoder_clips import CutSource, ManifestCuts, ProceduralCuts
from ea_train.tasks.autoencoder_finetune import FinetuneConfig, FinetuneTask
from ea_train.tasks.autoencoder_inherit import inflate, slice_from_magvit
from ea_vae import ImageVae, MagvitVae, VideoAutoencoder, load_vae
from ea_vae.families.magvit.presets import V2

Start = Literal["as_is", "inflate", "slice", "slice_t8"]


@dataclass(frozen=True, kw_only=True)
class VaeConfig(RunConfig):
    """Settings of `ea-train vae`.

    Attributes:
        task: Objective and cuts.
        start: What becomes of the autoencoder that is given before it is trained: nothing; "inflate" makes a
            MAGVIT (V2) of an image autoencoder; "slice" the slice autoencoder (V3) of a MAGVIT, "slice_t8"
            the one that puts 8 frames into one. What is of the wanted kind already stays as it is.
        data_seed: Of the procedural dataset, or of places and sizes of cuts.
    """

    task: FinetuneConfig = field(default_factory=FinetuneConfig)
    start: Start = "as_is"
    data_seed: int = 0


_PAPER = OptimConfig(
    lr=1e-4, betas=(0.5, 0.9), weight_decay=0.0, warmup_steps=0, decay="constant", max_grad_norm=0.0
)
_SCRIPT = replace(_PAPER, betas=(0.9, 0.999), weight_decay=0.05)


def _released(task: FinetuneConfig, *, steps: int, batch: int, start: Start, optim: OptimConfig) -> VaeConfig:
    loop = LoopConfig(steps=steps, batch_size=batch, precision="bf16", ema_decay=0.999, validate_every=5000)
    return VaeConfig(task=task, start=start, loop=loop, optim=optim)


def _tiny() -> VaeConfig:
    return VaeConfig(
        task=FinetuneConfig(
            num_frames=9, side=32, lpips_weight=0.0, disc_start=3, disc_width=8, validation_clips=2
        ),
        loop=LoopConfig(steps=4, batch_size=2, log_every=1),
        optim=replace(_PAPER, lr=1e-3),
    )


def _finetune() -> VaeConfig:
    # The decoder alone: latents stay what they are, and with them every transformer that reads them.
    task = FinetuneConfig(learns="decoder", lpips_weight=0.0, l2_weight=0.1, disc_weight=0.0, strides=2)
    loop = LoopConfig(steps=5000, batch_size=4, precision="bf16", validate_every=500)
    return VaeConfig(task=task, loop=loop, optim=replace(_PAPER, lr=2e-5, warmup_steps=100))


_SIXTEEN = FinetuneConfig(num_frames=49, l2_weight=0.1, outlier_weight=1e5)
PRESETS: Mapping[str, Callable[[], VaeConfig]] = MappingProxyType(
    {
        "tiny": _tiny,
        "finetune": _finetune,
        "released-mag": partial(
            _released,
            FinetuneConfig(num_frames=9, side=128, l2_weight=0.1),
            steps=350_000,
            batch=128,
            start="inflate",
            optim=_PAPER,
        ),
        "released-slice": partial(
            _released, FinetuneConfig(), steps=200_000, batch=96, start="slice", optim=_PAPER
        ),
        "released-slice-decoder-only": partial(
            _released,
            FinetuneConfig(l1_weight=0.0, l2_weight=1.0, learns="decoder"),
            steps=100_000,
            batch=96,
            start="as_is",
            optim=_PAPER,
        ),
        "released-slice-t-downsample-8": partial(
            _released,
            FinetuneConfig(num_frames=33),
            steps=200_000,
            batch=96,
            start="slice_t8",
            optim=_PAPER,
        ),
        "released-mag-v2": partial(
            _released, _SIXTEEN, steps=100_000, batch=64, start="as_is", optim=_SCRIPT
        ),
        "released-cogvideox": partial(
            _released, _SIXTEEN, steps=100_000, batch=64, start="as_is", optim=_SCRIPT
        ),
    }
)
"""Settings by name."""


def config(preset: str) -> VaeConfig:
    """Settings of a preset: `tiny` for tests, `finetune` for own footage, the others as released.

    Raises:
        ValueError: No such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset]()


def build(settings: VaeConfig, *, model: Path | None = None, data: Path | None = None) -> FinetuneTask:
    """The task.

    Args:
        settings: Objective and start.
        model: Directory of an autoencoder, or of a model whose `vae` it is.
        data: Manifest of videos and pictures; the procedural clips if None.

    Raises:
        ValueError: The directory or the manifest cannot be used, or does not fit the settings.
    """
    if model is None:
        raise ValueError("--model: give the folder of an autoencoder, or of a model with one")
    torch.manual_seed(settings.loop.seed)
    folder = model if (model / CONFIG_NAME).is_file() else model / "vae"
    if not folder.is_dir():
        raise ValueError(
            f"--model {model}: no autoencoder there; give a folder with {CONFIG_NAME}, or its parent"
        )
    vae = _started(load_vae(folder, dtype=torch.float32), settings.start)
    train, heldout = _cuts(settings, data)
    return FinetuneTask(vae, settings.task, train=train, heldout=heldout)


def _started(vae: VideoAutoencoder[Any], start: Start) -> VideoAutoencoder[Any]:
    if start == "as_is":
        return vae
    if start == "inflate":
        if not isinstance(vae, ImageVae):
            return vae
        config = vae.config
        sizes = V2.edited(
            latent_channels=config.latent_channels,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            scaling_factor=config.scaling_factor,
        )
        return inflate(vae, sizes)
    if not isinstance(vae, MagvitVae):
        kind = type(vae).__name__
        raise ValueError(  # noqa: TRY004  a wrong setting
            f"start {start!r} needs an autoencoder of V2 to V5.1, got {kind}"
        )
    wide = start == "slice_t8"
    if vae.config.temporal_mode == "neighbours" and (vae.geometry.time == 8) == wide:
        return vae
    return slice_from_magvit(vae, halve_everywhere=wide)


def _cuts(settings: VaeConfig, data: Path | None) -> tuple[CutSource, CutSource]:
    seed = settings.data_seed
    if data is None:
        return ProceduralCuts(seed), ProceduralCuts(seed + 1, split="heldout")
    frames = settings.task.num_frames
    return (
        ManifestCuts(data, seed, num_frames=frames),
        ManifestCuts(data, seed, split="heldout", num_frames=frames),
    )
