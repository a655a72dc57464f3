"""The networks of a run, from a model directory of any generation."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ea_dit.families.pixart_motion import PixArtMotion
from ea_dit.pipelines.components import Components, ImageEncoder
from ea_dit.pipelines.encoders import EncoderFolder, load_text_encoder, load_tokenizers, text_encoders
from ea_dit.pipelines.file_checks import tensor_checks
from ea_dit.pipelines.growing import motion_config, widened, widened_config, with_motion
from ea_dit.pipelines.networks import networks_of
from ea_dit.pipelines.outline import Outline, outline_of
from ea_dit.pipelines.parts import Parts, find_parts
from ea_dit.pipelines.variants import Traits, traits_of
from ea_dit.registry import Transformer, family_of, load_transformer, read_transformer_config
from ea_dit.text.base import TextEncoder
from ea_dit.text.cache import fingerprint_of
from ea_dit.text.clip_image import load_clip_image
from ea_kernels.runtime.device import resolve_dtype
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.placement import Placement, plan
from ea_train.encoded.late import LateImageEncoder, LateTextEncoder
from ea_vae import VideoAutoencoder, load_vae


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which networks.

    Attributes:
        path: Model directory in a released layout.
        transformer: Another transformer: a directory, or a file with weights for the same config.
        vae: Another autoencoder, a directory.
        motion_module: File of V1's motion modules; empty looks for one in the directory.
        start: "weights", or "random" for a new transformer of the same config.
        motion: Add the motion modules and long connections of a released video model, such as "v2-t2v", to an
            image model; they start at zero.
        in_channels: Input channels of the transformer; more than it has are added with weights of zero, such
            as 33 of a text model for an inpaint model. 0 keeps what it has.
        frozen_dtype: Number type of autoencoder and encoders; "auto" for what suits the device.
        recompute: Keep fewer activations of the transformer and compute them again (gradient checkpointing).
        low_vram: Autoencoder and encoders are on the CPU while they are not used.
        allow_pickle: Accept weights in pickles, read without running code.
    """

    path: str = ""
    transformer: str = ""
    vae: str = ""
    motion_module: str = ""
    start: Literal["weights", "random"] = "weights"
    motion: str = ""
    in_channels: int = 0
    frozen_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    recompute: bool = False
    low_vram: bool = False
    allow_pickle: bool = False


def read_model(config: ModelConfig) -> tuple[Parts, Outline]:
    """What a model directory is, told by its configs and the headers of its files.

    Raises:
        ValueError: A part is missing, damaged or not understood, or parts do not fit.
    """
    if not config.path:
        raise ValueError("model.path is empty; give a model directory (--model DIR)")
    parts = find_parts(
        config.path, motion_module=config.motion_module or None, allow_pickle=config.allow_pickle
    )
    if config.vae:
        parts = replace(parts, layout=replace(parts.layout, vae=_folder("vae", config.vae)))
    if config.transformer:
        parts = _with_transformer(parts, config)
    return parts, outline_of(parts)


def grown_config(config: ModelConfig, parts: Parts) -> tuple[Any, Traits]:
    """Config and traits of the transformer as it is trained, with what the settings add to it.

    Raises:
        ValueError: It cannot be added.
    """
    values = parts.config
    if config.motion:
        values = motion_config(values, config.motion)
    if config.in_channels:
        values = widened_config(values, config.in_channels)
    return values, traits_of(values)


def describe(parts: Parts) -> str:
    """A digest of configs and of the names and sizes of weight files, whatever folder they are in."""
    digest = hashlib.blake2b(json.dumps(parts.config.to_dict(), sort_keys=True, default=str).encode())
    layout = parts.layout
    folders = (layout.transformer, layout.vae, layout.text_encoder, layout.second_text_encoder)
    for path in (*folders, layout.image_encoder, parts.motion_module, parts.transformer_weights):
        for file in _files(path):
            digest.update(f"{file.name} {file.stat().st_size}".encode())
    return digest.hexdigest()[:16]


def _files(path: Path | None) -> list[Path]:
    if path is None:
        return []
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def fingerprints(config: ModelConfig, parts: Parts, device: torch.device) -> dict[str, str]:
    """What is in the folders of the encoders, and what else decides what they make: for keys of a store.

    Args:
        config: Which networks.
        parts: Of the same.
        device: Where they are used, which may decide their number type.

    Returns:
        By name: "vae", "text" and, where the transformer reads pictures and there is an encoder, "clip".
    """
    layout, traits = parts.layout, parts.traits
    dtype = str(resolve_dtype(config.frozen_dtype, device))
    texts = [folder for encoder in text_encoders(layout, traits.text) for folder in _folders_of(encoder)]
    found = {
        "vae": fingerprint_of([layout.vae], dtype=dtype),
        "text": fingerprint_of(dict.fromkeys(texts), dtype=dtype, reads=repr(traits.text)),
    }
    if traits.image_states is not None and layout.image_encoder is not None:
        found["clip"] = fingerprint_of([layout.image_encoder], dtype=dtype, reads=traits.image_states)
    return found


def _folders_of(encoder: EncoderFolder) -> list[Path]:
    return [encoder.folder, encoder.tokenizer] if encoder.reads_tokens else [encoder.folder]


