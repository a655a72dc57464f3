"""Train a denoiser: any family, any loss, everything or an adapter, from cached latents or from files."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ea_dit.pipelines.calling import bind_text
from ea_dit.pipelines.variants import traits_of
from ea_dit.registry import Transformer
from ea_train.adapters import Trained, Weights
from ea_train.objectives.base import Objective, Predict
from ea_train.objectives.levels import Ranks
from ea_train.samples import ClipMaker, judged
from ea_train.tasks.base import Batch, Place, StepOutput
from ea_train.tasks.denoise_source import BatchSource, Sample
from ea_train.tasks.denoise_validation import ValidationConfig, mean_and_interval


class DenoiseTask:
    """Predict what a loss asks for from noisy latents.

    Args:
        transformer: The denoiser.
        source: Where samples come from.
        objective: The loss.
        trained: What learns and how it is exported; None for the whole transformer.
        validation: How held-out samples are judged.
        recompute: Keep fewer activations and compute them again in the backward pass.

    Attributes:
        clips: What makes clips to look at, set by a recipe; None makes none.
    """

    def __init__(
        self,
        transformer: Transformer,
        source: BatchSource,
        objective: Objective,
        *,
        trained: Trained | None = None,
        validation: ValidationConfig | None = None,
        recompute: bool = False,
    ) -> None:
        self.transformer = transformer
        self.source = source
        self.objective = objective
        self.trained = Weights(transformer) if trained is None else trained
        self.validation = ValidationConfig() if validation is None else validation
        self.recompute = recompute
        self.clips: ClipMaker | None = None
        self.traits = traits_of(transformer.config)
        self.modules: dict[str, nn.Module] = self.trained.modules
        self.trainable = {"generator": list(self.modules)}
        self.inputs = dict(source.inputs)

    def parameter_groups(self) -> dict[str, list[tuple[list[nn.Parameter], float]]]:
        """What learns, with factors on the learning rate."""
        return {"generator": self.trained.groups}

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """The samples of one micro-batch, as the source has them."""
        return self.source.batch(seed, place, size)

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Mean loss of a batch."""
        sample = self.source.prepare(batch, generator)
        ranks = Ranks(rank=place.rank, world_size=place.world_size)
        drawn = self.objective.draw(sample.latents_BCthw, generator, ranks)
        losses_B = self.objective.losses(
            self._predict(sample), sample.latents_BCthw, drawn, sample.frame_mask_BT
        )
        return StepOutput(losses={"generator": losses_B.mean()})

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss of held-out samples at the same noise every time, and half its 95 % interval."""
        generator = torch.Generator().manual_seed(self.validation.seed)
        losses = [self._held_out_losses(batch, generator) for batch in self.source.held_out()]
        return mean_and_interval(torch.cat(losses)) if losses else {}

    def close(self) -> None:
        """Let the source finish what it keeps."""
        self.source.close()

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write what was trained in its released layout."""
        self.trained.export(directory, metadata)

    def measures(self) -> dict[str, float]:
        """What an adapter changes by now."""
        return self.trained.measures()

    def _held_out_losses(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean over the noise levels, for every sample."""
        device = next(self.transformer.parameters()).device
        moved = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()
        }
        sample = self.source.prepare(moved, generator)
        latents, predict = sample.latents_BCthw, self._predict(sample)
        if self.validation.positions:
            draws = [self.objective.at(latents, generator, place) for place in self.validation.positions]
        else:
            draws = [self.objective.draw(latents, generator, Ranks())]
        with judged(self.transformer):
            losses = [self.objective.losses(predict, latents, drawn, sample.frame_mask_BT) for drawn in draws]
        return torch.stack(losses).mean(dim=0).cpu()

    def _predict(self, sample: Sample) -> Predict:
        recompute = self.recompute and torch.is_grad_enabled()
        call = bind_text(self.transformer, self.traits, sample.text, recompute=recompute)

        def predict(noisy_BCthw: Tensor, timestep_B: Tensor, frame_mask_BT: Tensor | None = None) -> Tensor:
            given = sample.conditioning
            if frame_mask_BT is not None:
                given = given.with_frame_mask(frame_mask_BT)
            return call(noisy_BCthw, timestep_B, conditioning=given)

        return predict
