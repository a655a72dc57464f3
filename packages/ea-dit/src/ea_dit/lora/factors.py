"""The change that a few small tensors stand for.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): dW = alpha / r * up @ down. LoHa (Hyeon-Woo et al.
2021, https://arxiv.org/abs/2108.06098): dW = alpha / r * (w1_a @ w1_b) * (w2_a @ w2_b), elementwise. LoKr
(LyCORIS, https://arxiv.org/abs/2309.14859): dW = alpha / r * kron(w1, w2), either of them as a product too;
alpha / r is 1 where neither is. Without an alpha all have the factor 1. Convolutions may have a core tensor
(`lora_mid`, `hada_t1`, `lokr_t2`) between their factors.

Shapes: O outputs, I inputs, K numbers of a kernel, R rank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Shape = tuple[int, ...]
Kind = Literal["lora", "loha", "lokr"]

NAMES: Mapping[Kind, str] = {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr"}
_CORE = "i j ..., i p, j r -> p r ..."
_HADA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def kind_of(factors: Mapping[str, object]) -> Kind:
    """Tells what a layer's factors are by their names.

    Raises:
        ValueError: If some are missing, or they are of several kinds.
    """
    names = set(factors) - {"alpha"}
    kinds: set[Kind] = set()
    kinds |= {"lora"} if any(name.startswith("lora_") for name in names) else set()
    kinds |= {"loha"} if any(name.startswith("hada_") for name in names) else set()
    kinds |= {"lokr"} if any(name.startswith("lokr_") for name in names) else set()
    if not kinds:
        raise ValueError("has an alpha and nothing else")
    if len(kinds) > 1:
        raise ValueError(f"mixes {' and '.join(sorted(NAMES[kind] for kind in kinds))}")
    kind = kinds.pop()
    for wanted in _wanted(kind, names):
        if wanted not in names:
            raise ValueError(f"{wanted} is missing")
    return kind


def _wanted(kind: Kind, names: set[str]) -> tuple[str, ...]:
    if kind == "lora":
        return ("lora_up", "lora_down")
    if kind == "loha":
        return (*_HADA, "hada_t1", "hada_t2") if {"hada_t1", "hada_t2"} & names else _HADA
    wanted: list[str] = []
    for part in ("lokr_w1", "lokr_w2"):
        wanted += [part] if part in names else [f"{part}_a", f"{part}_b"]
    return tuple(wanted)


def product_size(kind: Kind, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Outputs, and inputs times kernel numbers, of the change that factors stand for.

    Args:
        kind: From `kind_of`.
        shapes: Of the factors.

    Raises:
        ValueError: If the factors do not go together.
    """
    if math.prod(shapes.get("alpha", ())) != 1:
        raise ValueError(f"alpha must be one number, has shape {list(shapes['alpha'])}")
    for name, shape in shapes.items():
        if name != "alpha" and (len(shape) < 2 or 0 in shape):
            raise ValueError(f"{name} must have two axes or more and no empty one, has shape {list(shape)}")
    if kind == "lora":
        return _joined("lora_up", "lora_down", shapes, core="lora_mid")
    if kind == "loha":
        one = _hada(shapes, "1")
        two = _hada(shapes, "2")
        if one != two:
            raise ValueError(f"hada_w1 stands for {_by(one)} numbers, hada_w2 for {_by(two)}")
        return one
    first, second = _kron_part("lokr_w1", shapes), _kron_part("lokr_w2", shapes)
    return first[0] * second[0], first[1] * second[1]


def _hada(shapes: Mapping[str, Shape], number: str) -> tuple[int, int]:
    left, right, core = f"hada_w{number}_a", f"hada_w{number}_b", f"hada_t{number}"
    if core in shapes:
        return _cored(shapes[left], shapes[right], shapes[core], (left, right, core))
    return _joined(left, right, shapes)


