"""Autoencoders that begin with the weights of another kind: as the paper's began.

An image autoencoder becomes a MAGVIT, and that the slice autoencoder of V3. Source: the EasyAnimate paper
(arXiv 2405.18991, section 5): MAGVIT first, the slice autoencoder from its weights.
"""

import torch
from torch import Tensor

from ea_vae import ImageVae, MagvitConfig, MagvitVae
from ea_vae.families.magvit.config import DOWN_BLOCKS, UP_BLOCKS

_SLICE_FRAMES = 8
_SLICE_LATENTS = 2


def slice_from_magvit(vae: MagvitVae, *, halve_everywhere: bool = False) -> MagvitVae:
    """The slice autoencoder of V3 with the weights of a MAGVIT (V2).

    The networks are the same; what differs is what a slice sees of its neighbours. So every tensor is taken
    over, and only training makes use of the new neighbourhood.

    Args:
        vae: Weights and sizes.
        halve_everywhere: Halve time in every stage: 8 frames to a latent frame instead of 4.
    """
    config = vae.config.edited(
        temporal_mode="neighbours",
        encoder_slice_frames=_SLICE_FRAMES,
        decoder_slice_latents=_SLICE_LATENTS,
    )
    if halve_everywhere:
        count = len(config.block_out_channels)
        config = config.edited(
            down_block_types=(DOWN_BLOCKS[1],) * count,
            up_block_types=(UP_BLOCKS[1],) * count,
            decoder_slice_latents=1,
        )
    made = MagvitVae(config)
    made.load_state_dict(vae.state_dict())
    return made


@torch.no_grad()
def inflate(image_vae: ImageVae, config: MagvitConfig) -> MagvitVae:
    """A MAGVIT that does to a single picture what an image autoencoder does.

    Kernels become the last time tap of causal ones, the others are zero; so it treats frames one by one until
    it learns otherwise, but for those that are left out in between.

    Args:
        image_vae: The weights.
        config: Sizes and temporal mode; channels and layers as those of the image autoencoder.

    Raises:
        ValueError: A tensor has no place or another size, naming it.
    """
    made = MagvitVae(config)
    if made.config.temporal_mode in ("neighbours", "cached-decoder"):
        raise ValueError(f"inflate needs a causal encoder, got temporal_mode {config.temporal_mode!r}")
    wanted = made.state_dict()
    given = {
        name.replace(".mid.attention.", ".mid.attentions.0."): value
        for name, value in image_vae.state_dict().items()
    }
    for name in sorted(wanted.keys() ^ given.keys()):
        side = "the MAGVIT" if name in wanted else "the image autoencoder"
        raise ValueError(f"inflate: only {side} has {name}; layers_per_block and attention must agree")
    made.load_state_dict({name: _inflated(name, given[name], wanted[name]) for name in wanted})
    return made


def _inflated(name: str, value: Tensor, like: Tensor) -> Tensor:
    if value.ndim == 4 and like.ndim == 5:
        taps = like.shape[2]
        value = torch.stack((*[torch.zeros_like(value)] * (taps - 1), value), dim=2)
    if value.shape != like.shape:
        raise ValueError(f"inflate: {name} is {list(value.shape)}, but {list(like.shape)} is needed")
    return value.to(like)
