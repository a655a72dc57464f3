"""The choice of the attention backend: by name, or automatic."""

from ea_kernels.attention.sdpa import attention as torch_attention
from ea_kernels.attention.spec import AttentionFunction
from ea_kernels.reference.attention import attention as reference_attention

_BACKENDS: dict[str, AttentionFunction] = {
    "auto": torch_attention,
    "torch": torch_attention,
    "reference": reference_attention,
}


def resolve_attention(backend: str = "auto") -> AttentionFunction:
    """Returns the attention function of a backend.

    Args:
        backend: "auto" (the best one available), "torch" or "reference".

    Raises:
        ValueError: For a name that is not known or a backend that is not built.
    """
    try:
        return _BACKENDS[backend]
    except KeyError:
        allowed = ", ".join(_BACKENDS)
        raise ValueError(
            f"attention backend {backend!r} is not available; choose one of: {allowed}"
        ) from None
