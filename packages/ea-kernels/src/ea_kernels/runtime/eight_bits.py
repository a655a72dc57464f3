"""Weights of linear layers in eight bits, with a scale per output channel.

Formats: float8_e4m3fn (Micikevicius et al. 2022, "FP8 Formats for Deep Learning": 4 bits of exponent, 3 of
mantissa, largest number 448, subnormals in steps of 2^-9), and int8, of which -128 is not used. A scale of
float8 is the smallest power of two that keeps its row below 448, so that eight bits x scale is exact in the
working dtype and only the rounding to eight bits loses; one of int8 is the largest magnitude / 127. With w a
weight and m the largest magnitude of its row,

    |w - restored(w)| <= max(|w| / 16, m / 2^17) for float8, m / 254 for int8,

which makes 2.7 % (root mean square) of normally distributed weights in float8, however small they are. A
plain cast without scales turns a layer whose weights are about 1e-4 into zeros.

What layers compute from such weights is an `Arithmetic`; unless told otherwise they restore the weights. One
that rounds activations too takes them rounded already, as `EightBitRows`, where several layers read the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ea_kernels.runtime.placement_moves import blocks_of

FLOAT8 = torch.float8_e4m3fn
LARGEST = MappingProxyType({FLOAT8: 448.0, torch.int8: 127.0})
"""Largest magnitude of each format."""

PIECE = 256
"""Rows of weights that are restored at once: they stay in the cache."""
_BIAS = 2.0**120
"""2 to the difference of the exponents' biases of float32 (127) and float8 (7)."""


@dataclass(frozen=True)
class Rounding:
    """How layers round activations, each row with a scale of its own.

    Attributes:
        dtype: float8_e4m3fn or int8.
        backend: What rounds, see `ea_kernels.ops`.
    """

    dtype: torch.dtype
    backend: str = "auto"


@dataclass(frozen=True)
class EightBitRows:
    """Activations that were rounded once, for all layers that read them.

    Attributes:
        eight: (..., D), float8_e4m3fn or int8.
        scale: (..., 1), float32.
        dtype: That of the activations, which layers return.
    """

    eight: Tensor
    scale: Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> torch.Size:
        """(..., D)."""
        return self.eight.shape


Activations = Tensor | EightBitRows
"""What linear layers read: (..., D), plain or rounded."""
Product = Callable[[Activations, Tensor, Tensor, Tensor | None], Tensor]
"""x (..., inputs), eight bits (outputs, inputs), scales (outputs, 1) and a bias or None -> (..., outputs)."""


def quantise(weight_OI: Tensor, dtype: torch.dtype = FLOAT8) -> tuple[Tensor, Tensor]:
    """Eight bits per weight.

    Args:
        weight_OI: (outputs, inputs), finite.
        dtype: float8_e4m3fn or int8.

    Returns:
        Eight bits (outputs, inputs) and float32 scales (outputs, 1), of float8 powers of two.

    Raises:
        ValueError: If a weight is not finite.
    """
    wide_OI = weight_OI.detach().float()
    largest_O1 = wide_OI.abs().amax(dim=1, keepdim=True)
    if not bool(torch.isfinite(largest_O1).all()):
        raise ValueError("weights must be finite")
    scale_O1 = largest_O1 / LARGEST[dtype]
    if dtype == torch.int8:
        scale_O1 = scale_O1.clamp_min(torch.finfo(torch.float32).tiny)
        return (wide_OI / scale_O1).round().to(dtype), scale_O1
    mantissa_O1, _ = torch.frexp(scale_O1)  # in [1/2, 1), so that the quotient is a power of two, exactly
    scale_O1 = torch.where(largest_O1 > 0, scale_O1 / mantissa_O1, 1.0)
    return (wide_OI / scale_O1).to(dtype), scale_O1


def restore(weight_OI: Tensor, scale_O1: Tensor, dtype: torch.dtype) -> Tensor:
    """The weights that eight bits stand for, (outputs, inputs) in a working dtype."""
    if weight_OI.dtype == FLOAT8 and weight_OI.device.type == "cpu" and not torch.compiler.is_compiling():
        factor_O1 = scale_O1 * _BIAS
        if bool(factor_O1.isfinite().all()):
            return _restore_by_bits(weight_OI, factor_O1, dtype)
    # Scales of tiny weights are below what float16 can hold; those of int8 have all digits of float32.
    wide = dtype if dtype == torch.bfloat16 and weight_OI.dtype == FLOAT8 else torch.float32
    return (weight_OI.to(wide) * scale_O1.to(wide)).to(dtype)