def _kron_part(part: str, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    if part in shapes:
        return shapes[part][0], math.prod(shapes[part][1:])
    if part == "lokr_w2" and "lokr_t2" in shapes:
        names = (f"{part}_a", f"{part}_b", "lokr_t2")
        return _cored(shapes[names[0]], shapes[names[1]], shapes[names[2]], names)
    return _joined(f"{part}_a", f"{part}_b", shapes)


def _joined(
    left: str, right: str, shapes: Mapping[str, Shape], *, core: str | None = None
) -> tuple[int, int]:
    """A product (O, R) @ (R, I K)."""
    outer, inner = shapes[left], shapes[right]
    if core is not None and core in shapes:
        turned = (math.prod(outer[1:]), outer[0])
        return _cored(turned, (inner[0], math.prod(inner[1:])), shapes[core], (left, right, core))
    if math.prod(outer[1:]) != inner[0]:
        raise ValueError(f"ranks differ: {left} has {math.prod(outer[1:])}, {right} has {inner[0]}")
    return outer[0], math.prod(inner[1:])


def _cored(outer: Shape, inner: Shape, core: Shape, names: tuple[str, str, str]) -> tuple[int, int]:
    """A product of (R, O), (R, I) and a core (R, R, K...)."""
    if core[:2] != (outer[0], inner[0]):
        raise ValueError(
            f"ranks differ: {names[2]} has {_by(core[:2])}, {names[0]} and {names[1]} have "
            f"{outer[0]} and {inner[0]}"
        )
    return outer[1], inner[1] * math.prod(core[2:])


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def rank_of(kind: Kind, shapes: Mapping[str, Shape]) -> int | None:
    """R, None for a LoKr of two whole matrices."""
    if kind == "lora":
        return shapes["lora_down"][0]
    if kind == "loha":
        return shapes["hada_w1_b"][0]
    parts = [name for name in ("lokr_w1_b", "lokr_w2_b") if name in shapes]
    return shapes[parts[0]][0] if parts else None


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The factors of one layer.

    Attributes:
        kind: What they are.
        tensors: By name, without alpha.
        alpha: None stands for the rank.
        whole_scale: The factor of a LoKr of two whole matrices, which has no rank: 1, but for PEFT's.
    """

    kind: Kind
    tensors: Mapping[str, Tensor]
    alpha: float | None = None
    whole_scale: float = 1.0

    @property
    def rank(self) -> int | None:
        """R, None for a LoKr of two whole matrices."""
        return rank_of(self.kind, {name: tuple(tensor.shape) for name, tensor in self.tensors.items()})

    @property
    def scale(self) -> float:
        """alpha / R."""
        if self.rank is None:
            return self.whole_scale
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def low_rank(self) -> tuple[Tensor, Tensor] | None:
        """Up (O, R) and down (R, I K) without the scale; None where the change is no such product."""
        if self.kind != "lora" or "lora_mid" in self.tensors:
            return None
        return self.tensors["lora_up"].flatten(1), self.tensors["lora_down"].flatten(1)

    def delta(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The change (O, I K) with the scale.

        Args:
            dtype: In which it is computed.
        """
        parts = {name: tensor.to(dtype) for name, tensor in self.tensors.items()}
        return _PRODUCTS[self.kind](parts).flatten(1) * self.scale

    def norm(self) -> float:
        """Frobenius norm of the change; of a low rank without making the product."""
        pair = self.low_rank()
        if pair is None:
            return float(torch.linalg.vector_norm(self.delta(torch.float64)))
        up, down = (tensor.double() for tensor in pair)
        square = float(((up.T @ up) * (down @ down.T)).sum())
        return abs(self.scale) * math.sqrt(max(square, 0.0))


def _lora(parts: Mapping[str, Tensor]) -> Tensor:
    up, down = parts["lora_up"].flatten(1), parts["lora_down"].flatten(1)
    if "lora_mid" in parts:
        return torch.einsum(_CORE, parts["lora_mid"], up.T, down)
    return up @ down


def _loha(parts: Mapping[str, Tensor]) -> Tensor:
    one, two = (
        torch.einsum(_CORE, parts[f"hada_t{n}"], parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"])
        if f"hada_t{n}" in parts
        else parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"]
        for n in "12"
    )
    return one * two


def _lokr(parts: Mapping[str, Tensor]) -> Tensor:
    first = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        second = parts["lokr_w2"]
    elif "lokr_t2" in parts:
        second = torch.einsum(_CORE, parts["lokr_t2"], parts["lokr_w2_a"], parts["lokr_w2_b"])
    else:
        second = parts["lokr_w2_a"] @ parts["lokr_w2_b"].flatten(1)
    # What einsum gives may be laid out otherwise, and kron views its arguments.
    return torch.kron(first.flatten(1).contiguous(), second.flatten(1).contiguous())


_PRODUCTS = {"lora": _lora, "loha": _loha, "lokr": _lokr}
