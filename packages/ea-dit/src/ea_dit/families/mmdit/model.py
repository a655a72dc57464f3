"""The MMDiT denoiser.

Shapes: B batch, C channels, T latent frames, H and W latent size, L video tokens, M text tokens, D width.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.blocks.shortcut import Shortcut
from ea_dit.blocks.stack import BlockStack, PerBlock
from ea_dit.families.mmdit.block import BlockContext, MMDiTBlock
from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.layers.adaln import Condition, JointAdaNorm, OutputHead, conditions_ahead
from ea_dit.layers.embeddings import TextEmbed, TimestepEmbed
from ea_dit.layers.patchify import PatchEmbed, token_grid, unpatchify
from ea_dit.layers.rope import rope_3d
from ea_dit.layers.sincos import sincos_2d
from ea_dit.types import Conditioning

REFERENCE_EXTENT = 16.0
"""Coordinate range of the reference image's position table in the released code."""


class MMDiT(nn.Module):
    """Predicts velocity (V5.1: noise - latents) from noisy latents, a timestep, text and conditions.

    A new model starts as the identity of its blocks with a zero prediction (adaLN-zero).

    Args:
        config: See `MMDiTConfig`.
    """

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.patch_embed = PatchEmbed(config.in_channels, width, patch)
        self.time_embed = TimestepEmbed(
            width,
            config.time_embed_dim,
            cos_first=config.flip_sin_to_cos,
            freq_shift=config.freq_shift,
        )
        norm_text = config.add_norm_text_encoder
        self.text_embed = TextEmbed(config.text_embed_dim, width, norm=norm_text)
        self.second_text_embed = (
            TextEmbed(config.text_embed_dim_t5, width, norm=norm_text) if config.text_embed_dim_t5 else None
        )
        self.ref_embed = PatchEmbed(config.ref_channels, width, patch) if config.ref_channels else None
        self.clip_embed = nn.Linear(config.clip_channels, width) if config.clip_channels else None
        self.blocks = BlockStack(
            MMDiTBlock(config, shared=i >= config.num_joint_layers, last=i == config.num_layers - 1)
            for i in range(config.num_layers)
        )
        self.head = OutputHead(
            config.time_embed_dim,
            width,
            patch * patch * config.out_channels,
            eps=config.norm_eps,
            affine=config.norm_elementwise_affine,
        )
        self.apply(_initialise)
        nn.init.zeros_(self.head.projection.weight)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, in which tokens are kept."""
        return self.patch_embed.weight.dtype

    def forward(
        self,
        hidden_BCTHW: Tensor,
        timestep_B: Tensor | Condition,
        text_BME: Tensor,
        second_text_BNE: Tensor | None = None,
        *,
        conditioning: Conditioning | None = None,
        recompute: bool = False,
        shortcut: Shortcut | None = None,
    ) -> Tensor:
        """Predicts one denoising direction.

        Args:
            hidden_BCTHW: Noisy latents, H and W multiples of the patch size.
            timestep_B: One timestep per sample in 0 ... 1000; its dtype's rounding counts, as in released
                runs. Or what `conditions` made of the timestep of all samples.
            text_BME: Text states; padding takes part in attention, as released.
            second_text_BNE: States of the second encoder, for models that have one.
            conditioning: Inpaint, control, reference and image inputs; see `Conditioning`.
            recompute: Trade time for memory in training.
            shortcut: Stands between the tokens and the blocks with the last norm; None runs them.

        Returns:
            (B, out_channels, T, H, W) in the dtype of the weights, or that of autocast.

        Raises:
            ValueError: If sizes or channels do not fit the model.
        """
        conditioning = Conditioning() if conditioning is None else conditioning
        conditioning.require_only("inpaint_latents", "control_latents", "ref_latents", "clip_states")
        config, dtype = self.config, self.dtype
        x_BCTHW = conditioning.join_channels(
            hidden_BCTHW, in_channels=config.in_channels, dtype=dtype, control=True
        )
        grid = token_grid(x_BCTHW, config.patch_size)

        # Under autocast the projections give low precision; the residual streams stay in the weights' dtype.
        video_BLD = self.patch_embed(x_BCTHW).to(dtype)
        text_BMD = self._text_tokens(text_BME, second_text_BNE, conditioning, grid).to(dtype)
        condition = timestep_B if isinstance(timestep_B, Condition) else self._condition(timestep_B)
        rope = rope_3d(grid, config.attention_head_dim, base=config.base_grid, device=x_BCTHW.device)

        blocks = cast("Sequence[MMDiTBlock]", self.blocks)
        contexts = PerBlock(BlockContext(condition.of_layers(*block.modulations), rope) for block in blocks)

        def signal() -> Tensor:
            return blocks[0].attention_norm(video_BLD, text_BMD, contexts[0].condition)[0]

        def run() -> Tensor:
            last_BLD, _ = self.blocks((video_BLD, text_BMD), contexts, recompute=recompute)
            return self.head.normed(last_BLD, condition)

        features_BLD = run() if shortcut is None else shortcut(video_BLD, signal, run)
        patches_BLK = self.head.projection(features_BLD)
        return unpatchify(patches_BLK, grid=grid, patch_size=config.patch_size)

    def conditions(self, timestep_S: Tensor) -> list[Condition]:
        """All that depends on the timestep alone, for several steps at once; each takes a timestep's place.

        Args:
            timestep_S: Timestep of each step, the same for all samples.
        """
        layers = (m.modulation for m in self.modules() if isinstance(m, JointAdaNorm | OutputHead))
        return conditions_ahead(self._condition(timestep_S).vector_BC, layers)

    def _condition(self, timestep_B: Tensor) -> Condition:
        return Condition(F.silu(self.time_embed(timestep_B)))

    def _text_tokens(
        self,
        text_BME: Tensor,
        second_text_BNE: Tensor | None,
        conditioning: Conditioning,
        grid: tuple[int, int, int],
    ) -> Tensor:
        if conditioning.ref_latents is not None:
            return self._reference_tokens(conditioning, grid)
        if conditioning.clip_states is not None:
            raise ValueError("clip_states need ref_latents: the model reads [image tokens, reference tokens]")
        if (second_text_BNE is None) != (self.second_text_embed is None):
            wanted = "needs" if self.second_text_embed is not None else "has no input for"
            raise ValueError(f"the model {wanted} a second text encoder's states")
        text_BMD = self.text_embed(text_BME.to(self.dtype))
        if self.second_text_embed is None or second_text_BNE is None:
            return text_BMD
        return torch.cat((text_BMD, self.second_text_embed(second_text_BNE.to(self.dtype))), dim=1)

    def _reference_tokens(self, conditioning: Conditioning, grid: tuple[int, int, int]) -> Tensor:
        """Reference (and image) tokens take the place of the text."""
        if self.ref_embed is None:
            raise ValueError("ref_latents given, but the model was built without ref_channels")
        assert conditioning.ref_latents is not None
        tokens_BLD = self.ref_embed(conditioning.ref_latents.to(self.dtype))
        table = sincos_2d(
            self.config.width, self.config.base_grid, extent=REFERENCE_EXTENT, device=tokens_BLD.device
        )
        table_1DHW = table.to(self.dtype).permute(2, 0, 1)[None]
        resized = F.interpolate(table_1DHW, size=grid[1:], mode="bilinear", align_corners=False)
        tokens_BLD = tokens_BLD + resized.flatten(2).transpose(1, 2)
        if conditioning.clip_states is None:
            return tokens_BLD
        if self.clip_embed is None:
            raise ValueError("clip_states given, but the model was built without clip_channels")
        return torch.cat((self.clip_embed(conditioning.clip_states.to(self.dtype)), tokens_BLD), dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    if isinstance(module, JointAdaNorm | OutputHead):
        nn.init.zeros_(module.modulation.weight)
    if isinstance(module, TimestepEmbed):
        nn.init.normal_(module.inner.weight, std=0.02)
        nn.init.normal_(module.outer.weight, std=0.02)
