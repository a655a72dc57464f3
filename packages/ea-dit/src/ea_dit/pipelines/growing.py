"""Networks that begin as smaller ones: new parts start at zero, so nothing changes until they learn.

A video model begins as an image model (Guo et al. 2023, arXiv 2307.04725), long connections as none (Bao et
al. 2022, arXiv 2209.12152, with joins that start at zero), condition channels as unread.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ea_dit.families.pixart_motion import PixArtMotion, PixArtMotionConfig
from ea_dit.families.pixart_motion.presets import PRESETS
from ea_dit.families.stdit import STDiTConfig
from ea_dit.pipelines.variants import traits_of
from ea_dit.registry import Transformer, family_of
from ea_kernels.runtime.weights import build_on_meta

__all__ = ["motion_config", "widened", "widened_config", "with_motion"]

_PATCHES = "patch_embed.weight"
_ADDED = ("motion", "skips", "clip_embed")
"""Parts of a PixArt video model that an image model lacks. They end in projections that start at zero."""


def widened(network: Transformer, in_channels: int) -> Transformer:
    """The same network with room for condition channels, which start unread.

    Channels of conditions stay only where they mean the same afterwards: an inpaint model that becomes a
    control model keeps what it makes of noisy latents alone.

    Args:
        network: Of any family but Open-Sora's, whose conditions are no channels.
        in_channels: Noisy latents and all condition channels.

    Returns:
        A new network, or this one if it has as many channels of the same meaning.

    Raises:
        ValueError: No variant of the family has so many channels.
    """
    config = network.config
    grown = widened_config(config, in_channels)
    if grown == config:
        return network
    before, after = traits_of(config), traits_of(grown)
    same = before.variant in ("text", after.variant)
    kept = min(config.in_channels, in_channels) if same else before.latent_channels
    state = dict(network.state_dict())
    old_DCPP = state[_PATCHES]
    new_DCPP = old_DCPP.new_zeros(old_DCPP.shape[0], in_channels, *old_DCPP.shape[2:])
    new_DCPP[:, :kept] = old_DCPP[:, :kept]
    return _filled(network, grown, {**state, _PATCHES: new_DCPP})


def widened_config(config: Any, in_channels: int) -> Any:
    """The config of the network that `widened` makes; errors as there."""
    if isinstance(config, STDiTConfig):
        raise ValueError(  # noqa: TRY004
            "in_channels cannot change: this family takes conditions in no channels"
        )
    grown = replace(config, in_channels=in_channels)
    traits_of(grown)
    return grown


def with_motion(image: PixArtMotion, config: PixArtMotionConfig, *, seed: int = 0) -> PixArtMotion:
    """A video model that makes of every frame what an image model makes of it.

    Args:
        image: The image model, or a video model with fewer of the parts below.
        config: Of the video model: motion modules, long connections or CLIP tokens may be new.
        seed: Of the new weights; the last projection of every new part is zero.

    Raises:
        ValueError: The config differs in more.
    """
    allowed = {name: getattr(config, name) for name in _GROWS}
    if replace(image.config, **allowed) != config:
        raise ValueError(
            f"the video model may differ from the image model in {', '.join(_GROWS)}, but differs in more"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = PixArtMotion(config).state_dict()
    state = dict(image.state_dict())
    if lost := sorted(state.keys() - fresh.keys()):
        raise ValueError(f"the video model has no place for {lost[0]} of the image model")
    missing = sorted(fresh.keys() - state.keys())
    assert all(any(part in name.split(".") for part in _ADDED) for name in missing), missing
    like = image.patch_embed.weight
    added = {name: fresh[name].to(device=like.device, dtype=like.dtype) for name in missing}
    grown = _filled(image, config, {**state, **added})
    assert isinstance(grown, PixArtMotion)
    return grown


_GROWS = ("motion", "num_skips", "first_skip_block", "clip_channels", "clip_tokens")


def motion_config(image: Any, preset: str) -> PixArtMotionConfig:
    """The config of an image model with the motion modules and long connections of a released video model.

    Args:
        image: Config of an image model.
        preset: Such as "v2-t2v".

    Raises:
        ValueError: It is no image model of that family, or there is no such video model.
    """
    videos = sorted(name for name, config in PRESETS.items() if config.motion)
    if preset not in videos:
        raise ValueError(f"motion modules must be those of {', '.join(videos)}, got {preset!r}")
    if not isinstance(image, PixArtMotionConfig) or image.motion:
        raise ValueError("motion modules are added to an image model of V1 (PixArt), this is another")
    released = PRESETS[preset]
    return replace(
        image,
        motion=released.motion,
        num_skips=released.num_skips,
        first_skip_block=released.first_skip_block,
    )


def _filled(network: Transformer, config: Any, state: dict[str, Tensor]) -> Transformer:
    """A network of a config with these tensors, in the mode of another."""
    grown = build_on_meta(lambda: family_of(config.to_dict()).build(config))
    grown.load_state_dict({name: tensor.clone() for name, tensor in state.items()}, assign=True)
    return grown.train(network.training)
