"""Pixels and masks as callers give them: float in 0 ... 1 or uint8, checked and made one type."""

import torch
from torch import Tensor


def check_tensor(name: str, value: object) -> None:
    """Refuses what is no tensor.

    Raises:
        ValueError: With its type.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")  # noqa: TRY004


def check_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    """Refuses a tensor of another shape; None stands for any size.

    Raises:
        ValueError: With the wanted shape.
    """
    check_tensor(name, tensor)
    fits = tensor.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        got = " x ".join(str(size) for size in tensor.shape)
        raise ValueError(f"{name} must have the shape {wanted}, got {got}")
    if tensor.numel() == 0:
        raise ValueError(f"{name} must not be empty")


def check_pixels(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    """Refuses a tensor that holds no pixels of a shape.

    Raises:
        ValueError: With the wanted shape or range.
    """
    check_shape(name, tensor, shape)
    if tensor.dtype == torch.uint8:
        return
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floating point in 0 ... 1 or uint8, got {tensor.dtype}")
    low, high = tensor.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must lie in 0 ... 1, got {float(low):.4g} ... {float(high):.4g}")


def to_float(pixels: Tensor) -> Tensor:
    """Pixels as float32 in 0 ... 1 on the CPU."""
    return pixels.cpu().float() / 255 if pixels.dtype == torch.uint8 else pixels.cpu().float()


def to_boolean(mask: Tensor) -> Tensor:
    """A mask as booleans on the CPU, True = generate."""
    if mask.dtype == torch.bool:
        return mask.cpu()
    return mask.cpu() >= (128 if mask.dtype == torch.uint8 else 0.5)