@dataclass(frozen=True)
class FrozenLoader:
    """Loads the networks that stand still, each alone.

    Attributes:
        config: Which.
        parts: Of the same.
        device: Where they are used.
    """

    config: ModelConfig
    parts: Parts
    device: torch.device

    @property
    def _how(self) -> dict[str, Any]:
        return {
            "dtype": resolve_dtype(self.config.frozen_dtype, self.device),
            "device": torch.device("cpu") if self.config.low_vram else self.device,
            "allow_pickle": self.config.allow_pickle,
        }

    def vae(self) -> VideoAutoencoder[Any]:
        """The autoencoder."""
        return load_vae(self.parts.layout.vae, **self._how)

    def text_encoder(self, tokenizers: tuple[Any, ...] | None = None) -> TextEncoder:
        """The text encoder, or the two of them; tokenizers that are not given are loaded too."""
        layout, text = self.parts.layout, self.parts.traits.text
        if tokenizers is None:
            tokenizers = load_tokenizers(layout, text)
        return load_text_encoder(layout, text, tokenizers, **self._how)

    @property
    def reads_pictures(self) -> bool:
        """Whether there is an encoder of pictures."""
        return self.parts.traits.image_states is not None and self.parts.layout.image_encoder is not None

    def image_encoder(self) -> ImageEncoder:
        """The encoder of pictures."""
        assert self.parts.layout.image_encoder is not None
        return load_clip_image(self.parts.layout.image_encoder, **self._how)

    def stilled(self, **networks: object) -> Placement | None:
        """Networks that do not learn, by the names of their parts; where they are when they are not used."""
        still = networks_of(networks)
        for network in still.values():
            network.eval().requires_grad_(requires_grad=False)
        return plan(still, "model_cpu_offload", self.device) if self.config.low_vram else None


def load_networks(
    config: ModelConfig,
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    late: bool = False,
) -> Components:
    """Load them; nothing but the transformer may learn.

    Args:
        config: Which.
        device: Where they are used.
        dtype: Of the transformer.
        seed: Of a new transformer.
        late: Load encoders of texts and pictures when they are used, which may be never.

    Returns:
        The parts, the transformer in training mode.

    Raises:
        ValueError: As `read_model`, or weights do not fit.
    """
    parts, outline = read_model(config)
    load = FrozenLoader(config, parts, device)
    tokenizers = None if late else load_tokenizers(parts.layout, parts.traits.text)
    for check in tensor_checks(parts):
        check.run()
    transformer = _transformer(config, parts, device, dtype, seed)
    vae = load.vae()
    image_encoder = None
    if late:
        text_encoder, image_encoder = _late_encoders(load)
        placement = load.stilled(vae=vae)
    else:
        text_encoder = load.text_encoder(tokenizers)
        image_encoder = load.image_encoder() if load.reads_pictures else None
        placement = load.stilled(text_encoder=text_encoder, image_encoder=image_encoder, vae=vae)
    return Components(
        transformer=transformer.train(),
        vae=vae,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        schedule=outline.schedule,
        placement=placement,
    )


def _late_encoders(load: FrozenLoader) -> tuple[TextEncoder, ImageEncoder | None]:
    def text() -> tuple[TextEncoder, Placement | None]:
        encoder = load.text_encoder()
        return encoder, load.stilled(text_encoder=encoder)

    def image() -> tuple[ImageEncoder, Placement | None]:
        encoder = load.image_encoder()
        return encoder, load.stilled(image_encoder=encoder)

    pictures = LateImageEncoder("image_encoder", image) if load.reads_pictures else None
    return LateTextEncoder("text_encoder", text), pictures


def _with_transformer(parts: Parts, config: ModelConfig) -> Parts:
    """Parts with another transformer: a folder of its own, or weights for the config that is there."""
    given = Path(config.transformer)
    if not (given / CONFIG_NAME).is_file():
        if not given.exists():
            raise ValueError(f"model.transformer: {given} does not exist")
        return replace(parts, transformer_weights=given)
    found = find_parts(config.path, allow_pickle=config.allow_pickle)
    layout = replace(found.layout, transformer=given)
    values = read_transformer_config(given, allow_pickle=config.allow_pickle)
    return replace(parts, layout=layout, config=values, traits=traits_of(values), motion_module=None)


def _transformer(
    config: ModelConfig, parts: Parts, device: torch.device, dtype: torch.dtype, seed: int
) -> Transformer:
    if config.start == "random":
        values = parts.config.to_dict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = family_of(values).build(parts.config).to(device=device, dtype=dtype)
    else:
        network = load_transformer(
            parts.layout.transformer,
            dtype=dtype,
            device=device,
            motion_module=parts.motion_module,
            weights=parts.transformer_weights,
            allow_pickle=config.allow_pickle,
        )
    if config.motion:
        video = motion_config(network.config, config.motion)
        assert isinstance(network, PixArtMotion)  # of which alone there are such configs
        network = with_motion(network, video, seed=seed)
    return widened(network, config.in_channels) if config.in_channels else network


def _folder(name: str, given: str) -> Path:
    folder = Path(given)
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"model.{name}: {folder} is no folder with a {CONFIG_NAME}")
    return folder