def _restore_by_bits(weight_OI: Tensor, factor_O1: Tensor, dtype: torch.dtype) -> Tensor:
    """The same with integer instructions: torch's own cast on a CPU takes a number at a time.

    Sign, exponent and mantissa move to where float32 has them, which makes numbers `_BIAS` times too small.
    """
    outputs, inputs = weight_OI.shape
    out_OI = weight_OI.new_empty((outputs, inputs), dtype=dtype)
    scratch = weight_OI.new_empty((min(PIECE, outputs), inputs), dtype=torch.int32)
    for start in range(0, outputs, PIECE):
        rows = slice(start, start + PIECE)
        bits = scratch[: outputs - start].copy_(weight_OI[rows].view(torch.int8))
        bits.bitwise_left_shift_(24).bitwise_right_shift_(4).bitwise_and_(-0x78000001)
        number = bits.view(torch.float32)
        if dtype == torch.float32:
            torch.mul(number, factor_O1[rows], out=out_OI[rows])
        else:
            out_OI[rows] = number.mul_(factor_O1[rows])
    return out_OI


def restored_product(x: Activations, weight_OI: Tensor, scale_O1: Tensor, bias_O: Tensor | None) -> Tensor:
    """x weight^T + bias with weights brought back to the dtype of x, for each call anew.

    Raises:
        TypeError: If x was rounded.
    """
    if isinstance(x, EightBitRows):
        raise TypeError("a layer that restores its weights takes plain activations, got rounded ones")
    return F.linear(x, restore(weight_OI, scale_O1, x.dtype), bias_O)


@dataclass(frozen=True)
class Arithmetic:
    """How linear layers with eight bits per weight store them, and compute.

    Attributes:
        dtype: float8_e4m3fn or int8.
        product: What is computed from them.
        name: Of this way, for records.
        rounding: How the product rounds activations; None where it takes them as they are.
    """

    dtype: torch.dtype = FLOAT8
    product: Product = restored_product
    name: str = "restored"
    rounding: Rounding | None = None


RESTORED = Arithmetic()
"""The only loss is that of the weights."""


class EightBitLinear(nn.Module):
    """A linear layer that stores eight bits per weight; what it returns has the dtype of its input.

    Attributes:
        rounding: How it rounds its input, unless it gets it rounded so; None where it takes it plain.

    Args:
        linear: The layer it stands for, which gives its weight away and gets it back, rounded, from `unwrap`.
        arithmetic: Format and product.

    Raises:
        ValueError: If a weight is not finite.
    """

    scale: Tensor

    def __init__(self, linear: nn.Linear, arithmetic: Arithmetic = RESTORED) -> None:
        super().__init__()
        weight_OI, scale_O1 = quantise(linear.weight, arithmetic.dtype)
        self._product, self.rounding = arithmetic.product, arithmetic.rounding
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(weight_OI, requires_grad=False)
        self.register_buffer("scale", scale_O1, persistent=False)
        self.bias = linear.bias
        self._dtype, self._requires_grad = linear.weight.dtype, linear.weight.requires_grad
        self._linear = (linear,)  # in a tuple: it is no child
        linear.weight = nn.Parameter(linear.weight.new_empty(0), requires_grad=False)

    def forward(self, x: Activations) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self._product(x, self.weight, self.scale, self.bias)

    def unwrap(self) -> nn.Linear:
        """The layer it stands for, with rounded weights in their former dtype."""
        (linear,) = self._linear
        weight_OI = restore(self.weight, self.scale, self._dtype)
        linear.weight = nn.Parameter(weight_OI, requires_grad=self._requires_grad)
        return linear


def to_eight_bits(component: nn.Module, arithmetic: Arithmetic = RESTORED) -> int:
    """Store the linear layers of a network's blocks in eight bits.

    What is outside of blocks (first and last layers, embeddings) and what is no linear layer (norms,
    convolutions, tables) stays.

    Args:
        component: Changed in place.
        arithmetic: Of the layers.

    Returns:
        How many layers there were.

    Raises:
        ValueError: If a weight is not finite; layers before it keep rounded weights then.
    """
    wrapped: dict[nn.Linear, EightBitLinear] = {}
    try:
        for path, layer in _layers_of_blocks(component):
            # An exact type: what a subclass does with its weight is not known here.
            if type(layer) is nn.Linear:
                if layer not in wrapped:
                    wrapped[layer] = _wrap(layer, path, arithmetic)
                _replace(component, path, wrapped[layer])
    except ValueError:
        from_eight_bits(component)
        raise
    return len(wrapped)


def from_eight_bits(component: nn.Module) -> None:
    """Put back the layers that `to_eight_bits` replaced, with rounded weights."""
    unwrapped: dict[EightBitLinear, nn.Linear] = {}
    for path, layer in _layers_of_blocks(component):
        if isinstance(layer, EightBitLinear):
            if layer not in unwrapped:
                unwrapped[layer] = layer.unwrap()
            _replace(component, path, unwrapped[layer])


def _wrap(linear: nn.Linear, path: str, arithmetic: Arithmetic) -> EightBitLinear:
    try:
        return EightBitLinear(linear, arithmetic)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _layers_of_blocks(component: nn.Module) -> list[tuple[str, nn.Module]]:
    """Every place of every module in the blocks, as paths; what is shared has several."""
    inside = {id(module) for block in blocks_of(component) for module in block.modules()}
    places = component.named_modules(remove_duplicate=False)
    return [(path, module) for path, module in places if id(module) in inside]


def _replace(component: nn.Module, path: str, module: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    setattr(component.get_submodule(owner), name, module)
