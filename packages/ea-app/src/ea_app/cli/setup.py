"""What `ea-app generate` needs beside a job: the model, its weights and LoRAs, loaded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ea_app.api.job import Job, find_model, make_job
from ea_app.api.loras import LoraSource, find_loras
from ea_app.api.weights import find_weights, paths_of
from ea_app.catalog import Model
from ea_app.cli.console import Console
from ea_app.options import InputError

if TYPE_CHECKING:
    from ea_app.api import Engine


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A model as options name it, not yet loaded.

    Attributes:
        model: Its catalogue entry.
        weights: Files beside it, by option key.
        loras: What is over its transformer.
        given: The options, of which device, number types and memory mode count here.
    """

    model: Model
    weights: Mapping[str, Any]
    loras: tuple[LoraSource, ...]
    given: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any], *, allow_pickle: bool) -> Self:
        """Find what parsed options name.

        Raises:
            InputError: Something is missing or does not go together.
        """
        if "lora_unmatched" in given and "lora" not in given:
            raise InputError("lora-unmatched", "needs --lora")
        weights = paths_of(find_weights(given))
        loras = find_loras(given.get("lora", ()), unmatched=given.get("lora_unmatched", "refuse"))
        model = find_model(
            given.get("model", "default"),
            motion_module=weights.get("motion_module"),
            allow_pickle=allow_pickle,
        )
        return cls(model=model, weights=weights, loras=loras, given=given)

    def job(self, given: Mapping[str, Any]) -> Job:
        """The job of parsed options."""
        return make_job(self.model, **given)

    def check(self, job: Job) -> None:
        """Refuse what the model cannot do, before its weights are read. Imports torch."""
        from ea_app.api import Engine

        Engine.check(job, self.model, **self.weights, loras=self.loras)

    def load(self, console: Console) -> "Engine":
        """Read the weights."""
        from ea_app.api import Engine
        from ea_app.api.machine import machine_options

        engine = Engine.load(self.model, **machine_options(self.given), **self.weights, loras=self.loras)
        for note in engine.notes:
            console.note_when_it_runs(note)
        return engine


def ready(job: Job, model: Model, console: Console) -> Job:
    """Do what a job still asks for before it runs: a better prompt, a control signal."""
    if job.prompt_server is not None:
        from ea_app.api.enhance import enhance

        console.note(f"asking {job.prompt_server.model} for a better prompt")
        job = enhance(job, model)
    for notice in job.notices:
        console.note_when_it_runs(notice)
    return job.extracted(console.note)
