"""The parts of a pipeline and loading them from a directory."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.families.mmdit.model import MMDiT
from ea_dit.registry import load_transformer
from ea_dit.text.base import TextEncoder
from ea_dit.text.bytes import load_byte_encoder
from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.weights import read_config, read_json
from ea_vae import MagvitVae, load_vae

BYTE_ENCODER = "ByteTextEncoder"


@dataclass(frozen=True, kw_only=True)
class Components:
    """What a pipeline runs.

    Attributes:
        transformer: The denoiser; its device and dtype are those of the latents.
        vae: The autoencoder.
        text_encoder: Turns prompts into states; None if callers bring encoded prompts.
        flow: The schedule.
    """

    transformer: MMDiT
    vae: MagvitVae
    text_encoder: TextEncoder | None = None
    flow: FlowMatching = field(default_factory=FlowMatching)

    @property
    def device(self) -> torch.device:
        """Where the transformer is."""
        return self.transformer.patch_embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Working dtype."""
        return self.transformer.dtype


def load_components(
    directory: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
) -> Components:
    """Loads a released model directory.

    Args:
        directory: Has `transformer`, `vae`, `text_encoder` (with `tokenizer` beside it, except for the byte
            encoder) and optionally `scheduler/scheduler_config.json`.
        dtype: Number type of all weights, "auto" for what suits the device.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: If a part is missing or not understood, or transformer and autoencoder do not fit.
    """
    directory = Path(directory)
    for part in ("transformer", "vae", "text_encoder"):
        if not (directory / part / "config.json").is_file():
            raise ValueError(f"{directory} is no model directory: {part}/config.json is missing")
    place = resolve_device(device)
    number = resolve_dtype(dtype, place)
    scheduler = directory / "scheduler" / "scheduler_config.json"
    transformer = load_transformer(directory / "transformer", dtype=number, device=place)
    if not isinstance(transformer, MMDiT):
        kind = type(transformer).__name__
        raise ValueError(f"{directory}: the pipeline runs V5 and V5.1, got {kind}")  # noqa: TRY004
    vae = load_vae(directory / "vae", dtype=number, device=place)
    if transformer.config.out_channels != vae.config.latent_channels:
        raise ValueError(
            f"{directory}: out_channels of the transformer must be latent_channels of the vae, "
            f"got {transformer.config.out_channels} and {vae.config.latent_channels}"
        )
    return Components(
        transformer=transformer,
        vae=vae,
        text_encoder=load_text_encoder(directory, dtype=number, device=place),
        flow=FlowMatching.from_dict(read_json(scheduler)) if scheduler.is_file() else FlowMatching(),
    )


def load_text_encoder(directory: Path, *, dtype: torch.dtype, device: torch.device) -> TextEncoder:
    """Loads the text encoder of a model directory, telling the kind by its `config.json`."""
    folder = directory / "text_encoder"
    values = read_config(folder)
    if values.get("_class_name") == BYTE_ENCODER:
        return load_byte_encoder(folder, dtype=dtype, device=str(device))
    if values.get("model_type") == "qwen2_vl":
        # transformers takes seconds to import, and most runs do not need it.
        from ea_dit.text.qwen2_vl import load_qwen2_vl  # noqa: PLC0415

        return load_qwen2_vl(folder, directory / "tokenizer", dtype=dtype, device=device)
    raise ValueError(
        f"{folder}/config.json: unknown text encoder "
        f"{values.get('_class_name') or values.get('model_type')!r}; known: {BYTE_ENCODER}, qwen2_vl"
    )
