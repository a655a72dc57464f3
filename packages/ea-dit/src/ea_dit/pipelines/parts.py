"""Which parts a model directory has and what its transformer wants of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ea_dit.diffusion import Schedule, schedule_from_dict
from ea_dit.pipelines.checks import check_process
from ea_dit.pipelines.layout import Layout, find_layout, find_motion_module
from ea_dit.pipelines.variants import Traits, traits_of
from ea_dit.registry import read_transformer_config
from ea_kernels.runtime.weights import read_json


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model directory and the files beside it.

    Attributes:
        layout: Where its parts are.
        config: Of the transformer.
        traits: What the transformer wants.
        motion_module: File of V1's motion modules, None where there is none.
        transformer_weights: File whose tensors replace those of the transformer, None where there is none.
        allow_pickle: Whether weights may be in pickles.
    """

    layout: Layout
    config: Any
    traits: Traits
    motion_module: Path | None = None
    transformer_weights: Path | None = None
    allow_pickle: bool = False


def find_parts(
    directory: str | Path,
    *,
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    allow_pickle: bool = False,
) -> Parts:
    """Finds the parts of a model directory and reads what its transformer is.

    Args:
        directory: See `ea_dit.pipelines.load_components`, as the following.
        motion_module: File of V1's motion modules; None looks for one in the directory.
        transformer_weights: A personalised checkpoint.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If a part that every model has is missing, or the transformer is not understood.
    """
    layout = find_layout(directory, allow_pickle=allow_pickle)
    motion = None if motion_module is None else Path(motion_module)
    config, traits = _read_traits(layout, motion, allow_pickle=allow_pickle)
    if not traits.moves and motion is None:
        # An image model: with motion modules beside it, it is V1.
        motion = find_motion_module(layout.directory, allow_pickle=allow_pickle)
        config, traits = _read_traits(layout, motion, allow_pickle=allow_pickle)
    return Parts(
        layout=layout,
        config=config,
        traits=traits,
        motion_module=motion,
        transformer_weights=None if transformer_weights is None else Path(transformer_weights),
        allow_pickle=allow_pickle,
    )


def read_schedule(parts: Parts) -> Schedule | None:
    """Reads the process of a model directory, None where the released one holds.

    Raises:
        ValueError: If the config is not understood, or is for another kind of transformer.
    """
    file = parts.layout.scheduler
    if file is None:
        return None
    try:
        schedule = schedule_from_dict(read_json(file))
        check_process(schedule, parts.traits)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(file)) else f"{file}: {text}") from None
    return schedule


def _read_traits(layout: Layout, motion_module: Path | None, *, allow_pickle: bool) -> tuple[Any, Traits]:
    config = read_transformer_config(
        layout.transformer, motion_module=motion_module, allow_pickle=allow_pickle
    )
    try:
        return config, traits_of(config)
    except ValueError as error:
        raise ValueError(f"{layout.transformer}: {error}") from None
