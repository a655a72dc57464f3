"""The MMDiT block.

Shapes: B batch, L video tokens, M text tokens, D width, C condition width.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.layers.adaln import Condition, JointAdaNorm
from ea_dit.layers.attention import JointAttention
from ea_dit.layers.feed_forward import FeedForward
from ea_kernels import ops
from ea_kernels.nn import LayerNorm
from ea_kernels.rounding import Activations


@dataclass(frozen=True)
class BlockContext:
    """What every block gets beside the tokens.

    Attributes:
        condition: Of the timestep.
        rope: Cosines and sines of the video tokens.
    """

    condition: Condition
    rope: tuple[Tensor, Tensor]


class MMDiTBlock(nn.Module):
    """Joint attention, then an MLP, on a video and a text stream.

    Args:
        config: Of the model.
        shared: Text uses the video's weights (second half of the 7B layout).
        last: Nothing reads the text stream after this block, so what only feeds it is not computed. Its
            weights exist all the same, as in released files.
    """

    def __init__(self, config: MMDiTConfig, *, shared: bool, last: bool) -> None:
        super().__init__()
        width, hidden = config.width, 4 * config.width
        norm = {"eps": config.norm_eps, "affine": config.norm_elementwise_affine}
        self.attention_norm = JointAdaNorm(config.time_embed_dim, width, **norm)
        self.attention = JointAttention(
            width,
            config.num_attention_heads,
            config.attention_head_dim,
            shared=shared,
            updates_text=not last,
        )
        self.mlp_norm = JointAdaNorm(config.time_embed_dim, width, **norm)
        self.video_mlp = FeedForward(width, hidden)
        self.text_mlp = None if shared else FeedForward(width, hidden)
        self.mlp_out_norm = LayerNorm(width, eps=config.norm_eps) if config.after_norm else None

    @property
    def modulations(self) -> tuple[nn.Module, nn.Module]:
        """The layers that depend on the timestep alone."""
        return self.attention_norm.modulation, self.mlp_norm.modulation

    def forward(self, video_BLD: Tensor, text_BMD: Tensor, context: BlockContext) -> tuple[Tensor, Tensor]:
        """Returns video and text after the block."""
        condition = context.condition
        readers = self.attention.readers
        video, text, gate_v, gate_t = self.attention_norm(video_BLD, text_BMD, condition, readers)
        update_v, update_t = self.attention(video, text, context.rope)
        of_text = None if update_t is None else (text_BMD, gate_t, update_t)
        of_video = (video_BLD, gate_v, update_v)
        of_video, of_text = self.mlp_norm.after_updates(of_video, of_text, condition, self._mlp_readers)

        video_BLD, video, gate_v = of_video
        video_BLD = ops.gated_residual(video_BLD, gate_v, self._mlp(self.video_mlp, video), reuse=True)
        if of_text is not None:
            text_BMD, text, gate_t = of_text
            text_mlp = self.video_mlp if self.text_mlp is None else self.text_mlp
            text_BMD = ops.gated_residual(text_BMD, gate_t, self._mlp(text_mlp, text), reuse=True)
        return video_BLD, text_BMD

    @property
    def _mlp_readers(self) -> tuple[nn.Module, ...]:
        mlps = (self.video_mlp,) if self.text_mlp is None else (self.video_mlp, self.text_mlp)
        return tuple(mlp.up for mlp in mlps)

    def _mlp(self, mlp: FeedForward, x_BLD: Activations) -> Tensor:
        update = mlp(x_BLD)
        return update if self.mlp_out_norm is None else self.mlp_out_norm(update)
