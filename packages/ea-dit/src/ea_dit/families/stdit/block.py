"""The STDiT block and output head.

Shapes: B batch, T frames, S tokens per frame, L = T S tokens, M text tokens, D width, R rows of modulation.
N groups of tokens that share a modulation: samples (N = B), or frames (N = B T) where some frames are at
timestep 0. Tokens are ordered frame first, so a group is a run of tokens.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn, where

from ea_dit.families.stdit.config import STDiTConfig
from ea_dit.layers.adaln import ModulationTable
from ea_dit.layers.attention import Attention
from ea_dit.layers.feed_forward import FeedForward
from ea_dit.layers.windows import from_positions, to_frames, to_positions
from ea_kernels import ops
from ea_kernels.nn import RMSNorm

NORM_EPS = 1e-6


@dataclass(frozen=True)
class BlockContext:
    """What every block gets beside the tokens.

    Attributes:
        frames: T.
        shared_N6D: Shift, scale and gate of spatial attention, then of the MLP; blocks add their tables.
        temporal_NRD: Shift, scale and gate of temporal attention; for STDiT the gate of spatial attention
            alone, that of timestep t in all frames.
        text_BMD: Caption tokens.
        text_mask: (B, 1, 1, M) boolean, None if all count.
        rope: Cosines and sines of the frames, for STDiT2.
        time_table_TD: Positions of the frames, for STDiT.
    """

    frames: int
    shared_N6D: Tensor
    temporal_NRD: Tensor
    text_BMD: Tensor
    text_mask: Tensor | None
    rope: tuple[Tensor, Tensor] | None
    time_table_TD: Tensor | None


class STDiTBlock(nn.Module):
    """Attention within frames, between frames, and to the caption, then an MLP.

    Args:
        config: Of the model.
        first: Whether it is the first block, the only one of an STDiT that adds temporal positions.
    """

    def __init__(self, config: STDiTConfig, *, first: bool) -> None:
        super().__init__()
        width = config.hidden_size
        attention = partial(Attention, width, config.num_heads, config.head_dim)
        norm = RMSNorm if config.normalises_queries else None
        self.first = first
        self.modulation = ModulationTable(6, width)
        self.temporal_modulation = ModulationTable(3, width) if config.is_stdit2 else None
        # 1.1 rotates, then normalises; the norm's weights differ by channel, so the order counts.
        self.spatial = attention(norm=norm)
        self.temporal = attention(norm=norm, rope_first=True)
        self.cross = attention()
        self.mlp = FeedForward(width, int(width * config.mlp_ratio))

    def forward(self, x_BLD: Tensor, context: BlockContext) -> tuple[Tensor]:
        """Returns the tokens after the block."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(context.shared_N6D)
        normed_BLD = modulated(x_BLD, scale, shift)
        update_NSD = self.spatial(to_frames(normed_BLD, context.frames))
        x_BLD = gated(x_BLD, gate, update_NSD.reshape(x_BLD.shape))

        x_BLD = self._with_temporal(x_BLD, context)
        x_BLD = x_BLD + self.cross(x_BLD, context.text_BMD, mask=context.text_mask)
        return (gated(x_BLD, mlp_gate, self.mlp(modulated(x_BLD, mlp_scale, mlp_shift))),)

    def _with_temporal(self, x_BLD: Tensor, context: BlockContext) -> Tensor:
        frames = context.frames
        if self.temporal_modulation is not None:
            shift, scale, gate = self.temporal_modulation(context.temporal_NRD)
            tokens_KTD = to_positions(modulated(x_BLD, scale, shift), frames)
        else:
            # STDiT: no norm; the spatial gate; positions that the residual stream does not keep.
            gate = self.modulation.table[2] + context.temporal_NRD[:, 0]
            tokens_KTD = to_positions(x_BLD, frames)
            if self.first and context.time_table_TD is not None:
                tokens_KTD = tokens_KTD + context.time_table_TD
        update_KTD = self.temporal(tokens_KTD, rope=context.rope)
        return gated(x_BLD, gate, from_positions(update_KTD, frames, batch=len(x_BLD)))


class FrameHead(nn.Module):
    """Norm, shift and scale from a table plus the timestep embedding, projection to patches.

    Frames at timestep 0 are normed and modulated a second time, on top of the first, as released.

    Args:
        width: D.
        out_features: Numbers per token.
    """

    def __init__(self, width: int, out_features: int) -> None:
        super().__init__()
        self.modulation = ModulationTable(2, width)
        self.projection = nn.Linear(width, out_features)

    def forward(
        self, x_BLD: Tensor, time_BD: Tensor, still_BD: Tensor | None, frame_mask_BT: Tensor | None
    ) -> Tensor:
        """Returns (B, L, out_features).

        Args:
            x_BLD: Tokens.
            time_BD: Embedding of the timestep.
            still_BD: What stands for it in frames at timestep 0; None where there are none.
            frame_mask_BT: False for frames at timestep 0, one entry per frame of tokens.
        """
        shift, scale = self.modulation(time_BD[:, None])
        x_BLD = modulated(x_BLD, scale, shift)
        if still_BD is not None and frame_mask_BT is not None:
            shift, scale = self.modulation(still_BD[:, None])
            of_tokens = frame_mask_BT.repeat_interleave(x_BLD.shape[1] // frame_mask_BT.shape[1], dim=1)
            x_BLD = where(of_tokens[..., None], x_BLD, modulated(x_BLD, scale, shift))
        return self.projection(x_BLD)


def modulated(x_BLD: Tensor, scale_ND: Tensor, shift_ND: Tensor) -> Tensor:
    """LayerNorm without affine, then scale and shift by group."""
    grouped = x_BLD.reshape(len(scale_ND), -1, x_BLD.shape[-1])
    return ops.modulated_layer_norm(grouped, scale_ND, shift_ND, eps=NORM_EPS).reshape(x_BLD.shape)


def gated(x_BLD: Tensor, gate_ND: Tensor, update_BLD: Tensor) -> Tensor:
    """Adds an update times the gate of its group."""
    grouped = x_BLD.reshape(len(gate_ND), -1, x_BLD.shape[-1])
    return ops.gated_residual(grouped, gate_ND, update_BLD.reshape(grouped.shape)).reshape(x_BLD.shape)
