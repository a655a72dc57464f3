"""The STDiT denoiser.

Shapes: B batch, C channels, T latent frames, H and W latent size, L video tokens, M text tokens, E width of
the text states, D width. N groups that share a modulation, see `block`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.blocks.stack import BlockStack
from ea_dit.families.stdit.block import BlockContext, FrameHead, STDiTBlock
from ea_dit.families.stdit.config import STDiTConfig
from ea_dit.families.stdit.initialise import (
    freeze,
    initialise_block,
    initialise_embeddings,
    initialise_products,
)
from ea_dit.families.stdit.patches import Grid, VideoPatchEmbed, video_of
from ea_dit.families.stdit.positions import (
    rotary_angles,
    rotary_frequencies,
    spatial_table,
    temporal_table,
)
from ea_dit.layers.embeddings import CaptionEmbed, TimestepEmbed, embed_numbers
from ea_dit.types import Conditioning

FEATURES = 256
"""Width of the sinusoids of timesteps and sizes."""


class STDiT(nn.Module):
    """Predicts noise, and its variance, from noisy latents, a timestep, a caption and conditions.

    A new model ignores captions and other frames (their attention ends in zeros), so one that starts from an
    image model's weights starts as that model.

    Args:
        config: See `STDiTConfig`.
    """

    null_text_ME: Tensor
    rotary_frequencies_P: Tensor

    def __init__(self, config: STDiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.patch_embed = VideoPatchEmbed(config.in_channels, width, config.patch_size)
        self.time_embed = TimestepEmbed(FEATURES, width)
        self.modulation = nn.Linear(width, 6 * width)
        self.text_embed = CaptionEmbed(config.caption_channels, width)
        self.register_buffer("null_text_ME", torch.empty(config.model_max_length, config.caption_channels))
        if config.is_stdit2:
            self.temporal_modulation = nn.Linear(width, 3 * width)
            self.size_embed = TimestepEmbed(FEATURES, width // 3)
            self.aspect_embed = TimestepEmbed(FEATURES, width // 3)
            self.length_embed = TimestepEmbed(FEATURES, width)
            self.rate_embed = TimestepEmbed(FEATURES, width)
            self.register_buffer("rotary_frequencies_P", rotary_frequencies(config.head_dim))
        self.blocks = BlockStack(STDiTBlock(config, first=i == 0) for i in range(config.depth))
        volume = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        self.head = FrameHead(width, volume * config.prediction_channels)
        self._initialise()
        freeze(self, config.freeze)

    def _initialise(self) -> None:
        initialise_products(self)
        initialise_embeddings((self.time_embed, self.text_embed, self.modulation))
        if self.config.is_stdit2:
            initialise_embeddings((self.temporal_modulation,))
        for block in self.blocks:
            assert isinstance(block, STDiTBlock)
            initialise_block(block)
        nn.init.zeros_(self.head.projection.weight)
        nn.init.normal_(self.null_text_ME, std=self.config.caption_channels**-0.5)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, in which tokens are kept."""
        return self.patch_embed.weight.dtype

    def null_text(self, batch: int, length: int | None = None) -> Tensor:
        """The states that stand for no caption, in guidance and where training drops a caption.

        Args:
            batch: B.
            length: M, None for the stored one; as released, a longer one repeats the last row.

        Returns:
            (B, M, E).
        """
        stored_ME = self.null_text_ME
        length = len(stored_ME) if length is None else length
        missing = max(length - len(stored_ME), 0)
        adapted_ME = torch.cat((stored_ME[:length], stored_ME[-1:].expand(missing, -1)))
        return adapted_ME.expand(batch, -1, -1)

    def forward(
        self,
        hidden_BCTHW: Tensor,
        timestep_B: Tensor,
        text_BME: Tensor,
        *,
        text_mask_BM: Tensor | None = None,
        conditioning: Conditioning | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Predicts noise and variance.

        Args:
            hidden_BCTHW: Noisy latents; sizes need not be multiples of the patch.
            timestep_B: One timestep per sample in 0 ... 999, rounded to the dtype of the weights as released.
            text_BME: Text states, padding included.
            text_mask_BM: True at real tokens, the only ones that are attended to. With fewer rows than the
                text it is tiled: as released, a null caption is cut to the length of its prompt.
            conditioning: `frame_mask` (frames where it is False are taken to be at timestep 0); for STDiT2
                also `resolution`, `aspect_ratio`, `num_frames` and `fps`, all needed.
            recompute: Trade time for memory in training.

        Returns:
            float32 (B, prediction channels, T, H, W): noise, then, if learned, where the logarithm of the
            variance lies between its bounds, -1 ... 1.

        Raises:
            ValueError: If sizes, channels or conditions do not fit the model.
        """
        conditioning = Conditioning() if conditioning is None else conditioning
        self._check(hidden_BCTHW, text_BME, conditioning)
        frames, height, width = hidden_BCTHW.shape[2:]
        grid = self.patch_embed.grid((frames, height, width))
        frame_mask_BT = self._frame_mask(conditioning.frame_mask, grid)

        x_BLD = self.patch_embed(hidden_BCTHW.to(self.dtype)).to(self.dtype)
        table_SD = spatial_table(self.config, grid[1:], conditioning.resolution).to(x_BLD)
        x_BLD = x_BLD + table_SD.repeat(grid[0], 1)

        time_BD = self.time_embed(timestep_B.to(self.dtype))
        still_BD = None if frame_mask_BT is None else self.time_embed(torch.zeros_like(timestep_B))
        size_BD, length_BD = self._conditions(conditioning)
        shared = self._by_frame(self.modulation, time_BD, still_BD, size_BD, frame_mask_BT)
        if self.config.is_stdit2:
            temporal = self._by_frame(self.temporal_modulation, time_BD, still_BD, length_BD, frame_mask_BT)
        else:
            # As released, the temporal branch has the gate of timestep t in every frame.
            temporal = self._by_frame(self.modulation, time_BD, None, size_BD, None)[:, 2:3]
        context = self._context(grid, shared, temporal, (text_BME, text_mask_BM))
        (x_BLD,) = self.blocks((x_BLD,), context, recompute=recompute)

        # As released, the head takes the bare timestep, and the size only where frames are at timestep 0.
        still_BD = None if still_BD is None else still_BD + size_BD
        patches_BLK = self.head(x_BLD, time_BD, still_BD, frame_mask_BT)
        return video_of(
            patches_BLK, grid=grid, patch_size=self.config.patch_size, size=(frames, height, width)
        ).float()

    def _check(self, hidden_BCTHW: Tensor, text_BME: Tensor, conditioning: Conditioning) -> None:
        config = self.config
        if hidden_BCTHW.shape[1] != config.in_channels:
            raise ValueError(f"the model takes {config.in_channels} channels, got {hidden_BCTHW.shape[1]}")
        if text_BME.shape[-1] != config.caption_channels:
            raise ValueError(f"text states must be {config.caption_channels} wide, got {text_BME.shape[-1]}")
        if not config.is_stdit2:
            conditioning.require_only("frame_mask")
            return
        needed = ("resolution", "aspect_ratio", "num_frames", "fps")
        conditioning.require_only("frame_mask", *needed)
        for name in needed:
            given = getattr(conditioning, name)
            if given is None:
                raise ValueError(f"the model needs {name}; it takes {', '.join(needed)}")
            if len(given) != len(hidden_BCTHW):
                raise ValueError(f"{name} must have {len(hidden_BCTHW)} rows, got {len(given)}")

    def _frame_mask(self, mask_BT: Tensor | None, grid: Grid) -> Tensor | None:
        """The mask by frame of tokens: the frames of a patch are at the timestep of its first."""
        if mask_BT is None:
            return None
        by_token = mask_BT[:, :: self.config.patch_size[0]]
        if by_token.shape[1] != grid[0]:
            raise ValueError(f"frame_mask must have one entry per frame, got {mask_BT.shape[1]}")
        return by_token.bool()

    def _conditions(self, conditioning: Conditioning) -> tuple[Tensor | float, Tensor | float]:
        """Embeddings (B, D) of size and length, each added to the timestep's."""
        resolution, ratio = conditioning.resolution, conditioning.aspect_ratio
        length, rate = conditioning.num_frames, conditioning.fps
        if resolution is None or ratio is None or length is None or rate is None:
            return 0.0, 0.0
        parts = (
            embed_numbers(self.size_embed, resolution),
            embed_numbers(self.aspect_embed, ratio.reshape(len(ratio), 1)),
        )
        return torch.cat(parts, dim=1), self.length_embed(length) + self.rate_embed(rate)

    def _by_frame(
        self,
        projection: nn.Linear,
        time_BD: Tensor,
        still_BD: Tensor | None,
        condition_BD: Tensor | float,
        frame_mask_BT: Tensor | None,
    ) -> Tensor:
        """Modulation rows (N, R, D): one group per sample, or with a mask one per frame."""
        width = self.config.hidden_size
        moving_BRD = projection(F.silu(time_BD + condition_BD)).unflatten(-1, (-1, width))
        if still_BD is None or frame_mask_BT is None:
            return moving_BRD
        still_BRD = projection(F.silu(still_BD + condition_BD)).unflatten(-1, (-1, width))
        chosen = torch.where(frame_mask_BT[..., None, None], moving_BRD[:, None], still_BRD[:, None])
        return chosen.flatten(0, 1)

    def _context(
        self, grid: Grid, shared_N6D: Tensor, temporal_NRD: Tensor, text: tuple[Tensor, Tensor | None]
    ) -> BlockContext:
        text_BME, mask_BM = text
        is_stdit2 = self.config.is_stdit2
        return BlockContext(
            frames=grid[0],
            shared_N6D=shared_N6D,
            temporal_NRD=temporal_NRD,
            text_BMD=self.text_embed(text_BME.to(self.dtype)).to(self.dtype),
            text_mask=None if mask_BM is None else tiled_mask(mask_BM, text_BME),
            rope=rotary_angles(self.rotary_frequencies_P, grid[0]) if is_stdit2 else None,
            time_table_TD=None if is_stdit2 else temporal_table(self.config, grid[0]).to(shared_N6D),
        )


def tiled_mask(mask_BM: Tensor, text_BME: Tensor) -> Tensor:
    """A mask of text tokens for attention, (B, 1, 1, M); fewer rows than texts are repeated as a whole."""
    batch, length = text_BME.shape[:2]
    rows, tokens = mask_BM.shape
    if batch % rows or tokens != length:
        raise ValueError(f"text_mask must fit {batch} texts of {length} tokens, got {list(mask_BM.shape)}")
    return mask_BM.bool().repeat(batch // rows, 1)[:, None, None]
