"""The text encoder of the bundled model: bytes to twelve tokens, pre-trained to state what captions say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_dit.text.bytes import ByteEncoderConfig, ByteTextEncoder, load_byte_encoder
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.recipes.start import load_start
from ea_train.tasks.attributes import AttributesConfig, AttributesTask


@dataclass(frozen=True, kw_only=True)
class DefaultTextConfig(RunConfig):
    """Settings of `ea-train default-text`.

    Attributes:
        task: Captions.
        text: Size of the encoder.
    """

    task: AttributesConfig = field(default_factory=AttributesConfig)
    text: ByteEncoderConfig = field(default_factory=ByteEncoderConfig)


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultTextConfig:
    """Settings: `tiny` for tests, `cpu` for two cores and ten minutes, `gpu` for one large GPU."""
    if preset == "tiny":
        return DefaultTextConfig(
            text=ByteEncoderConfig(width=16, num_layers=1, num_heads=2),
            task=AttributesConfig(validation_captions=4),
            loop=LoopConfig(steps=4, batch_size=4, log_every=1),
        )
    if preset == "cpu":
        return DefaultTextConfig(
            text=ByteEncoderConfig(width=128, num_layers=2),
            loop=LoopConfig(steps=2000, batch_size=64, precision="bf16", ema_decay=0.99, log_every=50),
            optim=OptimConfig(lr=2e-3, warmup_steps=100, decay="cosine"),
        )
    return DefaultTextConfig(
        text=ByteEncoderConfig(width=256, num_layers=4),
        loop=LoopConfig(
            steps=6000, batch_size=512, precision="bf16", ema_decay=0.998, num_workers=8, log_every=50
        ),
        optim=OptimConfig(lr=1e-3, warmup_steps=200, decay="cosine"),
    )


def build(settings: DefaultTextConfig, *, init: Path | None = None) -> AttributesTask:
    """The task, with freshly initialised networks, or with the encoder of an earlier export.

    Raises:
        ValueError: The earlier export does not fit the settings.
    """
    torch.manual_seed(settings.loop.seed)
    encoder = ByteTextEncoder(settings.text)
    if init is not None:
        load_start(encoder, load_byte_encoder(init, dtype=torch.float32), init)
    return AttributesTask(encoder, settings.task)
