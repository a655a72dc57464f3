"""From a request to frames: tensors in, tensors out."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance, Sampler, takes_variance
from ea_dit.lora import LoraUse
from ea_dit.pipelines.checks import check_request, requested_sampler
from ea_dit.pipelines.components import Components, load_components
from ea_dit.pipelines.graphs import check_graphed
from ea_dit.pipelines.number_types import NumberTypes
from ea_dit.pipelines.request import GenerationRequest, Mode
from ea_dit.pipelines.run import ProgressCallback, Run
from ea_dit.pipelines.seams import Seam
from ea_dit.pipelines.stages import Noise, PromptStates, encode_prompts, model_text, seeded_noise
from ea_dit.pipelines.states import all_finished, check_states
from ea_dit.pipelines.window_run import Chunk, WindowRun
from ea_dit.pipelines.windows import cut


@dataclass(frozen=True)
class GenerationResult:
    """What a run gives.

    Attributes:
        frames: float32 in 0 ... 1, (B, 3, T, H, W), on the CPU.
        latents: Scaled latents after the last step.
        request: The request as it was run.
        timings: Seconds of every stage and in total.
        seams: The joints of a video that was made in windows.
    """

    frames: Tensor
    latents: Tensor
    request: GenerationRequest
    timings: dict[str, float]
    seams: tuple[Seam, ...] = ()

    def frames_uint8(self) -> Tensor:
        """Frames as uint8 (B, T, H, W, 3), for writers."""
        return to_uint8(self.frames)


class GenerationPipeline:
    """Runs requests on one model.

    Args:
        components: The loaded parts.
    """

    def __init__(self, components: Components) -> None:
        self.components = components
        self.supports: frozenset[Mode] = components.traits.modes

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
            on_latents: Called with 0 and the initial latents, then with k and the latents after step k; anew
                for every window.
            should_stop: Asked between steps and stages; True raises `Cancelled`.

        Returns:
            Frames and what led to them.

        Raises:
            ValueError: For a request that is wrong or that this model cannot do.
            Cancelled: If `should_stop` said so.
        """
        run = Run(on_progress=on_progress, on_latents=on_latents, should_stop=should_stop)
        chunks = list(self.stream(request, prompts=prompts, noise=noise, run=run))
        one = len(chunks) == 1
        return GenerationResult(
            chunks[0].frames if one else torch.cat([chunk.frames for chunk in chunks], dim=2),
            chunks[0].latents if one else torch.cat([chunk.latents for chunk in chunks], dim=2),
            request,
            run.timings,
            run.meter.seams(),
        )

    @torch.no_grad()
    def stream(
        self,
        request: GenerationRequest,
        *,
        prompts: PromptStates | None = None,
        noise: Noise | None = None,
        run: Run | None = None,
    ) -> Generator[Chunk, None, None]:
        """Generates, and gives frames as soon as they are decoded: slice by slice, window by window.

        Args:
            request: The job.
            prompts: See `__call__`.
            noise: See `__call__`.
            run: Takes progress, and has timings and seams in the end.

        Yields:
            Chunks whose frames, one after the other, are the video.

        Raises:
            ValueError: For a request that is wrong or that this model cannot do.
            Cancelled: If the run was stopped.
        """
        run = Run() if run is None else run
        parts, start = self.components, time.perf_counter()
        request.validate()
        check_request(request, parts.traits, parts.process)
        if parts.graphs is not None:
            check_graphed(parts.graphs, parts.device, request)
        windows = cut(request, parts.traits, parts.vae.geometry)
        check_states(run.resume, len(windows))
        noise = seeded_noise(request.seed) if noise is None else noise
        guidance = self._guidance(request, requested_sampler(request, parts.process))
        texts, batch = [], 1
        if all_finished(run.resume, len(windows)):
            batch = len(run.resume[0].loop.latents)
        else:
            with run.stage("text"):
                shown = [prompts] if prompts is not None else self._encoded(request, guided=guidance.active)
                texts = [model_text(states, parts, guided=guidance.active) for states in shown]
            batch = len(shown[0].positive)
        if batch > 1 and len(windows) > 1:
            raise ValueError(f"window_frames needs one prompt at a time, got {batch}")
        shared = WindowRun(
            parts=parts,
            request=request,
            texts=texts,
            guidance=guidance,
            batch=batch,
            noise=noise,
            run=run,
        )
        run.windows, handover = len(windows), None
        for run.window, (window, after) in enumerate(zip_longest(windows, windows[1:])):
            handover = yield from shared.make(window, after, handover)
        run.timings["total"] = time.perf_counter() - start

    def _encoded(self, request: GenerationRequest, *, guided: bool) -> list[PromptStates]:
        """States of what every window shows; a text that comes again is encoded once."""
        texts = request.window_prompts or (request.prompt,)
        known = {
            text: encode_prompts(self.components, replace(request, prompt=text), guided=guided)
            for text in dict.fromkeys(texts)
        }
        return [known[text] for text in texts]

    def _guidance(self, request: GenerationRequest, sampler: Sampler) -> Guidance:
        guided = self.components.traits.guided_channels if takes_variance(sampler) else None
        return Guidance(scale=request.guidance_scale, rescale=request.guidance_rescale, cfg_channel=guided)


def to_uint8(frames_B3THW: Tensor) -> Tensor:
    """Frames 0 ... 1 as uint8 (B, T, H, W, 3), for writers."""
    return (frames_B3THW * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()


def load_pipeline(
    directory: str | Path,
    *,
    dtype: str | torch.dtype | NumberTypes = "auto",
    device: str | torch.device = "auto",
    memory: str = "auto",
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    loras: Sequence[LoraUse] = (),
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
            loras=loras,
            allow_pickle=allow_pickle,
        )
    )
