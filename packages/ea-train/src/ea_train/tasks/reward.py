"""Teach a denoiser what a reward likes: the gradient goes through decoding and chosen steps of the sampler.

Source: Prabhudesai et al. 2023 (arXiv 2310.03739) and Clark et al. 2023 (arXiv 2309.17400); strategies and
defaults are those of the released script. B batch, C latent channels, T frames; t, h, w the latent sizes.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ea_dit.diffusion import DdpmSchedule, Sampler, draws
from ea_dit.diffusion.loop import Predictor
from ea_dit.diffusion.solvers.ddim import DdimSampler
from ea_dit.pipelines.checks import check_request, requested_sampler
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.rollout import WrapStep, encode_batch, rollout
from ea_kernels.runtime.recompute import recompute as recomputed
from ea_train.adapters import Trained
from ea_train.objectives.backprop import BackpropConfig
from ea_train.objectives.quality import with_interval
from ea_train.rewards.base import RewardConfig, RewardMix
from ea_train.samples import ClipMaker, judged
from ea_train.tasks.base import Batch, Place, StepOutput
from ea_train.tasks.reward_prompts import Prompts
from ea_vae import latents_to_frames


@dataclass(frozen=True, kw_only=True)
class RewardTaskConfig:
    """What is generated and judged; the defaults are the released ones.

    Attributes:
        rewards: What judges.
        height: Pixels; released advice is 256 x 256.
        width: Pixels.
        num_frames: Frames.
        num_steps: Steps of the sampler.
        guidance_scale: Of the sampler.
        sampler: Its name; empty for the one that the model's scheduler config names.
        eta: Noise that DDIM adds, 0 ... 1.
        backprop: Which steps learn.
        num_decoded_latents: Latent frames that are decoded and judged, from the first on; 0 decodes all.
        num_sampled_frames: Frames of these that are judged, at equal distances; 0 judges all.
        validation_prompts: Most held-out prompts in a validation.
    """

    rewards: tuple[RewardConfig, ...] = ()
    height: int = 384
    width: int = 672
    num_frames: int = 49
    num_steps: int = 50
    guidance_scale: float = 6.0
    sampler: str = ""
    eta: float = 0.0
    backprop: BackpropConfig = field(default_factory=BackpropConfig)
    num_decoded_latents: int = 3
    num_sampled_frames: int = 0
    validation_prompts: int = 8

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        for name in ("num_decoded_latents", "num_sampled_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"task.eta must be from 0 to 1, got {self.eta}")
        if self.validation_prompts < 1:
            raise ValueError(f"task.validation_prompts must be at least 1, got {self.validation_prompts}")

    @property
    def request(self) -> GenerationRequest:
        """The job of every step; its prompt and seed stand for those that are drawn."""
        return GenerationRequest(
            prompt="a prompt of the file",
            height=self.height,
            width=self.width,
            num_frames=self.num_frames,
            num_steps=self.num_steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler or None,
        )


class RewardTask:
    """Generate, decode, judge, and learn from the gradient of the score.

    Args:
        parts: The model; autoencoder and encoders stand still.
        prompts: What is generated.
        config: How, and what is judged.
        rewards: What judges, loaded.
        trained: What learns and how it is exported.
        recompute: Keep only the input of each step and of the decoder, and compute them again in the backward
            pass.

    Raises:
        ValueError: The model cannot do what is asked, or steps are chosen that a run does not have.
    """

    def __init__(
        self,
        parts: Components,
        prompts: Prompts,
        config: RewardTaskConfig,
        rewards: RewardMix,
        trained: Trained,
        *,
        recompute: bool = False,
    ) -> None:
        self.parts, self.prompts, self.config = parts, prompts, config
        self._saves = recompute
        self.clips: ClipMaker | None = None
        self.rewards, self.trained = rewards, trained
        self._learned = [parameter for group, _ in trained.groups for parameter in group]
        self.modules: dict[str, nn.Module] = dict(trained.modules)
        self.trainable = {"generator": list(self.modules)}
        self.inputs = {"prompts": prompts.describe()}
        config.request.validate()
        check_request(config.request, parts.traits, parts.process)
        self._sampler = _sampler(config, parts)
        config.backprop.check(len(self._sampler.timesteps))
        placement = parts.placement
        if placement is not None and not placement.policy.resident and "vae" in placement.names:
            raise ValueError(
                "model.low_vram must be false: rewards need the autoencoder in the backward pass"
            )
        # Gradients go through it to the latents, never into it.
        parts.vae.requires_grad_(requires_grad=False)

    def parameter_groups(self) -> dict[str, list[tuple[list[nn.Parameter], float]]]:
        """What learns, with factors on the learning rate."""
        return {"generator": self.trained.groups}

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Prompts."""
        rng = random.Random(seed << 44 | place.batch)
        return {"prompts": rng.choices(self.prompts.train, k=size)}

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Loss of what the model makes of the prompts."""
        del place
        prompts: list[str] = batch["prompts"]
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        chosen = self.config.backprop.chosen(len(self._sampler.timesteps), rng)
        frames = self._frames(prompts, generator, chosen)
        scores = self.rewards.scores(frames, prompts)
        metrics = {f"reward/{name}": values.detach().mean() for name, values in scores.items()}
        return StepOutput(losses={"generator": self.rewards.loss(scores)}, metrics=metrics)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Scores of held-out prompts, each with noise of its own that is the same every time."""
        totals: list[Tensor] = []
        found: dict[str, list[Tensor]] = {}
        for number, prompt in enumerate(self.prompts.heldout[: self.config.validation_prompts]):
            with judged(self.parts.transformer):
                frames = self._frames([prompt], torch.Generator().manual_seed(number), frozenset())
            scores = self.rewards.scores(frames, [prompt])
            totals.append(self.rewards.total(scores).cpu())
            for name, values in scores.items():
                found.setdefault(name, []).append(values.cpu())
        figures = with_interval("val/reward", torch.cat(totals))
        return figures | {f"val/{name}": float(torch.cat(values).mean()) for name, values in found.items()}

    def measures(self) -> dict[str, float]:
        """What an adapter changes by now."""
        return self.trained.measures()

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write what was trained in its released layout."""
        self.trained.export(directory, metadata)

    def _frames(self, prompts: list[str], generator: torch.Generator, chosen: frozenset[int]) -> Tensor:
        """Frames 0 ... 1 (B, 3, T, H, W) that depend on the chosen steps."""
        config, parts = self.config, self.parts
        with torch.autocast(parts.device.type, enabled=False):
            states = encode_batch(parts, prompts, guided=config.guidance_scale > 1)
        latents = rollout(
            parts,
            config.request,
            states,
            draws(generator),
            sampler=self._sampler,
            gradient_from=min(chosen, default=None),
            wrap=self._wrap(chosen),
        )
        count = config.num_decoded_latents or latents.shape[2]
        frames = recomputed(self._decode, latents[:, :, :count], enabled=self._saves and bool(chosen))
        if not config.num_sampled_frames or config.num_sampled_frames >= frames.shape[2]:
            return frames
        numbers = torch.linspace(0, frames.shape[2] - 1, config.num_sampled_frames).long()
        return frames[:, :, numbers.to(frames.device)]

    def _decode(self, latents_BCthw: Tensor) -> Tensor:
        weight = next(self.parts.vae.parameters())
        return latents_to_frames(self.parts.vae, latents_BCthw.to(weight))

    def _wrap(self, chosen: frozenset[int]) -> WrapStep:
        """Calls of the steps: those before the first chosen one run without gradient anyway."""
        backprop, saves = self.config.backprop, self._saves
        first = min(chosen, default=None)

        def wrap(index: int, predict: Predictor) -> Predictor:
            if first is None or index < first:
                return predict
            if index in chosen:
                return lambda x, timestep: recomputed(
                    predict, x.detach() if backprop.stop_input_gradient else x, timestep, enabled=saves
                )
            if backprop.stop_input_gradient:
                return torch.no_grad()(predict)

            def with_frozen_weights(x_BCthw: Tensor, timestep: Tensor) -> Tensor:
                with self._frozen():
                    return predict(x_BCthw, timestep)

            return lambda x, timestep: recomputed(with_frozen_weights, x, timestep, enabled=saves)

        return wrap

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """A step that does not learn still hands the gradient on to those before it."""
        for parameter in self._learned:
            parameter.requires_grad = False
        try:
            yield
        finally:
            for parameter in self._learned:
                parameter.requires_grad = True


def _sampler(config: RewardTaskConfig, parts: Components) -> Sampler:
    sampler = requested_sampler(config.request, parts.process)
    if not config.eta:
        return sampler
    if not isinstance(sampler, DdimSampler) or not isinstance(parts.process, DdpmSchedule):
        raise ValueError(f"task.eta is for the sampler DDIM of DDPM models, got {config.eta}")  # noqa: TRY004
    return DdimSampler(parts.process, config.num_steps, eta=config.eta)
