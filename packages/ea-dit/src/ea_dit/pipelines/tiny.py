"""Model directories of every generation with random weights, small enough to run on any machine in seconds.

They have the files, names and configs of the releases, so that whatever loads them loads those; tests, CI and
integrators use them. What they generate is noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ea_dit.families import hunyuan3d, mmdit, pixart_motion, stdit
from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.keymap import key_map as pixart_names
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.pipelines.layout import (
    IMAGE_ENCODER,
    SCHEDULER,
    SECOND_TEXT_ENCODER,
    SECOND_TOKENIZER,
    TEXT_ENCODER,
    TOKENIZER,
    TRANSFORMER,
    VAE,
)
from ea_dit.pipelines.tiny_encoders import (
    POOLED_WIDTH,
    STATES_WIDTH,
    write_bert,
    write_clip,
    write_qwen2_vl,
    write_t5,
)
from ea_dit.pipelines.variants import traits_of
from ea_dit.registry import save_transformer
from ea_dit.text.pretrained import quiet_transformers
from ea_kernels.runtime.files import CONFIG_NAME, WEIGHTS_NAME, write_json, write_safetensors
from ea_vae import ImageVae, ImageVaeConfig, MagvitVae, VideoAutoencoder, save_vae
from ea_vae.families.magvit.presets import PRESETS as MAGVIT

_SEED = 0
_SPREAD = 0.1
_HEADS, _HEAD_DIM = 2, 16
_VAE_CHANNELS = (4, 4, 8, 8)
_VAE_SIZES = {"block_out_channels": _VAE_CHANNELS, "layers_per_block": 1, "norm_num_groups": 2}
_HEADS_SIZES = {"num_attention_heads": _HEADS, "attention_head_dim": _HEAD_DIM}

OPEN_SORA_FILE = "OpenSora-v1-HQ-16x256x256.safetensors"
OPEN_SORA_FOLDER = "OpenSora-STDiT-v2-stage3"
OPEN_SORA_VAE = "sd-vae-ft-ema"
OPEN_SORA_T5 = "t5-v1_1-xxl"
MOTION_FILE = "motion_module/easyanimate_v1_mm.safetensors"


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """One kind of model directory.

    Attributes:
        config: Of the transformer.
        vae: Makes the autoencoder.
        write: Writes the directory.
    """

    config: Any
    vae: Callable[[], VideoAutoencoder[Any]]
    write: Callable[["TinyModel", Path], None]


def make_tiny(family: str, directory: str | Path) -> Path:
    """Writes a tiny model directory; the same one every time.

    Args:
        family: One of `TINY`, such as "v5.1-7b-inp".
        directory: Made if missing; must be empty.

    Returns:
        The directory.

    Raises:
        ValueError: If the family is unknown or the directory is not empty.
    """
    if family not in TINY:
        raise ValueError(f"family must be one of {', '.join(TINY)}, got {family!r}")
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} must be a new or an empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    model = TINY[family]
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(_SEED)
        model.write(model, directory)
    return directory


def _write_released(model: TinyModel, directory: Path, *, motion_file: bool = False) -> None:
    """EasyAnimate's layout, which is that of diffusers."""
    traits = traits_of(model.config)
    transformer = _random(_NETWORKS[type(model.config)](model.config))
    if motion_file:
        _save_in_two(transformer, directory)
    else:
        save_transformer(transformer, directory / TRANSFORMER)
    save_vae(_random(model.vae()), directory / VAE)
    write_json(directory / SCHEDULER, traits.schedule.to_dict())
    text, tokenizer = directory / TEXT_ENCODER, directory / TOKENIZER
    if len(traits.text.widths) > 1:
        write_bert(text, tokenizer)
        write_t5(directory / SECOND_TEXT_ENCODER, directory / SECOND_TOKENIZER, multilingual=True)
    elif traits.text.cleaned:
        write_t5(text, tokenizer)
    else:
        write_qwen2_vl(text, tokenizer)
    if traits.image_states is not None:
        write_clip(directory / IMAGE_ENCODER)


def _save_in_two(transformer: pixart_motion.PixArtMotion, directory: Path) -> None:
    """V1: the image model, and its motion modules in a file of their own."""
    state = pixart_names(transformer.config).export(transformer.state_dict())
    motion = {name: tensor for name, tensor in state.items() if ".attn_temporal." in name}
    image = {name: tensor for name, tensor in state.items() if name not in motion}
    write_safetensors(directory / MOTION_FILE, motion, {})
    write_safetensors(directory / TRANSFORMER / WEIGHTS_NAME, image, {})
    write_json(directory / TRANSFORMER / CONFIG_NAME, replace(transformer.config, motion=()).to_dict())


