"""Distil a denoiser to a few steps: latent consistency, with a LoRA or the whole network as the student.

The teacher is the network as it was, guided; the target is the student itself without a gradient, as released
for LoRAs, or its running average. B batch, C latent channels; t, h, w the latent sizes.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ea_dit.pipelines.calling import bind_text
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.rollout import encode_batch
from ea_dit.pipelines.stages import PromptStates, model_text
from ea_dit.registry import Transformer
from ea_dit.text.base import concatenate
from ea_dit.types import Conditioning
from ea_train.adapters import Factors, Trained
from ea_train.objectives.consistency import DistanceKind, distance, guided, teacher_path
from ea_train.objectives.quality import with_interval
from ea_train.samples import ClipMaker, judged
from ea_train.tasks.base import Batch, Place, StepOutput
from ea_train.tasks.denoise_source import BatchSource, Sample


@dataclass(frozen=True, kw_only=True)
class ConsistencyConfig:
    """Objective; the defaults are the released ones.

    Attributes:
        w_min: Smallest guidance of the teacher, counted as positive + w (positive - negative).
        w_max: Largest; each sample draws its own.
        num_ddim_timesteps: Steps of the teacher.
        loss: "l2", or "huber", which large errors count less in.
        huber_c: Where it changes from square to straight.
        timestep_scaling: Of the boundary condition; samplers of the student use 10.
        target_ema: Decay of the target's average; 0 takes the student as it is.
    """

    w_min: float = 5.0
    w_max: float = 15.0
    num_ddim_timesteps: int = 50
    loss: DistanceKind = "l2"
    huber_c: float = 1e-3
    timestep_scaling: float = 10.0
    target_ema: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an objective that cannot be meant."""
        if not 0 <= self.w_min <= self.w_max:
            raise ValueError(f"task: must be 0 <= w_min <= w_max, got {self.w_min} and {self.w_max}")
        if self.num_ddim_timesteps < 1:
            raise ValueError(f"task.num_ddim_timesteps must be at least 1, got {self.num_ddim_timesteps}")
        for name in ("huber_c", "timestep_scaling"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.target_ema < 1:
            raise ValueError(f"task.target_ema must be in [0, 1), got {self.target_ema}")


@dataclass(frozen=True)
class _Draws:
    """Chance of one batch: points of the path (B,), guidance (B,), noise."""

    points_B: Tensor
    scale_B: Tensor
    noise_BCthw: Tensor


class ConsistencyTask:
    """Neighbouring points of the teacher's path lead to the same clean latents.

    Args:
        parts: The model; its transformer is the student.
        source: Where samples come from.
        config: Objective.
        trained: What learns and how it is exported. Where adapters learn, the teacher is the network without
            them; otherwise a copy of the network.
        recompute: Keep fewer activations and compute them again in the backward pass.

    Raises:
        ValueError: The schedule has no path of so many steps.
    """

    def __init__(
        self,
        parts: Components,
        source: BatchSource,
        config: ConsistencyConfig,
        trained: Trained,
        *,
        recompute: bool = False,
    ) -> None:
        self.recompute = recompute
        self.clips: ClipMaker | None = None
        self.parts, self.source, self.config, self.trained = parts, source, config, trained
        self.path = teacher_path(parts.process, config.num_ddim_timesteps, scaling=config.timestep_scaling)
        self._learned = [parameter for group, _ in trained.groups for parameter in group]
        self.modules: dict[str, nn.Module] = dict(trained.modules)
        self.trainable = {"generator": list(self.modules)}
        self.inputs = dict(source.inputs)
        self._copy: Transformer | None = None
        self._lora = trained.lora if isinstance(trained, Factors) else None
        if self._lora is None:
            self._copy = copy.deepcopy(parts.transformer).eval()
            self._copy.requires_grad_(requires_grad=False)
        self._target: _Average | None = None
        if config.target_ema:
            self._target = _Average(self._learned)
            self.modules["target"] = self._target
        prompts = encode_batch(parts, [""], guided=True)
        self._no_text = prompts.negative

    def parameter_groups(self) -> dict[str, list[tuple[list[nn.Parameter], float]]]:
        """What learns, with factors on the learning rate."""
        return {"generator": self.trained.groups}

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """The samples of one micro-batch, as the source has them."""
        return self.source.batch(seed, place, size)

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Distance of the student's jump and the target's."""
        if self._target is not None:
            self._target.follow(self._learned, self.config.target_ema, place.step)
        sample = self.source.prepare(batch, generator)
        losses_B = self._losses(sample, self._draw(sample.latents_BCthw, generator))
        return StepOutput(losses={"generator": losses_B.mean()})

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean distance on held-out samples, with the same points, guidance and noise every time."""
        generator = torch.Generator().manual_seed(0)
        device = self.parts.device
        losses: list[Tensor] = []
        for batch in self.source.held_out():
            moved = {key: one.to(device) if isinstance(one, Tensor) else one for key, one in batch.items()}
            sample = self.source.prepare(moved, generator)
            with judged(self.parts.transformer):
                losses_B = self._losses(sample, self._draw(sample.latents_BCthw, generator))
            losses.append(losses_B.cpu())
        return with_interval("val/loss", torch.cat(losses)) if losses else {}

    def close(self) -> None:
        """Let the source finish what it keeps."""
        self.source.close()

    def measures(self) -> dict[str, float]:
        """What an adapter changes by now."""
        return self.trained.measures()

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write what was trained in its released layout."""
        self.trained.export(directory, metadata)

    def _draw(self, latents_BCthw: Tensor, generator: torch.Generator) -> _Draws:
        config, count = self.config, len(latents_BCthw)
        points_B = torch.randint(1, config.num_ddim_timesteps + 1, (count,), generator=generator)
        scale_B = torch.rand(count, generator=generator) * (config.w_max - config.w_min) + config.w_min
        noise = torch.randn(latents_BCthw.shape, generator=generator)
        return _Draws(points_B, scale_B, noise.to(latents_BCthw))

    def _losses(self, sample: Sample, drawn: _Draws) -> Tensor:
        """Distances (B,)."""
        path, points_B = self.path, drawn.points_B
        noisy = path.noisy(sample.latents_BCthw, drawn.noise_BCthw, points_B)
        with torch.no_grad():
            before = path.step(self._teach(sample, noisy, drawn), noisy, points_B)
            # Before the student, whose weights must not change between its forward and backward pass.
            with self._as_target():
                target = path.jump(self._predict(sample, before, points_B - 1), before, points_B - 1)
        student = path.jump(self._predict(sample, noisy, points_B), noisy, points_B)
        return distance(student, target, self.config.loss, self.config.huber_c)

    def _predict(self, sample: Sample, noisy_BCthw: Tensor, points_B: Tensor) -> Tensor:
        saves = self.recompute and torch.is_grad_enabled()
        call = bind_text(self.parts.transformer, self.parts.traits, sample.text, recompute=saves)
        return self._called(call, noisy_BCthw, points_B, sample.conditioning)

    def _teach(self, sample: Sample, noisy_BCthw: Tensor, drawn: _Draws) -> Tensor:
        """The guided prediction of the teacher."""
        parts = self.parts
        # Networks with states of their own for no text get none here.
        none = None if self._no_text is None else concatenate(*[self._no_text] * len(noisy_BCthw))
        text = model_text(PromptStates(sample.text, none), parts, guided=True)
        twice = torch.cat((noisy_BCthw, noisy_BCthw))
        points = torch.cat((drawn.points_B, drawn.points_B))
        with self._as_teacher() as network:
            call = bind_text(network, parts.traits, text)
            both = self._called(call, twice, points, _doubled(sample.conditioning))
        negative, positive = both.chunk(2)
        return guided(positive, negative, drawn.scale_B)

    def _called(
        self,
        call: Callable[..., Tensor],
        noisy_BCthw: Tensor,
        points_B: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        timestep_B = self.path.timesteps[points_B].to(noisy_BCthw)
        prediction = call(noisy_BCthw, timestep_B, conditioning=conditioning)
        return prediction[:, : self.parts.traits.latent_channels]

    @contextmanager
    def _as_teacher(self) -> Iterator[Transformer]:
        if self._lora is None:
            assert self._copy is not None
            yield self._copy.to(self.parts.device)
            return
        strength, self._lora.strength = self._lora.strength, 0.0
        try:
            yield self.parts.transformer
        finally:
            self._lora.strength = strength

    @contextmanager
    def _as_target(self) -> Iterator[None]:
        if self._target is None:
            yield
            return
        kept = [parameter.detach().clone() for parameter in self._learned]
        _write(self._learned, self._target.values())
        try:
            yield
        finally:
            _write(self._learned, kept)


class _Average(nn.Module):
    """Running average of parameters, in a checkpoint as they are.

    Args:
        parameters: What is averaged.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        for number, parameter in enumerate(parameters):
            self.register_buffer(f"value_{number}", parameter.detach().float().clone())
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def values(self) -> list[Tensor]:
        """The averages, in order."""
        return [value for name, value in self.named_buffers() if name != "step"]

    @torch.no_grad()
    def follow(self, parameters: list[nn.Parameter], decay: float, step: int) -> None:
        """Blend in what the optimiser made in the step before; once for each step."""
        seen = self.get_buffer("step")
        if step <= int(seen):
            return
        for value, parameter in zip(self.values(), parameters, strict=True):
            value.lerp_(parameter.detach().float(), 1 - decay)
        seen.fill_(step)


@torch.no_grad()
def _write(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _doubled(given: Conditioning) -> Conditioning:
    """Conditions for both halves of a guided batch; the negative one does not see the picture."""
    both = {
        field.name: torch.cat((value, value))
        for field in fields(Conditioning)
        if (value := getattr(given, field.name)) is not None
    }
    for name in ("clip_states", "clip_mask"):
        if name in both:
            shown = getattr(given, name)
            both[name] = torch.cat((torch.zeros_like(shown), shown))
    return replace(given, **both)
