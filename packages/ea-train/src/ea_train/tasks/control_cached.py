"""Control models on cached latents: follow edges and trajectories, or a camera.

Shapes: B batch, K kinds of signals, C latent channels, S channels of a signal; t, h, w the latent sizes.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.timesteps import SigmaSampling
from ea_dit.families.mmdit import MMDiT
from ea_dit.pipelines.channels import reference_channels
from ea_dit.text.base import TextStates
from ea_dit.text.bytes import ByteTextEncoder
from ea_dit.types import Conditioning
from ea_train.adapters import AdapterConfig, Weights
from ea_train.control_cache import ControlCache
from ea_train.control_scenes import SIGNALS, ControlScenes
from ea_train.objectives.errors import ErrorConfig
from ea_train.objectives.flow import FlowObjective
from ea_train.objectives.levels import require_share
from ea_train.prompts import PromptTable
from ea_train.shards import fingerprint
from ea_train.tasks.base import Batch, Place
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_source import Sample
from ea_train.tasks.denoise_validation import mean_and_interval

_HELD_OUT_BATCH = 32

Given = Literal["right", "shuffled", "none"]
"""What held-out clips are judged with: their own signal, that of another clip, or none."""


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """What is drawn from the cache, and what counts.

    Attributes:
        sigmas: Noise levels.
        prompt_dropout: Share of samples that see the empty prompt, for guidance.
        wordings: Captions of each clip in each language that training draws from.
        latent_weights: What an error in each latent channel counts; empty counts all alike.
        signal_weights: How often each kind of signal is drawn; empty draws all alike.
        condition_dropout: Share of samples without a signal.
        reference_dropout: Share of samples without their first frame as a reference.
        picture_share: Share of batches that are single pictures, the first latent frames of clips; they hold
            as many times more samples.
        validation_clips: Cached clips, the last ones, that are never trained on.
    """

    sigmas: SigmaSampling = field(
        default_factory=lambda: SigmaSampling(density="logit_normal", mean=1.1, std=1.3, stratified=True)
    )
    prompt_dropout: float = 0.1
    wordings: int = 4
    latent_weights: tuple[float, ...] = ()
    signal_weights: tuple[float, ...] = ()
    condition_dropout: float = 0.2
    reference_dropout: float = 0.7
    picture_share: float = 0.15
    validation_clips: int = 128

    def __post_init__(self) -> None:
        """Refuse what is no share, and weights that weigh nothing."""
        for name in ("prompt_dropout", "condition_dropout", "reference_dropout", "picture_share"):
            require_share(f"task.{name}", getattr(self, name))
        for name in ("validation_clips", "wordings"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("latent_weights", "signal_weights"):
            weights = getattr(self, name)
            if weights and (min(weights) < 0 or max(weights) == 0):
                raise ValueError(f"task.{name} must be numbers from 0, not all of them 0, got {weights}")


class CachedControls:
    """Cached latents with the signals and captions of their clips, a `BatchSource`.

    Args:
        text_encoder: Frozen; run once on all captions.
        cache: Latents and signals.
        scenes: What the cache was made from.
        config: What is drawn.

    Raises:
        ValueError: The cache has no clip left for training, the weights do not fit its signals, or a caption
            is too long.
    """

    def __init__(
        self,
        text_encoder: ByteTextEncoder,
        cache: ControlCache,
        scenes: ControlScenes,
        config: ControlConfig,
    ) -> None:
        self.cache = cache
        self.config = config
        self.names = SIGNALS[scenes.kind]
        self.inputs = {
            "clips": scenes.describe(),
            "text encoder": fingerprint(text_encoder),
            "autoencoder of the cache": cache.autoencoder,
        }
        if len(cache) <= config.validation_clips:
            raise ValueError(
                f"task.validation_clips is {config.validation_clips}, but the cache holds only "
                f"{len(cache)} clips"
            )
        self._weights = config.signal_weights or (1.0,) * len(self.names)
        if len(self._weights) != len(self.names):
            raise ValueError(
                f"task.signal_weights must be {len(self.names)} numbers ({', '.join(self.names)}), "
                f"got {len(self._weights)}"
            )
        encoder = text_encoder.eval().requires_grad_(False)
        self._prompts = PromptTable(encoder, scenes, clips=len(cache), wordings=config.wordings)

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Latents, signals, references and prompt states of randomly drawn clips."""
        rng, config = random.Random(seed << 32 | place.batch), self.config
        whole = self.cache.latents.shape[2]
        length = 1 if rng.random() < config.picture_share else whole
        rows = rng.choices(range(len(self.cache) - config.validation_clips), k=size * whole // length)
        kinds = rng.choices(range(len(self.names)), weights=self._weights, k=len(rows))
        batch = self._gather(rows, kinds, rows, length)
        for name, share in (("signal", config.condition_dropout), ("reference", config.reference_dropout)):
            batch[name][torch.tensor([rng.random() < share for _ in rows])] = 0
        return {**batch, "text": self._prompts.draw(rows, rng, dropout=config.prompt_dropout)}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Sample:
        """The batch as it is: everything is encoded already."""
        del generator
        states_BKD = batch["text"]
        mask_BK = torch.ones(states_BKD.shape[:2], dtype=torch.bool, device=states_BKD.device)
        given = torch.cat((batch["signal"], batch["reference"]), dim=1)
        return Sample(
            latents_BCthw=batch["latents"],
            text=TextStates(states_BKD, mask_BK),
            conditioning=Conditioning(control_latents=given),
        )

    def close(self) -> None:
        """Nothing is kept."""

    def held_out(self) -> Iterator[Batch]:
        """The last clips, whole, with their own signals."""
        return self.judged("right", 0)

    def judged(self, given: Given, kind: int) -> Iterator[Batch]:
        """The last clips, whole, in their order, without references.

        Args:
            given: Whose signal.
            kind: Which of `names`.
        """
        rng, count = random.Random(0), self.config.validation_clips
        rows = list(range(len(self.cache) - count, len(self.cache)))
        others = rows[1:] + rows[:1] if given == "shuffled" else rows
        for start in range(0, count, _HELD_OUT_BATCH):
            part = slice(start, start + _HELD_OUT_BATCH)
            batch = self._gather(
                rows[part], [kind] * len(rows[part]), others[part], self.cache.latents.shape[2]
            )
            batch["reference"].zero_()
            if given == "none":
                batch["signal"].zero_()
            yield {**batch, "text": self._prompts.draw(rows[part], rng, dropout=0.0)}

    def _gather(
        self, rows: list[int], kinds: list[int], signal_rows: list[int], length: int
    ) -> dict[str, Tensor]:
        latents = self.cache.latents[rows, :, :length].float()
        # The first latent frame of a causal autoencoder is that of the first picture alone.
        return {
            "latents": latents,
            "signal": self.cache.signals[signal_rows, kinds][:, :, :length].float(),
            "reference": reference_channels(latents[:, :, :1], length),
        }


class ControlTask(DenoiseTask):
    """The denoise task, whose validation also tells whether signals are followed."""

    source: CachedControls

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean held-out losses at the same noise; by how much another clip's signal, or none, is worse."""
        losses = {
            (name, given): self._losses(given, kind)
            for kind, name in enumerate(self.source.names)
            for given in ("right", "shuffled", "none")
        }
        figures = mean_and_interval(torch.cat([losses[name, "right"] for name in self.source.names]))
        for name in self.source.names:
            right_N = losses[name, "right"]
            figures[f"val/{name}_over_shuffled"] = float((losses[name, "shuffled"] - right_N).mean())
            figures[f"val/{name}_over_none"] = float((losses[name, "none"] - right_N).mean())
        return figures

    def _losses(self, given: Given, kind: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.validation.seed)
        batches = self.source.judged(given, kind)
        return torch.cat([self._held_out_losses(batch, generator) for batch in batches])


def control_task(
    transformer: MMDiT, source: CachedControls, config: ControlConfig, adapter: AdapterConfig
) -> ControlTask:
    """The task of a control model: a flow on cached latents.

    Args:
        transformer: The denoiser, with room for the conditions.
        source: Samples.
        config: What counts.
        adapter: What learns.

    Raises:
        ValueError: The settings do not fit the transformer or the cache.
    """
    weights, channels = config.latent_weights, transformer.config.out_channels
    if weights and len(weights) != channels:
        raise ValueError(f"task.latent_weights must be {channels} numbers, got {len(weights)}")
    given = source.cache.signals.shape[2] + channels
    if transformer.config.condition_channels != given:
        raise ValueError(
            f"the transformer has {transformer.config.condition_channels} condition channels; the signals "
            f"with their reference have {given}"
        )
    objective = FlowObjective(
        flow=FlowMatching(),
        levels=config.sigmas,
        errors=ErrorConfig(limit=0.0, channel_weights=weights),
    )
    return ControlTask(transformer, source, objective, trained=Weights(transformer, adapter))
