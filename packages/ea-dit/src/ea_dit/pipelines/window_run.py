"""One window of a request: conditions, denoising, decoding, and what the next window is given.

Shapes: B batch, C latent channels, T frames; t, h, w the latent sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance, Sampler, denoise_steps, takes_variance
from ea_dit.diffusion.iddpm_sampling import HeldFrames
from ea_dit.pipelines.checks import requested_sampler
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.conditions import Echo, only
from ea_dit.pipelines.handover import Handover, PathHold, cross_faded, make_handover
from ea_dit.pipelines.inputs import Inputs, make_inputs
from ea_dit.pipelines.predictor import predictor_at
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.stages import Noise, decode, start_video
from ea_dit.pipelines.windows import Window, window_request
from ea_dit.text.base import TextStates


@dataclass(frozen=True)
class Chunk:
    """Frames of a video that are done.

    Attributes:
        frames: float32 in 0 ... 1, (B, 3, T, H, W), on the CPU.
        latents: Scaled latents that no chunk before had.
    """

    frames: Tensor
    latents: Tensor


@dataclass(frozen=True, kw_only=True)
class WindowRun:
    """What all windows of a request share.

    Attributes:
        parts: The model.
        request: Of the whole video.
        texts: What windows show, as the network takes it: one for all, or one for each.
        guidance: How the halves of a guided batch are combined.
        batch: Number of prompts.
        noise: Source of all draws.
        run: Progress.
        made: The frames so far, kept where some come again.
    """

    parts: Components
    request: GenerationRequest
    texts: Sequence[TextStates]
    guidance: Guidance
    batch: int
    noise: Noise
    run: Run
    made: list[Tensor] = field(default_factory=list)

    def make(
        self, window: Window, after: Window | None, handover: Handover | None
    ) -> tuple[Chunk, Handover | None]:
        """Makes a window.

        Args:
            window: Which.
            after: The next one, None for the last.
            handover: Of the window before, None for the first.

        Returns:
            The frames that are done: those that the next window does not make again. And its handover.
        """
        run, parts = self.run, self.parts
        request = self._local(window, handover)
        sampler = requested_sampler(request, parts.process)
        with run.stage("conditions"):
            latents, inputs = self._prepare(request, sampler, handover)
        path: list[Tensor] = []
        with run.stage("denoise", len(sampler.timesteps)), parts.using("transformer"):
            followed = handover if self._follows_path else None
            hold = inputs.hold(sampler) if followed is None else PathHold(followed)
            keeps_path = after is not None and self._follows_path
            latents = self._denoise(sampler, latents, inputs, hold, path if keeps_path else None)
            if handover is not None and self.request.join == "latents":
                latents = handover.blended(latents)
        with run.stage("decode"):
            frames = decode(parts, latents, request.num_frames)
            _check_finite(frames, "decoding")
        following = None if after is None else make_handover(parts, frames, latents, path, after)
        count = parts.vae.geometry.latent_frames(window.overlap) if window.overlap else 0
        if handover is not None:
            frames = cross_faded(handover.frames, frames)
        stop = window.frames if after is None else window.frames - after.overlap
        done = frames[:, :, : min(stop, self.request.num_frames - window.start)]
        run.meter.add(done, overlap=window.overlap)
        if only(self.request.conditions, Echo) is not None:
            self.made.append(done[0])
        return Chunk(done, latents[:, :, count:]), following

    def _local(self, window: Window, handover: Handover | None) -> GenerationRequest:
        """The request of a window; the first frames are given where the network has an input for them."""
        if window == Window(0, self.request.num_frames):
            return self.request
        before = None
        if handover is not None and self.parts.traits.takes_frames:
            before = handover.frames[0]
        made = torch.cat(self.made, dim=1) if self.made else None
        return window_request(self.request, window, before, made)

    @property
    def _follows_path(self) -> bool:
        """Whether a window is held on the path of the one before: it has no other input for its frames."""
        without_input = not self.parts.traits.takes_frames or self.request.mode == "video_to_video"
        return self.request.join == "latents" and without_input

    def _prepare(
        self, request: GenerationRequest, sampler: Sampler, handover: Handover | None
    ) -> tuple[Tensor, Inputs]:
        """Initial latents and conditions. The initial noise is the first draw, whatever follows."""
        parts = self.parts
        shape = parts.vae.geometry.latent_shape(
            batch=self.batch,
            channels=parts.traits.latent_channels,
            num_frames=request.num_frames,
            height=request.height,
            width=request.width,
        )
        drawn = self.noise(shape).to(device=parts.device, dtype=parts.dtype)
        latents = sampler.start(drawn, start_video(request, parts))
        inputs = make_inputs(request, parts, shape, self.noise)
        if handover is not None and self.request.join == "latents":
            inputs = handover.conditioned(inputs)
        return inputs.start(latents), inputs

    def _denoise(
        self,
        sampler: Sampler,
        latents: Tensor,
        inputs: Inputs,
        hold: HeldFrames | PathHold | None,
        path: list[Tensor] | None,
    ) -> Tensor:
        run = self.run

        def on_step(step: int, total: int, after: Tensor) -> None:
            _check_finite(after, f"step {step} of {total}")
            run.report_latents(step, after)
            if path is not None:
                path.append(after)
            run.report("denoise", step, total)

        run.report_latents(0, latents)
        if path is not None:
            path.append(latents)
        channels = self.parts.traits.latent_channels * (2 if takes_variance(sampler) else 1)
        held = hold if isinstance(hold, HeldFrames) else None
        return denoise_steps(
            predictor_at(
                self.parts,
                self.texts[min(run.window, len(self.texts) - 1)],
                inputs,
                self.guidance,
                channels=channels,
                hold=held,
            ),
            latents,
            sampler,
            draw=self.noise,
            hold=hold,
            on_step=on_step,
            should_stop=run.should_stop,
        )


def _check_finite(values: Tensor, where: str) -> None:
    """Stops a run whose result would be black, at the step where it went wrong."""
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"dtype overflows or weights are broken: {where} is not finite; float32 reaches furthest"
        )
