"""Configuration of the CogVideoX-style autoencoder and its released spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ea_vae.config_values import (
    STAGE_FIELDS,
    check_scaling,
    check_stages,
    check_types,
    read_values,
    write_values,
)
from ea_vae.geometry import LatentGeometry

DOWN_BLOCK = "CogVideoXDownBlock3D"
UP_BLOCK = "CogVideoXUpBlock3D"
CLASS_NAME = "AutoencoderKLCogVideoX"

# Keys that only EasyAnimate's class has. They steer its pipelines, not this network, whose slices are fixed.
EASYANIMATE_KEYS = frozenset(
    (
        "cache_compression_vae",
        "cache_mag_vae",
        "mini_batch_decoder",
        "mini_batch_encoder",
        "slice_compression_vae",
        "slice_mag_vae",
    )
)
# Keys of released configs that change nothing in this network: a hint about number types, and how CogVideoX's
# own pipelines scale the latents of a first frame.
IGNORED_KEYS = EASYANIMATE_KEYS | {"force_upcast", "invert_scale_latents"}
FIXED: Mapping[str, tuple[Any, ...]] = {
    "norm_eps": (1e-6,),
    "shift_factor": (None,),
    "latents_mean": (None,),
    "latents_std": (None,),
    "use_quant_conv": (False,),
    "use_post_quant_conv": (False,),
}
# Frames per encoder slice in each of the two classes of this name.
EASYANIMATE_SLICE_FRAMES = 4
DIFFUSERS_SLICE_FRAMES = 8
_NAMES = {
    name: name
    for name in (
        *STAGE_FIELDS,
        "temporal_compression_ratio",
        "sample_height",
        "sample_width",
        "scaling_factor",
        "use_tiling",
    )
}


@dataclass(frozen=True, kw_only=True)
class CogVideoXConfig:
    """Network and execution settings; the defaults are the released ones.

    Attributes:
        in_channels: Channels of the video that is encoded.
        out_channels: Channels of the decoded video.
        latent_channels: Channels of a latent.
        block_out_channels: Channels of each stage, from the finest to the coarsest.
        down_block_types: One released stage name per stage; every stage but the last halves H and W.
        up_block_types: The same for the decoder, from the coarsest to the finest.
        layers_per_block: Residual layers per encoder stage (the decoder has one more).
        norm_num_groups: Channel groups of every norm; divides every entry of `block_out_channels`.
        act_fn: Activation; only "silu" exists.
        temporal_compression_ratio: Frames per latent frame, a power of 2; the first stages halve T.
        encoder_slice_frames: Frames per encoder slice. Norms look at a slice, so it is part of the function.
        decoder_slice_latents: Latent frames per decoder slice, even; likewise.
        sample_height: Height of training clips; a tile of the decoder is half as high.
        sample_width: Width of training clips; a tile of the decoder is half as wide.
        scaling_factor: A transformer sees latents multiplied by this.
        use_tiling: Spatial tiles when decoding; encoding has none.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 16
    block_out_channels: tuple[int, ...] = (128, 256, 256, 512)
    down_block_types: tuple[str, ...] = (DOWN_BLOCK,) * 4
    up_block_types: tuple[str, ...] = (UP_BLOCK,) * 4
    layers_per_block: int = 3
    norm_num_groups: int = 32
    act_fn: str = "silu"
    temporal_compression_ratio: int = 4
    encoder_slice_frames: int = EASYANIMATE_SLICE_FRAMES
    decoder_slice_latents: int = 2
    sample_height: int = 480
    sample_width: int = 720
    scaling_factor: float = 1.15258426
    use_tiling: bool = False

    def __post_init__(self) -> None:
        check_types(self, _NAMES)
        check_scaling(self.scaling_factor)
        check_stages(self, {"down_block_types": (DOWN_BLOCK,), "up_block_types": (UP_BLOCK,)})
        ratio, halvings = self.temporal_compression_ratio, len(self.block_out_channels) - 1
        if ratio.bit_count() != 1 or self.num_time_stages > halvings:
            raise ValueError(
                f"temporal_compression_ratio must be a power of 2 up to {2**halvings}, got {ratio}"
            )
        if self.encoder_slice_frames % ratio:
            raise ValueError(
                f"encoder_slice_frames must be a multiple of {ratio}, got {self.encoder_slice_frames}"
            )
        if self.decoder_slice_latents % 2:
            raise ValueError(f"decoder_slice_latents must be even, got {self.decoder_slice_latents}")

    @property
    def num_time_stages(self) -> int:
        """Stages that resample T: the first of the encoder, and as many of the decoder."""
        return self.temporal_compression_ratio.bit_length() - 1

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        return LatentGeometry(
            time=self.temporal_compression_ratio, space=2 ** (len(self.block_out_channels) - 1), rule="pairs"
        )

    @classmethod
    def from_dict(cls, released: Mapping[str, Any]) -> Self:
        """Read a config.json in EasyAnimate's or diffusers' spelling, which differ in the encoder's slices.

        Keys that start with an underscore and `IGNORED_KEYS` are skipped.

        Raises:
            ValueError: On an unknown key or a value that is not supported.
        """
        values = read_values(released, names=_NAMES, fixed=FIXED, ignored=IGNORED_KEYS)
        easyanimate = EASYANIMATE_KEYS & released.keys()
        frames = EASYANIMATE_SLICE_FRAMES if easyanimate else DIFFUSERS_SLICE_FRAMES
        return cls(**values, encoder_slice_frames=frames)

    def to_dict(self) -> dict[str, Any]:
        """The released spelling, readable by `from_dict` and by the original programs.

        Raises:
            ValueError: If slices are longer or shorter than those of either released class.
        """
        if self.decoder_slice_latents != 2 or self.encoder_slice_frames not in (
            EASYANIMATE_SLICE_FRAMES,
            DIFFUSERS_SLICE_FRAMES,
        ):
            raise ValueError(
                "the released layout has no place for encoder_slice_frames other than "
                f"{EASYANIMATE_SLICE_FRAMES} and {DIFFUSERS_SLICE_FRAMES} and decoder_slice_latents other "
                f"than 2, got {self.encoder_slice_frames} and {self.decoder_slice_latents}"
            )
        released = write_values(self, CLASS_NAME, _NAMES)
        if self.encoder_slice_frames == EASYANIMATE_SLICE_FRAMES:
            released |= {"cache_mag_vae": True, "mini_batch_encoder": 4, "mini_batch_decoder": 1}
        return released

    def edited(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)
