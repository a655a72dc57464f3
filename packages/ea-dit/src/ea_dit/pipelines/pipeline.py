"""From a request to frames: tensors in, tensors out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance, Sampler, denoise_steps, takes_variance
from ea_dit.diffusion.loop import Cancelled
from ea_dit.pipelines.checks import check_request, requested_sampler
from ea_dit.pipelines.components import Components, load_components
from ea_dit.pipelines.inputs import Inputs, make_inputs
from ea_dit.pipelines.predictor import predictor_at
from ea_dit.pipelines.request import GenerationRequest, Mode
from ea_dit.pipelines.stages import (
    Noise,
    PromptStates,
    decode,
    encode_prompts,
    model_text,
    seeded_noise,
    start_video,
)

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage (text, conditions, denoise, decode), steps done from 0 on, and their total."""


@dataclass(frozen=True)
class GenerationResult:
    """What a run gives.

    Attributes:
        frames: float32 in 0 ... 1, (B, 3, T, H, W), on the CPU.
        latents: Scaled latents after the last step.
        request: The request as it was run.
        timings: Seconds of every stage and in total.
    """

    frames: Tensor
    latents: Tensor
    request: GenerationRequest
    timings: dict[str, float]

    def frames_uint8(self) -> Tensor:
        """Frames as uint8 (B, T, H, W, 3), for writers."""
        return (self.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()


@dataclass
class _Run:
    """Progress, cancellation and clock of one run."""

    on_progress: ProgressCallback | None
    should_stop: Callable[[], bool] | None
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[None]:
        """Times a stage and reports its start and end."""
        if self.should_stop is not None and self.should_stop():
            raise Cancelled(f"stopped before stage {name!r}")
        self.report(name, 0, total)
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start
        if total == 1:
            self.report(name, 1, 1)

    def report(self, name: str, step: int, total: int) -> None:
        """Tells the caller."""
        if self.on_progress is not None:
            self.on_progress(name, step, total)


class GenerationPipeline:
    """Runs requests on one model.

    Args:
        components: The loaded parts.
    """

    def __init__(self, components: Components) -> None:
        self.components = components
        self.supports: frozenset[Mode] = components.traits.modes

    @torch.no_grad()
    def __call__(
        self,
        request: GenerationRequest,
        *,
        prompts: PromptStates | None = None,
        noise: Noise | None = None,
        on_progress: ProgressCallback | None = None,
        on_latents: Callable[[int, Tensor], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> GenerationResult:
        """Generates.

        Args:
            request: The job.
            prompts: Encoded prompts instead of the request's; their number is the batch.
            noise: Source of random draws instead of the request's seed.
            on_progress: See `ProgressCallback`.
            on_latents: Called with 0 and the initial latents, then with k and the latents after step k.
            should_stop: Asked between steps and stages; True raises `Cancelled`.

        Returns:
            Frames and what led to them.

        Raises:
            ValueError: For a request that is wrong or that this model cannot do.
            Cancelled: If `should_stop` said so.
        """
        request.validate()
        parts = self.components
        check_request(request, parts.traits, parts.process)
        run = _Run(on_progress, should_stop)
        start = time.perf_counter()
        noise = seeded_noise(request.seed) if noise is None else noise
        sampler = requested_sampler(request, parts.process)
        guidance = self._guidance(request, sampler)

        with run.stage("text"):
            if prompts is None:
                prompts = encode_prompts(parts, request, guided=guidance.active)
            text = model_text(prompts, parts, guided=guidance.active)

        with run.stage("conditions"):
            latents, inputs = self._prepare(request, sampler, len(prompts.positive), noise)
            hold = inputs.hold(sampler)

        with run.stage("denoise", len(sampler.timesteps)), parts.using("transformer"):
            if on_latents is not None:
                on_latents(0, latents)

            def on_step(step: int, total: int, after: Tensor) -> None:
                if on_latents is not None:
                    on_latents(step, after)
                run.report("denoise", step, total)

            channels = parts.traits.latent_channels * (2 if takes_variance(sampler) else 1)
            latents = denoise_steps(
                predictor_at(parts, text, inputs, guidance, channels=channels, hold=hold),
                latents,
                sampler,
                draw=noise,
                hold=hold,
                on_step=on_step,
                should_stop=should_stop,
            )

        with run.stage("decode"):
            frames = decode(parts, latents, request.num_frames)
        return GenerationResult(
            frames, latents, request, {**run.timings, "total": time.perf_counter() - start}
        )

    def _guidance(self, request: GenerationRequest, sampler: Sampler) -> Guidance:
        guided = self.components.traits.guided_channels if takes_variance(sampler) else None
        return Guidance(scale=request.guidance_scale, rescale=request.guidance_rescale, cfg_channel=guided)

    def _prepare(
        self, request: GenerationRequest, sampler: Sampler, batch: int, noise: Noise
    ) -> tuple[Tensor, Inputs]:
        """Initial latents and conditions. The initial noise is the first draw, whatever follows."""
        parts = self.components
        shape = parts.vae.geometry.latent_shape(
            batch=batch,
            channels=parts.traits.latent_channels,
            num_frames=request.num_frames,
            height=request.height,
            width=request.width,
        )
        drawn = noise(shape).to(device=parts.device, dtype=parts.dtype)
        latents = sampler.start(drawn, start_video(request, parts))
        inputs = make_inputs(request, parts, shape, noise)
        return inputs.start(latents), inputs


def load_pipeline(
    directory: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    memory: str = "auto",
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    allow_pickle: bool = False,
) -> GenerationPipeline:
    """Loads a released model directory as a pipeline; see `load_components`."""
    return GenerationPipeline(
        load_components(
            directory,
            dtype=dtype,
            device=device,
            memory=memory,
            motion_module=motion_module,
            transformer_weights=transformer_weights,
            allow_pickle=allow_pickle,
        )
    )
