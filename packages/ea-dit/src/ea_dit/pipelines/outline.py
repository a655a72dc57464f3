"""What a model directory is and can do, told by configs and headers: no weight is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ea_dit.diffusion import Schedule, schedule_from_dict
from ea_dit.lora import LoraUse, Report, check_loras, targets_of
from ea_dit.pipelines.checks import check_process, check_request
from ea_dit.pipelines.encoders import check_text_encoders
from ea_dit.pipelines.layout import IMAGE_ENCODER, Layout, find_layout, find_motion_module
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.variants import Traits, traits_of
from ea_dit.registry import read_transformer_config
from ea_kernels.runtime.weights import read_json


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A model directory before its weights are read.

    Attributes:
        layout: Where its parts are.
        config: Of the transformer.
        traits: What the transformer wants.
        schedule: The process of its scheduler config, None without one.
        motion_module: File of V1's motion modules, None where there is none.
    """

    layout: Layout
    config: Any
    traits: Traits
    schedule: Schedule | None = None
    motion_module: Path | None = None

    @property
    def process(self) -> Schedule:
        """The schedule, given or released."""
        return self.traits.schedule if self.schedule is None else self.schedule

    def check(self, request: GenerationRequest) -> None:
        """Refuses a request that is wrong or that this model cannot do.

        Raises:
            ValueError: One line that begins with the field and says what is allowed.
        """
        request.validate()
        check_request(request, self.traits, self.process)

    def check_loras(self, loras: Sequence[LoraUse], *, allow_pickle: bool = False) -> tuple[Report, ...]:
        """Tells how LoRA files fit the transformer, by their headers.

        Raises:
            ValueError: One line that begins with the file.
        """
        return check_loras(loras, targets_of(self.config), allow_pickle=allow_pickle) if loras else ()


def read_outline(
    directory: str | Path, *, motion_module: str | Path | None = None, allow_pickle: bool = False
) -> Outline:
    """Reads what a model directory is and whether its parts go together.

    What is small is checked first: nobody should wait for gigabytes to learn of a missing file.

    Args:
        directory: See `ea_dit.pipelines.load_components`.
        motion_module: File of V1's motion modules; None looks for one in the directory.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If a part is missing or not understood, or parts do not fit.
    """
    layout = find_layout(directory, allow_pickle=allow_pickle)
    motion = None if motion_module is None else Path(motion_module)
    config, traits = _read_traits(layout, motion, allow_pickle=allow_pickle)
    if not traits.moves and motion is None:
        # An image model: with motion modules beside it, it is V1.
        motion = find_motion_module(layout.directory, allow_pickle=allow_pickle)
        config, traits = _read_traits(layout, motion, allow_pickle=allow_pickle)
    check_text_encoders(layout, traits.text)
    if traits.image_states is not None and layout.image_encoder is None:
        raise ValueError(f"{layout.directory}: the transformer reads {IMAGE_ENCODER}, which is missing")
    schedule = None if layout.scheduler is None else _read_schedule(layout.scheduler, traits)
    return Outline(layout=layout, config=config, traits=traits, schedule=schedule, motion_module=motion)


def _read_traits(layout: Layout, motion_module: Path | None, *, allow_pickle: bool) -> tuple[Any, Traits]:
    config = read_transformer_config(
        layout.transformer, motion_module=motion_module, allow_pickle=allow_pickle
    )
    try:
        return config, traits_of(config)
    except ValueError as error:
        raise ValueError(f"{layout.transformer}: {error}") from None


def _read_schedule(file: Path, traits: Traits) -> Schedule:
    try:
        schedule = schedule_from_dict(read_json(file))
        check_process(schedule, traits)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(file)) else f"{file}: {text}") from None
    return schedule