def _write_open_sora(model: TinyModel, directory: Path, *, bare: bool) -> None:
    """Open-Sora's parts: 1.0 is a file without config, 1.1 a folder."""
    transformer = _random(stdit.STDiT(model.config))
    folder = directory if bare else directory / OPEN_SORA_FOLDER
    weights = save_transformer(transformer, folder)
    if bare:
        weights.replace(directory / OPEN_SORA_FILE)
        (directory / CONFIG_NAME).unlink()
    else:
        weights.replace(folder / "model.safetensors")
    save_vae(_random(model.vae()), directory / OPEN_SORA_VAE)
    write_t5(directory / OPEN_SORA_T5, directory / OPEN_SORA_T5)


def _random(model: Any) -> Any:
    """Gives every weight a random value: fresh networks predict zeros."""
    for name, parameter in model.named_parameters():
        is_scale = name.endswith("weight") and parameter.ndim == 1
        nn.init.normal_(parameter, mean=1.0 if is_scale else 0.0, std=_SPREAD)
    return model


_NETWORKS: Mapping[type[Any], Callable[[Any], Any]] = MappingProxyType(
    {
        mmdit.MMDiTConfig: mmdit.MMDiT,
        pixart_motion.PixArtMotionConfig: pixart_motion.PixArtMotion,
        hunyuan3d.Hunyuan3DConfig: hunyuan3d.Hunyuan3D,
    }
)


def _image_vae() -> ImageVae:
    return ImageVae(ImageVaeConfig(**_VAE_SIZES))


def _magvit(name: str) -> MagvitVae:
    return MagvitVae(MAGVIT[name].edited(**_VAE_SIZES))


def _tiny_pixart(name: str) -> pixart_motion.PixArtMotionConfig:
    config = PIXART[name]
    return replace(
        config,
        num_layers=2,
        caption_channels=STATES_WIDTH,
        clip_channels=POOLED_WIDTH if config.clip_channels else None,
        motion=tuple(replace(kind, max_frames=64) for kind in config.motion),
        **_HEADS_SIZES,
    )


def _tiny_hunyuan3d(name: str) -> hunyuan3d.Hunyuan3DConfig:
    return replace(
        HUNYUAN3D[name],
        num_layers=4,
        cross_attention_dim=STATES_WIDTH,
        cross_attention_dim_t5=STATES_WIDTH,
        pooled_projection_dim=STATES_WIDTH,
        projection_dim=STATES_WIDTH,
        **_HEADS_SIZES,
    )


def _tiny_mmdit(name: str) -> mmdit.MMDiTConfig:
    config = MMDIT[name]
    return replace(
        config,
        num_layers=2,
        mmdit_layers=None if config.mmdit_layers is None else 1,
        text_embed_dim=STATES_WIDTH,
        text_embed_dim_t5=STATES_WIDTH if config.text_embed_dim_t5 else None,
        time_embed_dim=STATES_WIDTH,
        **_HEADS_SIZES,
    )


def _tiny_stdit(name: str) -> stdit.STDiTConfig:
    # 72 channels are one head, which is how the heads of a file without config are told.
    return replace(STDIT[name], hidden_size=72, depth=2, num_heads=1, caption_channels=STATES_WIDTH)


def _models() -> dict[str, TinyModel]:
    models = {
        "v1-t2v": TinyModel(
            config=_tiny_pixart("v1-t2v"),
            vae=_image_vae,
            write=partial(_write_released, motion_file=True),
        ),
        "v1-image": TinyModel(config=_tiny_pixart("v1-image"), vae=_image_vae, write=_write_released),
    }
    for name, config in (
        ("v2-t2v", _tiny_pixart("v2-t2v")),
        ("v3-inp", _tiny_pixart("v3-inp")),
        *((name, _tiny_hunyuan3d(name)) for name in HUNYUAN3D),
        *((name, _tiny_mmdit(name)) for name in sorted(MMDIT)),
    ):
        vae = partial(_magvit, name.split("-")[0])
        models[name] = TinyModel(config=config, vae=vae, write=_write_released)
    for name, preset, bare in (("open-sora-1.0", "v1.0-16x512", True), ("open-sora-1.1", "v1.1", False)):
        write = partial(_write_open_sora, bare=bare)
        models[name] = TinyModel(config=_tiny_stdit(preset), vae=_image_vae, write=write)
    return models


TINY: Mapping[str, TinyModel] = MappingProxyType(_models())
"""Kinds of model directories by "<version>-<variant>" or "<version>-<size>-<variant>"."""
