"""Configuration of the MMDiT family, in the vocabulary of the released files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from ea_dit.config_values import BOOKKEEPING_KEYS, refuse_unknown, require_given, require_kinds, require_whole

CLASS_NAME = "EasyAnimateTransformer3DModel"
# Keys that decide nothing.
INERT_KEYS = BOOKKEEPING_KEYS | {
    "swa_layers",
}
_WHOLE_NUMBERS = (
    "num_layers",
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "patch_size",
    "text_embed_dim",
    "time_embed_dim",
    "sample_height",
    "sample_width",
)


@dataclass(frozen=True, kw_only=True)
class MMDiTConfig:
    """Everything that decides the network and how it is fed.

    Attributes:
        num_layers: Blocks.
        mmdit_layers: Blocks from the first on with separate weights for text; None = all (12B layout).
        num_attention_heads: Heads.
        attention_head_dim: Channels per head, a multiple of 16.
        in_channels: Noisy latents plus all condition channels.
        out_channels: Channels of the prediction, those of the latents.
        patch_size: Spatial patch; time is not patched.
        text_embed_dim: Width of the (first) text encoder's states.
        text_embed_dim_t5: Width of the second encoder's states, None without one.
        time_embed_dim: Width of the condition vector.
        sample_height: Latent rows of the base grid of the rotary positions.
        sample_width: Latent columns of the base grid.
        norm_eps: Of block and output norms.
        norm_elementwise_affine: Whether block norms have weight and bias.
        activation_fn: MLP activation, "gelu-approximate".
        timestep_activation_fn: "silu".
        flip_sin_to_cos: Timestep features [cos | sin].
        freq_shift: Of the timestep features.
        dropout: Must be 0.
        time_position_encoding_type: "3d_rope".
        after_norm: LayerNorm on the MLP result before its gate.
        add_norm_text_encoder: RMSNorm before the text projection (V5.1).
        ref_channels: Channels of a reference image turned into tokens, None without.
        clip_channels: Width of image tokens, None without.
        enable_text_attention_mask: Whether text encoders run with their padding mask.
        add_noise_in_inpaint_model: Whether condition frames get a little noise.
        resize_inpaint_mask_directly: Whether the mask is resized (1 channel) instead of VAE-encoded.
        enable_zero_in_inpaint: Whether "generate everything" means all-zero condition channels.
        enable_clip_in_inpaint: Whether the inpaint model takes image tokens.
        add_ref_latent_in_control_model: Whether control inputs end with reference latents.
    """

    num_layers: int = 48
    mmdit_layers: int | None = None
    num_attention_heads: int = 48
    attention_head_dim: int = 64
    in_channels: int = 16
    out_channels: int = 16
    patch_size: int = 2
    text_embed_dim: int = 3584
    text_embed_dim_t5: int | None = None
    time_embed_dim: int = 512
    sample_height: int = 60
    sample_width: int = 90
    norm_eps: float = 1e-5
    norm_elementwise_affine: bool = True
    activation_fn: str = "gelu-approximate"
    timestep_activation_fn: str = "silu"
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    dropout: float = 0.0
    time_position_encoding_type: str = "3d_rope"
    after_norm: bool = False
    add_norm_text_encoder: bool = True
    ref_channels: int | None = None
    clip_channels: int | None = None
    enable_text_attention_mask: bool = True
    add_noise_in_inpaint_model: bool = True
    resize_inpaint_mask_directly: bool = True
    enable_zero_in_inpaint: bool = True
    enable_clip_in_inpaint: bool = False
    add_ref_latent_in_control_model: bool = False

    def __post_init__(self) -> None:
        """Refuses what this implementation does not compute."""
        _require("activation_fn", self.activation_fn, "gelu-approximate")
        _require("timestep_activation_fn", self.timestep_activation_fn, "silu")
        _require("time_position_encoding_type", self.time_position_encoding_type, "3d_rope")
        _require("dropout", self.dropout, 0)
        require_whole(self, _WHOLE_NUMBERS)
        require_kinds(self)
        if self.attention_head_dim % 16:
            raise ValueError(
                f"attention_head_dim must be a positive multiple of 16, got {self.attention_head_dim}"
            )
        if self.in_channels < self.out_channels:
            raise ValueError(
                f"in_channels ({self.in_channels}) must be at least out_channels ({self.out_channels})"
            )

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def num_joint_layers(self) -> int:
        """Blocks with separate weights for text."""
        return self.num_layers if self.mmdit_layers is None else min(self.mmdit_layers, self.num_layers)

    @property
    def condition_channels(self) -> int:
        """Input channels after the noisy latents."""
        return self.in_channels - self.out_channels

    @property
    def base_grid(self) -> tuple[int, int]:
        """Rows and columns of tokens of the rotary positions' base grid."""
        return self.sample_height // self.patch_size, self.sample_width // self.patch_size

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released `config.json`.

        Released files carry bookkeeping (class name, library version, EMA state), which is ignored.
        `swa_layers` must be null.

        Raises:
            ValueError: For an unknown key or a value that is not supported, naming the key.
        """
        if values.get("swa_layers") is not None:
            raise ValueError("swa_layers must be null: sliding-window attention is not supported")
        require_given(values, ("num_layers", "num_attention_heads", "in_channels", "text_embed_dim"))
        known = {field.name for field in fields(cls)}
        refuse_unknown(values, known, INERT_KEYS)
        # Files from before a key existed: V5, which has neither the norm nor the text mask.
        normed = bool(values.get("add_norm_text_encoder", False))
        given: dict[str, Any] = {"add_norm_text_encoder": normed, "enable_text_attention_mask": normed}
        given |= {name: value for name, value in values.items() if name in known}
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `config.json` would hold it."""
        values: dict[str, Any] = {"_class_name": CLASS_NAME, **asdict(self), "swa_layers": None}
        values["mmdit_layers"] = self.num_joint_layers
        return values


def _require(name: str, value: object, allowed: object) -> None:
    if value != allowed:
        raise ValueError(f"{name} must be {allowed!r}, got {value!r}")
