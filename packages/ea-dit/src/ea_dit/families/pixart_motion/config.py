"""Configuration of the PixArt family: what decides the network, each switch a field of its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from ea_dit.config_values import require_kinds, require_whole
from ea_dit.families.pixart_motion.released import from_released, to_released

AttentionScope = Literal["temporal", "global"]
SCOPES: tuple[AttentionScope, ...] = ("temporal", "global")
NORM_GROUPS = 32
"""Groups of the norm at the start of a motion module."""
_WHOLE_NUMBERS = (
    "num_layers",
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "patch_size",
    "sample_size",
    "caption_channels",
    "position_scale",
    "clip_tokens",
)


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """One kind of motion module.

    Attributes:
        num_attention_heads: Heads of its attentions.
        attention: What each attention of an inner block sees: "temporal" (one position over the frames) or
            "global" (all positions of all frames).
        grid: Side of the squares of positions that temporal attention sees together; 1 is one position.
        num_layers: Inner blocks.
        max_frames: Rows of the saved table of frame positions.
        photo_positions: Whether temporal attention adds that table for a single frame, too.
    """

    num_attention_heads: int = 8
    attention: tuple[AttentionScope, ...] = ("temporal", "temporal")
    grid: int = 1
    num_layers: int = 1
    max_frames: int = 4096
    photo_positions: bool = True

    def __post_init__(self) -> None:
        """Refuses what cannot be built."""
        require_whole(self, ("num_attention_heads", "grid", "num_layers", "max_frames"))
        if not self.attention or any(scope not in SCOPES for scope in self.attention):
            raise ValueError(f"attention must name one or more of {', '.join(SCOPES)}, got {self.attention}")


@dataclass(frozen=True, kw_only=True)
class PixArtMotionConfig:
    """Everything that decides the network and how it is fed.

    Attributes:
        num_layers: Blocks.
        num_attention_heads: Heads of spatial and cross-attention.
        attention_head_dim: Channels per head.
        in_channels: Noisy latents plus all condition channels.
        out_channels: Channels of the prediction: noise, then its variance.
        patch_size: Spatial patch; time is not patched.
        sample_size: Latent rows and columns that the position table's coordinates refer to.
        caption_channels: Width of the text encoder's states.
        norm_eps: Of the block norms and the output norm.
        motion: Kinds of motion modules, taken in turn by the blocks: none for an image model, one for V1 and
            V2, two (even blocks, odd blocks) for V3.
        num_skips: Projections of long connections (U-ViT): the outputs of that many first blocks go to late
            ones, newest first. They exist in files even where a shallow network has no such late blocks.
        first_skip_block: The first late block.
        position_scale: Divides the coordinates of the position table.
        size_conditions: Whether resolution and aspect ratio are embedded together with the timestep.
        clip_channels: Width of the pooled CLIP image embedding that is turned into tokens, None without.
        clip_tokens: Number of those tokens.
        enable_text_attention_mask: Whether the text encoder runs with its padding mask.
        add_noise_in_inpaint_model: Whether condition frames get a little noise.
        resize_inpaint_mask_directly: Whether the mask is resized (1 channel) instead of VAE-encoded.
        enable_zero_in_inpaint: Whether "generate everything" means all-zero condition channels.
    """

    num_layers: int = 28
    num_attention_heads: int = 16
    attention_head_dim: int = 72
    in_channels: int = 4
    out_channels: int = 8
    patch_size: int = 2
    sample_size: int = 64
    caption_channels: int = 4096
    norm_eps: float = 1e-6
    motion: tuple[MotionConfig, ...] = ()
    num_skips: int = 0
    first_skip_block: int = 15
    position_scale: int = 1
    size_conditions: bool = False
    clip_channels: int | None = None
    clip_tokens: int = 8
    enable_text_attention_mask: bool = True
    add_noise_in_inpaint_model: bool = False
    resize_inpaint_mask_directly: bool = False
    enable_zero_in_inpaint: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot be built."""
        require_whole(self, _WHOLE_NUMBERS)
        require_kinds(self)
        if len(self.motion) > 2:
            raise ValueError(f"motion must be none, one or two (even, odd) kinds, got {len(self.motion)}")
        if not 0 <= self.num_skips <= self.first_skip_block:
            raise ValueError(
                f"num_skips must be 0 ... first_skip_block ({self.first_skip_block}), got {self.num_skips}"
            )
        for name, divisor in self._divisors():
            if self.width % divisor:
                raise ValueError(
                    "num_attention_heads * attention_head_dim must be a multiple of "
                    f"{divisor} ({name}), got {self.width}"
                )

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def latent_channels(self) -> int:
        """Channels of the noisy latents: half of the prediction, whose other half is its variance."""
        return self.out_channels // 2

    @property
    def condition_channels(self) -> int:
        """Input channels after the noisy latents."""
        return self.in_channels - self.latent_channels

    @property
    def position_extent(self) -> float:
        """Coordinate range of the position table, the same for every grid."""
        return self.sample_size // self.patch_size / self.position_scale

    @property
    def skip_sources(self) -> dict[int, int]:
        """Late block to the early one whose output it takes up."""
        late = range(self.first_skip_block, min(self.first_skip_block + self.num_skips, self.num_layers))
        return {block: self.num_skips - 1 - (block - self.first_skip_block) for block in late}

    def motion_of(self, block: int) -> MotionConfig | None:
        """The motion module of a block, None in an image model."""
        return self.motion[block % len(self.motion)] if self.motion else None

    def _divisors(self) -> list[tuple[str, int]]:
        divisors = [("position table", 4)]
        if self.size_conditions:
            divisors.append(("size conditions", 3))
        if self.motion:
            divisors.append(("groups of a motion module", NORM_GROUPS))
        return divisors + [("heads of a motion module", kind.num_attention_heads) for kind in self.motion]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released `config.json`, with the keys of its yaml file merged in if there is one.

        What the original infers (image tokens from 12 input channels, size conditions from a sample size of
        128, long connections) becomes a field; a field that is written in the file wins.

        Raises:
            ValueError: For an unknown key or a value that is not supported, naming the key.
        """
        given = from_released(values)
        motion = tuple(MotionConfig(**kind) for kind in given.pop("motion"))
        return cls(**given, motion=motion)

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `config.json` would hold it.

        Fields that the original would infer otherwise are written under their own names.
        """
        return to_released(asdict(self))
