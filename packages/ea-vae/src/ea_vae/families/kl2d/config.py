"""Configuration of the image autoencoder and its released spelling."""

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

DOWN_BLOCK = "DownEncoderBlock2D"
UP_BLOCK = "UpDecoderBlock2D"
CLASS_NAME = "AutoencoderKL"

# Keys of released configs that change nothing in this network: the size of its training pictures, and a hint
# about number types.
IGNORED_KEYS = frozenset(("sample_size", "force_upcast"))
# Later networks of the same class differ in these; only what V1 and Open-Sora have is supported.
FIXED: Mapping[str, tuple[Any, ...]] = {
    "shift_factor": (None,),
    "latents_mean": (None,),
    "latents_std": (None,),
    "use_quant_conv": (True,),
    "use_post_quant_conv": (True,),
    "mid_block_add_attention": (True,),
}
# What a released config means when it leaves a key out: the defaults of the class that wrote it.
RELEASED_DEFAULTS: Mapping[str, Any] = {
    "block_out_channels": (64,),
    "down_block_types": (DOWN_BLOCK,),
    "up_block_types": (UP_BLOCK,),
    "layers_per_block": 1,
}
_NAMES = {name: name for name in (*STAGE_FIELDS, "scaling_factor")}


@dataclass(frozen=True, kw_only=True)
class ImageVaeConfig:
    """Sizes of the network; the defaults are the released ones.

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
        scaling_factor: A transformer sees latents multiplied by this.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    down_block_types: tuple[str, ...] = (DOWN_BLOCK,) * 4
    up_block_types: tuple[str, ...] = (UP_BLOCK,) * 4
    layers_per_block: int = 2
    norm_num_groups: int = 32
    act_fn: str = "silu"
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        check_types(self, _NAMES)
        check_scaling(self.scaling_factor)
        check_stages(self, {"down_block_types": (DOWN_BLOCK,), "up_block_types": (UP_BLOCK,)})

    @property
    def geometry(self) -> LatentGeometry:
        """No compression in time; in space it is counted from the stages."""
        return LatentGeometry(time=1, space=2 ** (len(self.block_out_channels) - 1), any_size=True)

    @classmethod
    def from_dict(cls, released: Mapping[str, Any]) -> Self:
        """Read a released config.json.

        Keys that start with an underscore and `IGNORED_KEYS` are skipped; missing keys take the defaults of
        the class that wrote the file.

        Raises:
            ValueError: On an unknown key or a value that is not supported.
        """
        values = {**RELEASED_DEFAULTS, **released}
        return cls(**read_values(values, names=_NAMES, fixed=FIXED, ignored=IGNORED_KEYS))

    def to_dict(self) -> dict[str, Any]:
        """The released spelling, readable by `from_dict` and by the original programs."""
        return write_values(self, CLASS_NAME, _NAMES)

    def edited(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)
