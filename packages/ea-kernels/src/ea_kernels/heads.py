"""Heads of queries and keys: norm, rotation, and the joint [text | video] buffer. Public in `ea_kernels.ops`.

Shapes: B batch, M text tokens, L video tokens, H heads, D width (of a head or a model), P = D / 2 pairs.
"""

import torch
from torch import Tensor

from ea_kernels.norms import layer_norm, rms_norm, writes_in_place
from ea_kernels.reference import heads as reference_heads
from ea_kernels.reference import rotary as reference_rotary
from ea_kernels.reference.heads import HeadNorm
from ea_kernels.triton_ops.availability import resolve_backend

Rope = tuple[Tensor, Tensor]
"""Cosines and sines (L, P), float32."""


def apply_rotary(x_BLHD: Tensor, cos_LP: Tensor, sin_LP: Tensor, *, backend: str = "auto") -> Tensor:
    """Rotates the interleaved pairs (2p, 2p+1) of x by the given angles, in float32, cast back.

    Args:
        x_BLHD: Queries or keys.
        cos_LP: float32 cosines, one per token and pair.
        sin_LP: float32 sines.
        backend: See the module.
    """
    chosen = resolve_backend(backend, x_BLHD, "apply_rotary")
    if chosen == "reference":
        return reference_rotary.apply_rotary(x_BLHD, cos_LP, sin_LP)
    if chosen == "triton":
        return norm_heads(x_BLHD, None, (cos_LP, sin_LP), backend="triton")
    if torch.compiler.is_compiling():  # the compiler fuses the four products, and knows no complex numbers
        first, second = x_BLHD.float().unflatten(-1, (-1, 2)).unbind(-1)
        cos_L1P, sin_L1P = cos_LP.unsqueeze(1), sin_LP.unsqueeze(1)
        pair = (first * cos_L1P - second * sin_L1P, first * sin_L1P + second * cos_L1P)
        return torch.stack(pair, dim=-1).flatten(-2).to(x_BLHD.dtype)
    # As complex numbers the pair rotation is one vectorised product instead of four strided ones.
    pairs = torch.view_as_complex(x_BLHD.float().unflatten(-1, (-1, 2)))
    rotated = pairs * torch.complex(cos_LP, sin_LP).unsqueeze(1)
    return torch.view_as_real(rotated).flatten(-2).to(x_BLHD.dtype)


def norm_heads(
    x_BLHD: Tensor, norm: HeadNorm | None = None, rope: Rope | None = None, *, backend: str = "auto"
) -> Tensor:
    """Norms every head of queries or keys, then rotates them: one pass where a kernel does it.

    Args:
        x_BLHD: Queries or keys.
        norm: What every head goes through, None for nothing.
        rope: Cosines and sines of the tokens, None for no rotation.
        backend: See `ea_kernels.ops`.
    """
    chosen = resolve_backend(backend, x_BLHD, "norm_heads")
    if chosen == "reference":
        return reference_heads.norm_heads(x_BLHD, norm, rope)
    if chosen == "triton":
        from ea_kernels.triton_ops import heads

        norm = _NO_NORM if norm is None else norm
        return heads.heads(x_BLHD, norm.weight, norm.bias, rope, norm=_kind(norm), eps=norm.eps)
    normed = _normed(x_BLHD, norm)
    return normed if rope is None else apply_rotary(normed, *rope, backend="torch")


def join_heads(
    text_BMHD: Tensor,
    video_BLHD: Tensor,
    *,
    text_norm: HeadNorm | None = None,
    video_norm: HeadNorm | None = None,
    rope: Rope | None = None,
    backend: str = "auto",
) -> Tensor:
    """[text | video] in one buffer: both normed, the video rotated, neither copied afterwards.

    Args:
        text_BMHD: Queries or keys of the text.
        video_BLHD: Of the video.
        text_norm: What the text's heads go through.
        video_norm: What the video's go through; of the same kind.
        rope: Cosines and sines of the video tokens.
        backend: See `ea_kernels.ops`.

    Returns:
        (B, M + L, H, D).

    Raises:
        ValueError: If one norm is a LayerNorm and the other an RMSNorm, or only one is there.
    """
    if _kind(text_norm) != _kind(video_norm):
        raise ValueError("text_norm and video_norm must be of one kind: LayerNorm, RMSNorm or None")
    chosen = resolve_backend(backend, video_BLHD, "join_heads")
    if chosen == "reference":
        return reference_heads.join_heads(text_BMHD, video_BLHD, text_norm, video_norm, rope)
    if chosen == "triton":
        from ea_kernels.triton_ops import heads

        of_text, of_video = (_NO_NORM if norm is None else norm for norm in (text_norm, video_norm))
        return heads.join_heads(
            text_BMHD,
            video_BLHD,
            (of_text.weight, of_text.bias),
            (of_video.weight, of_video.bias),
            rope,
            norm=_kind(video_norm),
            eps=(of_text.eps, of_video.eps),
        )
    if not writes_in_place(video_BLHD):
        video = norm_heads(video_BLHD, video_norm, rope, backend="torch")
        return torch.cat((_normed(text_BMHD, text_norm), video), dim=1)
    batch, tokens, *head = video_BLHD.shape
    prefix = text_BMHD.shape[1]
    out_BSHD = video_BLHD.new_empty(batch, prefix + tokens, *head)
    out_BSHD[:, :prefix] = _normed(text_BMHD, text_norm)
    _rotate_into(_normed(video_BLHD, video_norm), rope, out_BSHD[:, prefix:])
    return out_BSHD


def linear_into(x_BLD: Tensor, weight_ED: Tensor, bias_E: Tensor, out_BLE: Tensor) -> None:
    """Writes x weight^T + bias into `out_BLE`, part of a larger buffer; for when no gradient is wanted."""
    for x_LD, out_LE in zip(x_BLD, out_BLE, strict=True):
        torch.addmm(bias_E, x_LD, weight_ED.T, out=out_LE)


_NO_NORM = HeadNorm(None, None, 0.0)


def _kind(norm: HeadNorm | None) -> int:
    """As `triton_ops.heads` counts: none, RMSNorm, LayerNorm."""
    return 0 if norm is None or norm is _NO_NORM else 1 if norm.rms else 2


def _normed(x: Tensor, norm: HeadNorm | None) -> Tensor:
    if norm is None:
        return x
    if norm.rms:
        return rms_norm(x, norm.weight, eps=norm.eps, backend="torch")
    return layer_norm(x, norm.weight, norm.bias, eps=norm.eps, backend="torch")


def _rotate_into(x_BLHD: Tensor, rope: Rope | None, out_BLHD: Tensor) -> None:
    if rope is None or x_BLHD.dtype != torch.float32:
        out_BLHD.copy_(x_BLHD if rope is None else apply_rotary(x_BLHD, *rope, backend="torch"))
        return
    angles = torch.complex(*rope).unsqueeze(1)
    pairs, target = (torch.view_as_complex(x.unflatten(-1, (-1, 2))) for x in (x_BLHD, out_BLHD))
    torch.mul(pairs, angles, out=target)
