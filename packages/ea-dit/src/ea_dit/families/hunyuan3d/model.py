"""The V4 denoiser.

Shapes: B batch, C channels, T latent frames, H and W latent size, L video tokens, M and N tokens of the two
text encoders, Q image tokens, D width, E width of text and image tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.blocks.stack import BlockStack, Skips
from ea_dit.families.hunyuan3d.block import EPS, MAX_FRAMES, BlockContext, Hunyuan3DBlock
from ea_dit.families.hunyuan3d.conditions import SIZE_IDS, ConditionEmbed, Resampler, SiluMlp
from ea_dit.families.hunyuan3d.config import PIXELS_PER_LATENT, Hunyuan3DConfig
from ea_dit.layers.patchify import PatchEmbed, token_grid, unpatchify
from ea_dit.layers.rope import rope_2d
from ea_dit.types import Conditioning
from ea_kernels import ops

ORIGINAL_SIZE = 1024.0
"""Height and width that released pipelines state as those of the training picture."""


class Hunyuan3D(nn.Module):
    """Predicts v (and a variance) from noisy latents, a timestep, two texts and conditions.

    A new model predicts zero.

    Args:
        config: See `Hunyuan3DConfig`.
    """

    def __init__(self, config: Hunyuan3DConfig) -> None:
        super().__init__()
        self.config = config
        width, text_width = config.width, config.cross_attention_dim
        self.patch_embed = PatchEmbed(config.in_channels, width, config.patch_size)
        self.condition_embed = ConditionEmbed(
            width,
            text_len=config.text_len_t5,
            text_width=config.cross_attention_dim_t5,
            pooled_width=config.pooled_projection_dim,
        )
        second_width = config.cross_attention_dim_t5
        self.second_text_embed = SiluMlp(second_width, 4 * second_width, text_width)
        self.text_padding = nn.Parameter(torch.randn(config.text_len + config.text_len_t5, text_width))
        self.resampler: Resampler | None = None
        self.image_padding: nn.Parameter | None = None
        if config.enable_clip_in_inpaint:
            self.resampler = Resampler(
                config.n_query, text_width, config.projection_dim, num_heads=config.num_attention_heads
            )
            self.image_padding = nn.Parameter(torch.randn(config.n_query, text_width) * 0.02)
        self.blocks = BlockStack(Hunyuan3DBlock(config, index=i) for i in range(config.num_layers))
        self.head = Head(width, config.patch_size**2 * config.out_channels)
        self.apply(_initialise)
        nn.init.zeros_(self.head.projection.weight)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, in which tokens are kept."""
        return self.patch_embed.weight.dtype

    def forward(
        self,
        hidden_BCTHW: Tensor,
        timestep_B: Tensor,
        text_BME: Tensor,
        second_text_BNF: Tensor,
        *,
        text_mask_BM: Tensor | None = None,
        second_text_mask_BN: Tensor | None = None,
        conditioning: Conditioning | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Predicts one denoising direction.

        Args:
            hidden_BCTHW: Noisy latents, H and W multiples of the patch size.
            timestep_B: One timestep per sample in 0 ... 999; its dtype's rounding counts, as in released
                runs.
            text_BME: States of the first encoder, `text_len` of them.
            second_text_BNF: States of the second encoder, `text_len_t5` of them.
            text_mask_BM: 1 at tokens, 0 at padding, which a learned vector replaces; None = no padding.
            second_text_mask_BN: The same for the second encoder.
            conditioning: `inpaint_latents` for models with condition channels; `clip_states` (B, patch
                tokens, projection_dim) with `clip_mask` (B, Q) for models with image tokens, none = no image;
                `size_ids`.
            recompute: Trade time for memory in training.

        Returns:
            (B, out_channels, T, H, W) in the dtype of the weights, or that of autocast.

        Raises:
            ValueError: If sizes or channels do not fit the model.
        """
        conditioning = Conditioning() if conditioning is None else conditioning
        conditioning.require_only(*self._inputs())
        config, dtype = self.config, self.dtype
        x_BCTHW = conditioning.join_channels(hidden_BCTHW, in_channels=config.in_channels, dtype=dtype)
        frames, rows, columns = grid = token_grid(x_BCTHW, config.patch_size)
        if frames > MAX_FRAMES:
            raise ValueError(f"the model takes at most {MAX_FRAMES} latent frames, got {frames}")

        video_BLD = self.patch_embed(x_BCTHW).to(dtype)
        second_text_BNF = second_text_BNF.to(dtype)
        text_BSE = self._text_tokens(text_BME, second_text_BNF, text_mask_BM, second_text_mask_BN)
        size_ids = self._size_ids(x_BCTHW, conditioning.size_ids)
        condition_BD = self.condition_embed(timestep_B, second_text_BNF, size_ids)
        condition_BD = F.silu(condition_BD.float()).to(dtype)
        cos, sin = rope_2d(
            (rows, columns), config.attention_head_dim, base=config.base_grid, device=x_BCTHW.device
        )

        context = BlockContext(
            condition_BD,
            text_BSE,
            self._image_tokens(conditioning, batch=x_BCTHW.shape[0]),
            (cos.repeat(frames, 1), sin.repeat(frames, 1)),
            frames,
        )
        (video_BLD,) = self.blocks((video_BLD,), context, recompute=recompute, skips=self._skips())
        patches_BLK = self.head(video_BLD, condition_BD)
        return unpatchify(patches_BLK, grid=grid, patch_size=config.patch_size, channel_last=True)

    def _inputs(self) -> tuple[str, ...]:
        names = ("inpaint_latents", "size_ids")
        return (*names, "clip_states", "clip_mask") if self.resampler is not None else names

    def _text_tokens(
        self,
        text_BME: Tensor,
        second_text_BNF: Tensor,
        text_mask_BM: Tensor | None,
        second_text_mask_BN: Tensor | None,
    ) -> Tensor:
        lengths = (text_BME.shape[1], second_text_BNF.shape[1])
        wanted = (self.config.text_len, self.config.text_len_t5)
        if lengths != wanted:
            raise ValueError(f"the model reads {wanted[0]} and {wanted[1]} text tokens, got {lengths}")
        tokens_BSE = torch.cat((text_BME.to(self.dtype), self.second_text_embed(second_text_BNF)), dim=1)
        masks = (_mask(text_mask_BM, text_BME), _mask(second_text_mask_BN, second_text_BNF))
        return torch.where(torch.cat(masks, dim=1)[..., None], tokens_BSE, self.text_padding)

    def _image_tokens(self, conditioning: Conditioning, *, batch: int) -> Tensor | None:
        if self.resampler is None or self.image_padding is None:
            return None
        if conditioning.clip_states is None:
            return self.image_padding.expand(batch, -1, -1)
        tokens_BQE = self.resampler(conditioning.clip_states.to(self.dtype))
        mask_BQ = _mask(conditioning.clip_mask, tokens_BQE)
        return torch.where(mask_BQ[..., None], tokens_BQE, self.image_padding)

    def _size_ids(self, x_BCTHW: Tensor, given: Tensor | None) -> Tensor:
        if given is not None:
            if given.shape != (x_BCTHW.shape[0], SIZE_IDS):
                raise ValueError(f"size_ids must be (batch, {SIZE_IDS}), got {list(given.shape)}")
            return given
        height, width = x_BCTHW.shape[3] * PIXELS_PER_LATENT, x_BCTHW.shape[4] * PIXELS_PER_LATENT
        ids = (ORIGINAL_SIZE, ORIGINAL_SIZE, height, width, 0, 0)
        return torch.tensor([ids] * x_BCTHW.shape[0], dtype=torch.float32, device=x_BCTHW.device)

    def _skips(self) -> Skips:
        """Block num_layers / 2 + 1 takes up block num_layers / 2 - 2, and so on, the last one block 0."""
        count = self.config.num_layers
        sources = {late: count - 1 - late for late in range(count // 2 + 1, count)}
        return Skips(sources=sources, merge=self._merge)

    def _merge(self, late: int, x_BLD: Tensor, early_BLD: Tensor) -> Tensor:
        block = self.blocks[late]
        assert isinstance(block, Hunyuan3DBlock)
        assert block.skip is not None
        return block.skip(x_BLD, early_BLD)


class Head(nn.Module):
    """LayerNorm without affine, scale and shift (in this order) from the condition, projection to patches.

    Args:
        width: D.
        out_features: Numbers per token.
    """

    def __init__(self, width: int, out_features: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(width, out_features)

    def forward(self, x_BLD: Tensor, condition_BD: Tensor) -> Tensor:
        """Returns (B, L, out_features)."""
        scale, shift = self.modulation(condition_BD).chunk(2, dim=-1)
        return self.projection(ops.modulated_layer_norm(x_BLD, scale, shift, eps=EPS))


def _mask(mask_BL: Tensor | None, tokens_BLD: Tensor) -> Tensor:
    """Boolean mask of tokens, True for all where none is given."""
    if mask_BL is None:
        return torch.ones(tokens_BLD.shape[:2], dtype=torch.bool, device=tokens_BLD.device)
    if mask_BL.shape != tokens_BLD.shape[:2]:
        raise ValueError(f"a mask must be {list(tokens_BLD.shape[:2])}, got {list(mask_BL.shape)}")
    return mask_BL.bool()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
