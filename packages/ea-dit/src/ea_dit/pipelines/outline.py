"""What a model directory is and can do, told by configs and headers: no weight is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ea_dit.diffusion import Schedule
from ea_dit.lora import LoraUse, Report, check_loras, targets_of
from ea_dit.pipelines.checks import check_request
from ea_dit.pipelines.file_checks import file_checks
from ea_dit.pipelines.layout import Layout
from ea_dit.pipelines.parts import Parts, find_parts, read_schedule
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.variants import Traits


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
    directory: str | Path,
    *,
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    allow_pickle: bool = False,
    weights: bool = True,
) -> Outline:
    """Reads what a model directory is and whether its parts go together.

    Everything that configs, tokenizers and the headers of weight files tell is checked: nobody should wait
    for gigabytes to learn of a missing file.

    Args:
        directory: See `ea_dit.pipelines.load_components`, as the next three.
        motion_module: File of V1's motion modules; None looks for one in the directory.
        transformer_weights: A personalised checkpoint in the place of the transformer's weights.
        allow_pickle: Accept weights in pickles.
        weights: Look at the headers of weight files too.

    Raises:
        ValueError: If a part is missing, damaged or not understood, or parts do not fit.
    """
    return outline_of(
        find_parts(
            directory,
            motion_module=motion_module,
            transformer_weights=transformer_weights,
            allow_pickle=allow_pickle,
        ),
        weights=weights,
    )


def outline_of(parts: Parts, *, weights: bool = True) -> Outline:
    """What `read_outline` tells, for parts that are found already."""
    for check in file_checks(parts, weights=weights):
        check.run()
    return Outline(
        layout=parts.layout,
        config=parts.config,
        traits=parts.traits,
        schedule=read_schedule(parts),
        motion_module=parts.motion_module,
    )
