"""Configuration of the V4 family, in the vocabulary of the released files."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ea_dit.config_values import (
    BOOKKEEPING_KEYS,
    refuse_unknown,
    require_fixed,
    require_given,
    require_kinds,
    require_whole,
)
from ea_vae.geometry import LatentGeometry

CLASS_NAME = "HunyuanTransformer3DModel"

# Keys of released files that decide nothing here: bookkeeping, the size of a position table that this model
# does not have, and settings of block types other than "basic".
INERT_KEYS = BOOKKEEPING_KEYS | {
    "add_ref_latent_in_control_model",
    "motion_module_kwargs",
    "motion_module_kwargs_even",
    "motion_module_kwargs_odd",
    "motion_module_type",
    "position_of_clip_embedding",
    "sample_size",
    "transformer_type",
}
# The only values that released files have for them.
_FIXED = {
    "activation_fn": "gelu-approximate",
    "norm_type": "layer_norm",
    "basic_block_type": "basic",
    "time_position_encoding_type": "2d_rope",
    "time_position_encoding": True,
    "after_norm": False,
}
_REQUIRED = ("num_layers", "num_attention_heads", "attention_head_dim", "in_channels")
_WHOLE_NUMBERS = (
    *_REQUIRED,
    "out_channels",
    "patch_size",
    "cross_attention_dim",
    "cross_attention_dim_t5",
    "pooled_projection_dim",
    "text_len",
    "text_len_t5",
    "n_query",
    "projection_dim",
)
_BASE_PIXELS = 512
PIXELS_PER_LATENT = LatentGeometry().space


@dataclass(frozen=True, kw_only=True)
class Hunyuan3DConfig:
    """Everything that decides the network and how it is fed.

    Attributes:
        num_layers: Blocks, an even number.
        num_attention_heads: Heads, also those of the image resampler.
        attention_head_dim: Channels per head, a multiple of 4.
        in_channels: Noisy latents plus all condition channels.
        out_channels: Channels of the output: the prediction, then the variance if `learn_sigma`.
        learn_sigma: Whether half of the output is a variance (which pipelines drop).
        patch_size: Spatial patch; time is not patched.
        mlp_ratio: Hidden width of the MLP over the width, rounded down.
        cross_attention_dim: Width of the first text encoder's states and of all text and image tokens.
        cross_attention_dim_t5: Width of the second text encoder's states, a multiple of 8.
        pooled_projection_dim: Width of the pooled states of the second encoder.
        text_len: Tokens of the first encoder, always that many.
        text_len_t5: Tokens of the second encoder.
        enable_clip_in_inpaint: Whether the model reads an image's patch tokens.
        n_query: Image tokens that the resampler makes of them, a square number.
        projection_dim: Width of the patch tokens.
        rope_in_first_block: Whether the self-attention of block 0 rotates queries and keys: as in the code of
            the release (True) or as later code has it (False). No released file says; ours do.
        resize_inpaint_mask_directly: Whether the mask is resized (1 channel) instead of VAE-encoded.
        enable_zero_in_inpaint: Whether "generate everything" means all-zero condition channels.
        add_noise_in_inpaint_model: Whether condition frames get a little noise.
        enable_text_attention_mask: Whether text encoders run with their padding mask.
    """

    num_layers: int = 40
    num_attention_heads: int = 16
    attention_head_dim: int = 88
    in_channels: int = 12
    out_channels: int = 8
    learn_sigma: bool = True
    patch_size: int = 2
    mlp_ratio: float = 4.3637
    cross_attention_dim: int = 1024
    cross_attention_dim_t5: int = 2048
    pooled_projection_dim: int = 1024
    text_len: int = 77
    text_len_t5: int = 256
    enable_clip_in_inpaint: bool = True
    n_query: int = 16
    projection_dim: int = 1024
    rope_in_first_block: bool = True
    resize_inpaint_mask_directly: bool = False
    enable_zero_in_inpaint: bool = True
    add_noise_in_inpaint_model: bool = False
    enable_text_attention_mask: bool = True

    def __post_init__(self) -> None:
        """Refuses what this implementation does not compute."""
        require_whole(self, _WHOLE_NUMBERS)
        require_kinds(self)
        if not isinstance(self.mlp_ratio, int | float) or self.mlp_ratio <= 0:
            raise ValueError(f"mlp_ratio must be a number above 0, got {self.mlp_ratio!r}")
        _require_multiple("num_layers", self.num_layers, 2)
        _require_multiple("attention_head_dim", self.attention_head_dim, 4)
        _require_multiple("cross_attention_dim_t5", self.cross_attention_dim_t5, 8)
        if self.learn_sigma:
            _require_multiple("out_channels", self.out_channels, 2)
        if self.in_channels < self.latent_channels:
            raise ValueError(
                f"in_channels ({self.in_channels}) must be at least the latents' ({self.latent_channels})"
            )
        if self.enable_clip_in_inpaint:
            self._check_image_tokens()

    def _check_image_tokens(self) -> None:
        if not self.condition_channels:
            raise ValueError("enable_clip_in_inpaint must be false for a model without inpaint channels")
        _require_multiple("cross_attention_dim", self.cross_attention_dim, 4)
        _require_multiple("cross_attention_dim", self.cross_attention_dim, self.num_attention_heads)
        if math.isqrt(self.n_query) ** 2 != self.n_query:
            raise ValueError(f"n_query must be a square number, got {self.n_query}")

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def latent_channels(self) -> int:
        """Channels of the noisy latents and of the prediction."""
        return self.out_channels // 2 if self.learn_sigma else self.out_channels

    @property
    def condition_channels(self) -> int:
        """Input channels after the noisy latents."""
        return self.in_channels - self.latent_channels

    @property
    def base_grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of the rotary positions' base grid: those of a 512 x 512 picture."""
        side = _BASE_PIXELS // PIXELS_PER_LATENT // self.patch_size
        return side, side

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released `config.json`.

        Without `enable_clip_in_inpaint` a model reads image tokens exactly if it has condition channels; with
        it, a model without such channels reads none all the same.

        Raises:
            ValueError: For an unknown key or a value that is not supported, naming the key.
        """
        names = {field.name for field in fields(cls)}
        refuse_unknown(values, names, INERT_KEYS | {*_FIXED, "hidden_size"})
        require_given(values, _REQUIRED)
        require_fixed(values, _FIXED)
        given = {name: value for name, value in values.items() if name in names}
        plain = cls(**given | {"enable_clip_in_inpaint": False})
        reads_image = bool(plain.condition_channels) and given.get("enable_clip_in_inpaint", True)
        config = cls(**given | {"enable_clip_in_inpaint": reads_image})
        if values.get("hidden_size", config.width) != config.width:
            raise ValueError(
                f"hidden_size must be num_attention_heads * attention_head_dim = {config.width}, "
                f"got {values['hidden_size']!r}"
            )
        return config

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `config.json` would hold it, plus `rope_in_first_block`."""
        return {"_class_name": CLASS_NAME, **_FIXED, "hidden_size": self.width, **asdict(self)}


def _require_multiple(name: str, value: int, factor: int) -> None:
    if value % factor:
        raise ValueError(f"{name} must be a multiple of {factor}, got {value}")
