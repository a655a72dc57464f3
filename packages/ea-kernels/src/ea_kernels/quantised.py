"""Linear layers in eight bits: rounded rows, and their product. Public in `ea_kernels.ops`.

Approximate by nature, so nothing here is chosen unasked: both operands keep 4 (float8_e4m3fn) or 8 (int8)
significant bits. A row of activations has its own scale, made when it is rounded; a row of weights, which is
one output, has one too. Shape letters: B batch, L tokens, D width, M rows, I inputs, O outputs.
"""

import torch
from torch import Tensor

from ea_kernels.norms import grouped_alike, modulated_layer_norm, token_count
from ea_kernels.reference import quantised as reference
from ea_kernels.runtime.eight_bits import LARGEST
from ea_kernels.triton_ops.availability import resolve_backend

FORMATS = tuple(LARGEST)
"""Number types of eight bits."""
_PROCESSOR: dict[str, bool] = {}
"""What it multiplies exactly, once that was asked: a compiler cannot ask, and reads it here."""
_LARGE, _PIECE = 1 << 21, 1 << 17
"""Numbers that are too many to round at once on a CPU, and those of a piece, which stay in the cache."""
_ALIGNED = 16
"""Of what rows and columns of operands must be multiples for matrix units."""


def quantise_rows(
    x: Tensor, dtype: torch.dtype = torch.float8_e4m3fn, *, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Rounds rows to eight bits, each with a scale of its own.

    Args:
        x: (..., D), float32, float16 or bfloat16.
        dtype: float8_e4m3fn or int8.
        backend: See `ea_kernels.ops`.

    Returns:
        Eight bits (..., D) and float32 scales (..., 1), whose product is x but for rounding. A row with an
        infinity or NaN has the scale NaN, whatever its eight bits: its products are NaN, those of others not.

    Raises:
        ValueError: For another number type.
    """
    _check_format(dtype)
    chosen = resolve_backend(backend, x, "quantise_rows")
    if chosen == "triton":
        from ea_kernels.triton_ops import quantised as kernels

        return kernels.quantise_rows(x, dtype)
    return reference.quantise_rows(x, dtype) if chosen == "reference" else _quantise_rows(x, dtype)


def modulated_norm_rows(
    x_BLD: Tensor,
    modulation: tuple[Tensor, Tensor],
    affine: tuple[Tensor | None, Tensor | None] = (None, None),
    *,
    eps: float = 1e-5,
    dtype: torch.dtype = torch.float8_e4m3fn,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """`quantise_rows` of `modulated_layer_norm`: one pass where a kernel does it.

    Args:
        x_BLD: What is normed.
        modulation: Scale and shift after the norm, (B, D) or (B, G, D).
        affine: Weight and bias of the norm, or None.
        eps: Of the norm.
        dtype: float8_e4m3fn or int8.
        backend: See `ea_kernels.ops`. Only "torch" rounds to the dtype of x before it rounds to eight bits.

    Returns:
        Eight bits (B, L, D) and float32 scales (B, L, 1).

    Raises:
        ValueError: For another number type, or a modulation that does not fit.
    """
    _check_format(dtype)
    token_count(x_BLD, *modulation)
    chosen = resolve_backend(backend, x_BLD, "modulated_norm_rows")
    if chosen == "reference":
        return reference.modulated_norm_rows(x_BLD, modulation, affine, eps, dtype)
    if chosen == "triton":
        from ea_kernels.triton_ops import quantised as kernels

        scale, shift = grouped_alike(x_BLD, *modulation)
        return kernels.modulated_norm_rows(x_BLD, (scale, shift), affine, eps, dtype)
    normed = modulated_layer_norm(x_BLD, *modulation, *affine, eps=eps, backend=backend)
    return quantise_rows(normed, dtype, backend=backend)


def scaled_linear(
    x8: Tensor,
    x_scale: Tensor,
    weight8_OI: Tensor,
    weight_scale_O1: Tensor,
    bias_O: Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
) -> Tensor:
    """x weight^T + bias of rows in eight bits, as `quantise_rows` makes them.

    Args:
        x8: (..., I).
        x_scale: (..., 1), float32.
        weight8_OI: (O, I), of the number type of `x8`.
        weight_scale_O1: (O, 1), float32.
        bias_O: (O,) or None.
        dtype: Of the result.
        backend: See `ea_kernels.ops`. "torch" is `torch._scaled_mm` (float8 on a GPU of compute capability
            8.9 or newer, in bfloat16 at the end) or `torch._int_mm` (int8 on a GPU, or on a CPU with VNNI,
            exact), elsewhere a float32 product of the rounded numbers.

    Returns:
        (..., O).

    Raises:
        ValueError: If shapes or number types do not fit together.
    """
    _check_operands(x8, x_scale, weight8_OI, weight_scale_O1)
    rows, scales = x8.reshape(-1, x8.shape[-1]), x_scale.reshape(-1, 1)
    out_shape = (*x8.shape[:-1], len(weight8_OI))
    chosen = resolve_backend(backend, x_scale, "scaled_linear")
    operands = (rows, scales, weight8_OI, weight_scale_O1, bias_O, dtype)
    if chosen == "reference":
        return reference.scaled_linear(*operands).view(out_shape)
    if chosen == "triton":
        from ea_kernels.triton_ops import quantised as kernels

        return kernels.scaled_linear(*operands).view(out_shape)
    return _linear(*operands).view(out_shape)


def multiplies_int8(device: torch.device) -> bool:
    """Whether the device has instructions that multiply int8, exactly.

    Without VNNI the library's int8 products on a CPU add pairs in 16 bits, which overflow.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 5)
    if device.type != "cpu":
        return False
    if "int8" not in _PROCESSOR:
        vnni = torch.cpu._is_vnni_supported()  # pyright: ignore[reportPrivateUsage]
        _PROCESSOR["int8"] = torch.backends.mkldnn.is_available() and vnni
    return _PROCESSOR["int8"]


def multiplies_float8(device: torch.device) -> bool:
    """Whether the device has instructions that multiply float8 with a scale per row."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def _quantise_rows(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The reference with fewer copies of x, and of a large one on a CPU piece by piece."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.numel() <= _LARGE:
        return _quantise_at_once(x, dtype)
    flat = x.reshape(-1, x.shape[-1])
    eight = torch.empty(flat.shape, dtype=dtype)
    scale = torch.empty((len(flat), 1), dtype=torch.float32)
    pieces = zip(*(t.split(max(1, _PIECE // flat.shape[1])) for t in (flat, eight, scale)), strict=True)
    for rows, rows8, rows_scale in pieces:
        for target, found in zip((rows8, rows_scale), _quantise_at_once(rows, dtype), strict=True):
            target.copy_(found)
    return eight.view(x.shape), scale.view(*x.shape[:-1], 1)


def _quantise_at_once(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # Not aminmax or a norm, which take twice as long on a CPU.
    magnitude = x.abs().amax(dim=-1, keepdim=True).float()
    scale = (magnitude / LARGEST[dtype]).clamp_min(reference.LEAST_SCALE)
    scale = torch.where(magnitude.isfinite(), scale, torch.nan)
    eight = x.float().div(scale)
    return eight.round_().to(dtype) if dtype == torch.int8 else eight.to(dtype), scale


def _linear(
    x8_MI: Tensor,
    x_scale_M1: Tensor,
    weight8_OI: Tensor,
    weight_scale_O1: Tensor,
    bias_O: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    if x8_MI.dtype != torch.int8 and multiplies_float8(x8_MI.device):
        out = _scaled_product(x8_MI, x_scale_M1, weight8_OI, weight_scale_O1)
        return (out if bias_O is None else out + bias_O).to(dtype)
    out = _plain_product(x8_MI, weight8_OI).mul_(x_scale_M1).mul_(weight_scale_O1.T)
    return (out if bias_O is None else out.add_(bias_O)).to(dtype)


def _plain_product(x8_MI: Tensor, weight8_OI: Tensor) -> Tensor:
    """Of the eight bits, in float32; int8 exactly, where the device has instructions for it."""
    rows, outputs = len(x8_MI), len(weight8_OI)
    if x8_MI.dtype != torch.int8 or not multiplies_int8(x8_MI.device):
        return x8_MI.float() @ weight8_OI.float().T
    if x8_MI.is_cuda:
        x8_MI, weight8_OI = _padded(x8_MI, 2 * _ALIGNED), _padded(weight8_OI, _ALIGNED)
    x8_MI, weight8_OI = x8_MI.contiguous(), weight8_OI.contiguous()  # the library takes few other strides
    return torch.ops.aten._int_mm(x8_MI, weight8_OI.T)[:rows, :outputs].float()


def _scaled_product(x8_MI: Tensor, x_scale_M1: Tensor, weight8_OI: Tensor, weight_scale_O1: Tensor) -> Tensor:
    """Of float8, by the GPU's instructions, in bfloat16."""
    rows, outputs = len(x8_MI), len(weight8_OI)
    x8_MI, weight8_OI = _padded(x8_MI, _ALIGNED), _padded(weight8_OI, _ALIGNED)
    return torch.ops.aten._scaled_mm(
        x8_MI,
        weight8_OI.T,
        scale_a=_padded_rows(x_scale_M1, len(x8_MI)),
        scale_b=_padded_rows(weight_scale_O1, len(weight8_OI)).T,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )[:rows, :outputs]


def _padded(x8_MI: Tensor, multiple: int) -> Tensor:
    """Zeros on the right and below, for the sizes that matrix units take; x itself if it has such a size."""
    more_rows, more_inputs = -len(x8_MI) % multiple, -x8_MI.shape[1] % _ALIGNED
    if not (more_rows or more_inputs):
        return x8_MI.contiguous()
    padded = torch.zeros(
        (len(x8_MI) + more_rows, x8_MI.shape[1] + more_inputs), dtype=x8_MI.dtype, device=x8_MI.device
    )
    padded[: len(x8_MI), : x8_MI.shape[1]] = x8_MI
    return padded


def _padded_rows(scale_M1: Tensor, rows: int) -> Tensor:
    if len(scale_M1) == rows:
        return scale_M1.contiguous()
    return torch.cat((scale_M1, scale_M1.new_ones(rows - len(scale_M1), 1)))


def _check_format(dtype: torch.dtype) -> None:
    if dtype not in FORMATS:
        raise ValueError(f"dtype must be {' or '.join(str(f) for f in FORMATS)}, got {dtype}")


def _check_operands(x8: Tensor, x_scale: Tensor, weight8_OI: Tensor, weight_scale_O1: Tensor) -> None:
    _check_format(x8.dtype)
    if weight8_OI.dtype != x8.dtype:
        raise ValueError(
            f"x8 and weight8_OI must have one number type, got {x8.dtype} and {weight8_OI.dtype}"
        )
    if weight8_OI.ndim != 2 or x8.ndim < 1 or weight8_OI.shape[1] != x8.shape[-1]:
        raise ValueError(
            f"weight8_OI must be (O, I) with I = {x8.shape[-1]} of x8, got {tuple(weight8_OI.shape)}"
        )
    for name, scale, shape in (
        ("x_scale", x_scale, (*x8.shape[:-1], 1)),
        ("weight_scale_O1", weight_scale_O1, (len(weight8_OI), 1)),
    ):
        if tuple(scale.shape) != shape or scale.dtype != torch.float32:
            raise ValueError(f"{name} must be float32 {shape}, got {scale.dtype} {tuple(scale.shape)}")
