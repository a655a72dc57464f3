"""One trainer for video autoencoders and diffusion transformers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ea_train.config import LoopConfig, OptimConfig, RunConfig
    from ea_train.loop.trainer import Trainer
    from ea_train.sources import ClipSource, ManifestClips, ProceduralClips
    from ea_train.tasks.base import Place, StepOutput, Task

__all__ = [
    "ClipSource",
    "LoopConfig",
    "ManifestClips",
    "OptimConfig",
    "Place",
    "ProceduralClips",
    "RunConfig",
    "StepOutput",
    "Task",
    "Trainer",
]

_HOMES = {
    "ea_train.config": ("LoopConfig", "OptimConfig", "RunConfig"),
    "ea_train.loop.trainer": ("Trainer",),
    "ea_train.sources": ("ClipSource", "ManifestClips", "ProceduralClips"),
    "ea_train.tasks.base": ("Place", "StepOutput", "Task"),
}


def __getattr__(name: str) -> Any:
    """Load a name, and with it torch, when it is first asked for: `import ea_train` costs nothing."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
