"""Generating videos from Python: everything that the front ends use.

`Engine` loads a model and runs jobs; `make_job` turns options and files into a `Job`. The names that need
torch are imported when they are first used, so that mistakes in options are reported at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ea_app.api.checkpoint import Resume
    from ea_app.api.decoding import decode_latents
    from ea_app.api.engine import Engine
    from ea_app.api.job import CancelToken, Job, make_job
    from ea_app.api.progress import Progress
    from ea_app.api.result import Result
    from ea_app.options import InputError
    from ea_dit.pipelines import Cancelled, GenerationRequest

_HOMES = {
    "CancelToken": "ea_app.api.job",
    "Cancelled": "ea_dit.pipelines",
    "Engine": "ea_app.api.engine",
    "GenerationRequest": "ea_dit.pipelines",
    "InputError": "ea_app.options",
    "Job": "ea_app.api.job",
    "Progress": "ea_app.api.progress",
    "Result": "ea_app.api.result",
    "Resume": "ea_app.api.checkpoint",
    "decode_latents": "ea_app.api.decoding",
    "make_job": "ea_app.api.job",
}

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
    "decode_latents",
    "make_job",
]


def __getattr__(name: str) -> Any:
    """Import a name's home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
