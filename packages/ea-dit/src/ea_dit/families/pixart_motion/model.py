"""The PixArt denoiser with motion modules.

Shapes: B batch, C channels, T latent frames, H and W latent size, L video tokens, M text tokens, N image
tokens, D width.
"""

import torch
from torch import Tensor, nn

from ea_dit.blocks.stack import BlockStack, Skips
from ea_dit.families.pixart_motion.block import BlockContext, PixArtBlock
from ea_dit.families.pixart_motion.config import PixArtMotionConfig
from ea_dit.families.pixart_motion.motion import MotionModule
from ea_dit.families.pixart_motion.time_embed import TimeEmbed
from ea_dit.layers.adaln import TableHead
from ea_dit.layers.attention import padding_bias
from ea_dit.layers.embeddings import CaptionEmbed, TimestepEmbed
from ea_dit.layers.patchify import PatchEmbed, token_grid, unpatchify
from ea_dit.layers.sincos import sincos_2d
from ea_dit.types import Conditioning


class PixArtMotion(nn.Module):
    """Predicts noise and its variance from noisy latents, a timestep, text and conditions.

    Args:
        config: See `PixArtMotionConfig`.
    """

    def __init__(self, config: PixArtMotionConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.patch_embed = PatchEmbed(config.in_channels, width, patch)
        self.time_embed = TimeEmbed(width, sizes=config.size_conditions)
        self.text_embed = CaptionEmbed(config.caption_channels, width)
        self.clip_embed = (
            CaptionEmbed(config.clip_channels, config.clip_tokens * width) if config.clip_channels else None
        )
        self.blocks = BlockStack(PixArtBlock(config, index) for index in range(config.num_layers))
        self.skips = nn.ModuleList(nn.Linear(width, width) for _ in range(config.num_skips))
        self.head = TableHead(width, patch * patch * config.out_channels, eps=config.norm_eps)
        self.apply(_initialise)
        for skip in self.skips:
            skip.apply(_zero)
        if self.clip_embed is not None:
            self.clip_embed.outer.apply(_zero)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, in which tokens are kept."""
        return self.patch_embed.weight.dtype

    def forward(
        self,
        hidden_BCTHW: Tensor,
        timestep_B: Tensor,
        text_BME: Tensor,
        second_text_BNE: Tensor | None = None,
        *,
        text_mask_BM: Tensor | None = None,
        conditioning: Conditioning | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Predicts one denoising direction.

        Args:
            hidden_BCTHW: Noisy latents, H and W multiples of the patch size; T is 1 for an image model.
            timestep_B: One timestep per sample in 0 ... 1000; its dtype's rounding counts, as in released
                runs.
            text_BME: Text states.
            second_text_BNE: Must be None: there is one text encoder.
            text_mask_BM: 1 where a text token counts, 0 for padding; None if all count.
            conditioning: `inpaint_latents`; `clip_states` (B, channels) and `clip_mask` (B, N) for models
                that read an image; `resolution` and `aspect_ratio` for models that are told the size.
            recompute: Trade time for memory in training.

        Returns:
            (B, out_channels, T, H, W) in the dtype of the weights, or that of autocast: noise, then variance.

        Raises:
            ValueError: If sizes or channels do not fit the model, or it has no input for what is given.
        """
        conditioning = Conditioning() if conditioning is None else conditioning
        self._check_conditions(second_text_BNE, conditioning)
        self._check_shapes(text_BME, text_mask_BM, conditioning)
        config, dtype = self.config, self.dtype
        x_BCTHW = conditioning.join_channels(hidden_BCTHW, in_channels=config.in_channels, dtype=dtype)
        grid = self._token_grid(x_BCTHW)

        # Under autocast the projections give low precision; the residual stream stays in the weights' dtype.
        x_BLD = (self.patch_embed(x_BCTHW) + self._positions(grid, x_BCTHW.device)).to(dtype)
        time_BD, modulation_B6D = self.time_embed(timestep_B, conditioning)
        text_BMD, text_bias = self._text_tokens(text_BME, text_mask_BM, conditioning)

        context = BlockContext(modulation_B6D, text_BMD, text_bias, grid)
        skips = Skips(sources=config.skip_sources, merge=self._merge_skip)
        (x_BLD,) = self.blocks((x_BLD,), context, recompute=recompute, skips=skips)
        patches_BLK = self.head(x_BLD, time_BD)
        return unpatchify(patches_BLK, grid=grid, patch_size=config.patch_size, channel_last=True)

    def _check_conditions(self, second_text_BNE: Tensor | None, conditioning: Conditioning) -> None:
        if second_text_BNE is not None:
            raise ValueError("the model has no input for a second text encoder's states")
        config = self.config
        takes = ["inpaint_latents"] if config.condition_channels else []
        takes += ["clip_states", "clip_mask"] if config.clip_channels else []
        takes += ["resolution", "aspect_ratio"] if config.size_conditions else []
        conditioning.require_only(*takes)
        if conditioning.clip_mask is not None and conditioning.clip_states is None:
            raise ValueError("clip_mask needs clip_states")
        if config.size_conditions and (conditioning.resolution is None or conditioning.aspect_ratio is None):
            raise ValueError("the model needs resolution (B, 2) and aspect_ratio (B, 1)")

    def _check_shapes(
        self, text_BME: Tensor, text_mask_BM: Tensor | None, conditioning: Conditioning
    ) -> None:
        batch, config = text_BME.shape[0], self.config
        expected = (
            ("text states", text_BME, (*text_BME.shape[:-1], config.caption_channels)),
            ("text_mask_BM", text_mask_BM, text_BME.shape[:2]),
            ("clip_states", conditioning.clip_states, (batch, config.clip_channels)),
            ("clip_mask", conditioning.clip_mask, (batch, config.clip_tokens)),
            ("resolution", conditioning.resolution, (batch, 2)),
            ("aspect_ratio", conditioning.aspect_ratio, (batch, 1)),
        )
        for name, tensor, shape in expected:
            if tensor is not None and tuple(tensor.shape) != tuple(shape):
                raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")

    def _token_grid(self, x_BCTHW: Tensor) -> tuple[int, int, int]:
        """Checks the size against patches and every kind of motion module."""
        config = self.config
        square = max((kind.grid for kind in config.motion), default=1)
        grid = token_grid(x_BCTHW, config.patch_size, square=square)
        longest = min((kind.max_frames for kind in config.motion), default=1)
        if grid[0] > longest:
            what = f"at most {longest} latent frames" if config.motion else "one frame: it is an image model"
            raise ValueError(f"the model takes {what}, got {grid[0]}")
        return grid

    def _positions(self, grid: tuple[int, int, int], device: torch.device) -> Tensor:
        table = sincos_2d(self.config.width, grid[1:], extent=self.config.position_extent, device=device)
        return table.flatten(0, 1).repeat(grid[0], 1)

    def _text_tokens(
        self, text_BME: Tensor, text_mask_BM: Tensor | None, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor | None]:
        """Text tokens, image tokens after them, and what padding adds to the scores."""
        text_BMD = self.text_embed(text_BME.to(self.dtype)).to(self.dtype)
        masks = [text_mask_BM]
        if self.clip_embed is not None and conditioning.clip_states is not None:
            image_BE = self.clip_embed(conditioning.clip_states.to(self.dtype)).to(self.dtype)
            image_BND = image_BE.unflatten(-1, (self.config.clip_tokens, -1))
            text_BMD = torch.cat((text_BMD, image_BND), dim=1)
            masks.append(conditioning.clip_mask)
        if all(mask is None for mask in masks):
            return text_BMD, None
        counts = (text_BME.shape[1], self.config.clip_tokens)
        full = [
            text_BMD.new_ones(text_BMD.shape[0], count) if mask is None else mask.to(text_BMD)
            for mask, count in zip(masks, counts, strict=False)
        ]
        return text_BMD, padding_bias(torch.cat(full, dim=1), dtype=self.dtype)

    def _merge_skip(self, block: int, x_BLD: Tensor, early_BLD: Tensor) -> Tensor:
        return x_BLD + self.skips[block - self.config.first_skip_block](early_BLD).to(x_BLD.dtype)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, TimestepEmbed):
        nn.init.normal_(module.inner.weight, std=0.02)
        nn.init.normal_(module.outer.weight, std=0.02)
    if isinstance(module, MotionModule):
        module.project_out.apply(_zero)
    if isinstance(module, TableHead):
        module.projection.apply(_zero)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
