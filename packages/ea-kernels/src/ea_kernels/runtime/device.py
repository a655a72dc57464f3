"""Names of devices and number types as users write them."""

import torch

_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device that a name stands for.

    Args:
        name: "auto" (the first GPU if there is one, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: On an unknown name or a GPU that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}") from None
    if device.type not in ("cpu", "cuda", "meta"):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {str(name)!r}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(f"device {str(name)!r} is not there: this machine has {count} usable GPU(s)")
    return device


def resolve_dtype(name: str | torch.dtype = "auto", device: str | torch.device = "cpu") -> torch.dtype:
    """The number type that a name stands for.

    Args:
        name: "auto" (bfloat16 on a GPU that has it, float16 on an older one, float32 on the CPU), "float32",
            "bfloat16", "float16" or their short forms "fp32", "bf16", "fp16".
        device: Where it will be used; matters for "auto" only.

    Raises:
        ValueError: On an unknown name.
    """
    if isinstance(name, torch.dtype):
        if name not in _DTYPES.values():
            raise ValueError(f"dtype must be float32, bfloat16 or float16, got {name}")
        return name
    if name == "auto":
        if torch.device(device).type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if name not in _DTYPES:
        raise ValueError(f"dtype must be 'auto' or one of {', '.join(_DTYPES)}; got {name!r}")
    return _DTYPES[name]
