"""Generate videos from the command line or Python, with a small model in the box."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ea_app.api import (
        Cancelled,
        CancelToken,
        Engine,
        GenerationRequest,
        InputError,
        Job,
        Progress,
        Result,
        Resume,
    )

__all__ = [
    "CancelToken",
    "Cancelled",
    "Engine",
    "GenerationRequest",
    "InputError",
    "Job",
    "Progress",
    "Result",
    "Resume",
]


def __getattr__(name: str) -> Any:
    """Load the engine, and with it torch, when it is first asked for: `import ea_app` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("ea_app.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
