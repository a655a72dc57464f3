"""Adaptive layer norms. Shapes: B batch, S steps, L tokens, D width, C condition width.

The condition of `JointAdaNorm` and `OutputHead` has its SiLU already applied: it is the same for all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import LayerNorm
from ea_kernels.rounding import Activations, gated_residual_norm_for, modulated_norm_for

GatedUpdate = tuple[Tensor, Tensor, Tensor]
"""A stream (B, L, D), the gate (B, D), and the update (B, L, D) that it lets through."""
NormedStream = tuple[Tensor, Activations, Tensor]
"""A stream (B, L, D), its modulated norm, and the gate (B, D) of the next update."""
Readers = tuple[nn.Module, ...]
"""Linear layers that read a norm: in eight bits where all of them multiply so, plain where none are named."""


@dataclass(frozen=True)
class Condition:
    """What the blocks of one denoising step depend on, and what their layers make of it.

    Attributes:
        vector_BC: SiLU of the timestep embedding; one row may count for a whole batch.
        ahead: Of layers that were run for all steps at once: what they make of it.
    """

    vector_BC: Tensor
    ahead: Mapping[nn.Module, Tensor] | None = None

    def through(self, layer: nn.Module) -> Tensor:
        """What a layer makes of the vector."""
        made = None if self.ahead is None else self.ahead.get(layer)
        return layer(self.vector_BC) if made is None else made

    def of_layers(self, *layers: nn.Module) -> "Condition":
        """What some layers need: a compiler takes blocks for alike that find in it what is their own only."""
        if self.ahead is None:
            return self
        return Condition(self.vector_BC, {layer: self.ahead[layer] for layer in layers})


def conditions_ahead(vectors_SC: Tensor, layers: Iterable[nn.Module]) -> list[Condition]:
    """The conditions of several steps: every layer reads its weights once for all of them."""
    made = {layer: layer(vectors_SC).split(1) for layer in layers}
    return [
        Condition(vector_1C, {layer: rows[step] for layer, rows in made.items()})
        for step, vector_1C in enumerate(vectors_SC.split(1))
    ]


class JointAdaNorm(nn.Module):
    """One LayerNorm for the video and the text stream, each with its own shift, scale and gate.

    Args:
        condition_width: C.
        width: D.
        eps: Of the norm.
        affine: Whether the norm has weight and bias.
    """

    def __init__(self, condition_width: int, width: int, *, eps: float, affine: bool) -> None:
        super().__init__()
        self.modulation = nn.Linear(condition_width, 6 * width)
        self.norm = LayerNorm(width, eps=eps, affine=affine)

    def forward(
        self, video_BLD: Tensor, text_BLD: Tensor, condition: Condition, readers: Readers = ()
    ) -> tuple[Activations, Activations, Tensor, Tensor]:
        """Returns the modulated video and text for the readers, and the gates (B, D) of video and text."""
        parts = condition.through(self.modulation).chunk(6, dim=-1)
        shift_v, scale_v, gate_v, shift_t, scale_t, gate_t = parts
        affine, eps = (self.norm.weight, self.norm.bias), self.norm.eps
        video = modulated_norm_for(readers, video_BLD, (scale_v, shift_v), affine, eps=eps)
        text = modulated_norm_for(readers, text_BLD, (scale_t, shift_t), affine, eps=eps)
        return video, text, gate_v, gate_t

    def after_updates(
        self, video: GatedUpdate, text: GatedUpdate | None, condition: Condition, readers: Readers
    ) -> tuple[NormedStream, NormedStream | None]:
        """Adds gated updates to the streams and norms what comes out, in one pass where a kernel does it.

        Args:
            video: Of the video stream.
            text: Of the text stream, None where nothing reads it any more.
            condition: Of the step.
            readers: Of the norms.

        Returns:
            Of video and text: the stream, what is normed of it, and the gate (B, D) of what is made of that.
        """
        parts = condition.through(self.modulation).chunk(6, dim=-1)
        shift_v, scale_v, gate_v, shift_t, scale_t, gate_t = parts
        of_video = (*self._after(video, (scale_v, shift_v), readers), gate_v)
        return of_video, None if text is None else (*self._after(text, (scale_t, shift_t), readers), gate_t)

    def _after(
        self, update: GatedUpdate, modulation: tuple[Tensor, Tensor], readers: Readers
    ) -> tuple[Tensor, Activations]:
        affine, eps = (self.norm.weight, self.norm.bias), self.norm.eps
        return gated_residual_norm_for(readers, update, modulation, affine, eps=eps, reuse=True)


class OutputHead(nn.Module):
    """LayerNorm, then an adaptive norm (shift first), then the projection to patches.

    Args:
        condition_width: C.
        width: D.
        out_features: Numbers per token.
        eps: Of both norms.
        affine: Whether the norms have weight and bias.
    """

    def __init__(
        self, condition_width: int, width: int, out_features: int, *, eps: float, affine: bool
    ) -> None:
        super().__init__()
        self.first_norm = LayerNorm(width, eps=eps)
        self.modulation = nn.Linear(condition_width, 2 * width)
        self.norm = LayerNorm(width, eps=eps, affine=affine)
        self.projection = nn.Linear(width, out_features)

    def forward(self, x_BLD: Tensor, condition: Condition) -> Tensor:
        """Returns (B, L, out_features)."""
        return self.projection(self.normed(x_BLD, condition))

    def normed(self, x_BLD: Tensor, condition: Condition) -> Tensor:
        """Returns what the projection takes, (B, L, D)."""
        shift, scale = condition.through(self.modulation).chunk(2, dim=-1)
        norm = self.norm
        return ops.modulated_layer_norm(
            self.first_norm(x_BLD), scale, shift, norm.weight, norm.bias, eps=norm.eps
        )


class ModulationTable(nn.Module):
    """Learned rows that are added to what is computed once per step for all blocks (adaLN-single).

    Args:
        rows: Number of vectors, for example six: shift, scale and gate of attention and MLP.
        width: D.
    """

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(rows, width))
        nn.init.normal_(self.table, std=width**-0.5)

    def forward(self, shared_BRD: Tensor) -> tuple[Tensor, ...]:
        """Returns one (B, D) per row; `shared_BRD` may have a single row that counts for all."""
        return (self.table + shared_BRD).unbind(dim=1)


class TableHead(nn.Module):
    """LayerNorm without affine, shift and scale from a table plus the timestep, projection to patches.

    Args:
        width: D.
        out_features: Numbers per token.
        eps: Of the norm.
    """

    def __init__(self, width: int, out_features: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = ModulationTable(2, width)
        self.projection = nn.Linear(width, out_features)

    def forward(self, x_BLD: Tensor, time_BD: Tensor) -> Tensor:
        """Returns (B, L, out_features); `time_BD` is the timestep embedding without SiLU."""
        shift, scale = self.modulation(time_BD[:, None])
        return self.projection(ops.modulated_layer_norm(x_BLD, scale, shift, eps=self.eps))
