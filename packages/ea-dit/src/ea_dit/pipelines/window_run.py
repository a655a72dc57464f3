"""One window of a request: conditions, denoising, decoding, and what the next window is given.

Shapes: B batch, C latent channels, T frames; t, h, w the latent sizes.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance, LoopState, Memory, Sampler, denoise_steps, takes_variance
from ea_dit.diffusion.iddpm_sampling import HeldFrames
from ea_dit.pipelines.checks import requested_sampler, requested_skipping
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.conditions import Echo, only
from ea_dit.pipelines.handover import Handover, PathHold, make_handover
from ea_dit.pipelines.inputs import Inputs, make_inputs
from ea_dit.pipelines.predictor import predictor_at
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.stages import Noise, SeededNoise, decode, start_video
from ea_dit.pipelines.states import WindowState
from ea_dit.pipelines.teacache import StepCache
from ea_dit.pipelines.window_frames import WindowFrames
from ea_dit.pipelines.windows import Window, window_request
from ea_dit.text.base import TextStates


@dataclass(frozen=True)
class Chunk:
    """Frames of a video that are done.

    Attributes:
        frames: float32 in 0 ... 1, (B, 3, T, H, W), on the CPU.
        latents: Scaled latents that no chunk before had: the first chunk of a window has all of the window.
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
    ) -> Generator[Chunk, None, Handover | None]:
        """Makes a window.

        Args:
            window: Which.
            after: The next one, None for the last.
            handover: Of the window before, None for the first.

        Yields:
            The frames that are done, as they are decoded: those that the next window does not make again.

        Returns:
            What the next window is given.
        """
        run, parts = self.run, self.parts
        state = run.before()
        if state is None or not state.finished:
            state = self._denoised(window, after, handover, state)
        else:
            self._tell_skipped(state)
            run.report("denoise", state.total, state.total)
        latents = state.loop.latents.to(parts.device)
        if state.noise is not None:
            self._restore(state.noise)
        before = None if handover is None else handover.frames
        frames = WindowFrames(window, after, before, self.request.num_frames)
        decoded = run.stage_in_parts("decode", _finite(decode(parts, latents, window.frames)))
        count = parts.vae.geometry.latent_frames(window.overlap) if window.overlap else 0
        fresh = latents[:, :, count:]
        for index, done in enumerate(frames.finished(decoded)):
            run.meter.add(done, overlap=None if index else window.overlap)
            if only(self.request.conditions, Echo) is not None:
                self.made.append(done[0])
            yield Chunk(done, fresh[:, :, :0] if index else fresh)
        return None if after is None else make_handover(parts, frames.handed, latents, state.path)

    def _denoised(
        self, window: Window, after: Window | None, handover: Handover | None, begun: WindowState | None
    ) -> WindowState:
        """A window before it is decoded; one that was begun goes on where it was."""
        run, parts = self.run, self.parts
        request = self._local(window, handover)
        sampler = requested_sampler(request, parts.process)
        total = len(sampler.timesteps)
        with run.stage("conditions"):
            latents, inputs = self._prepare(request, sampler, handover)
        state = begun or self._state(total, LoopState(0, latents))
        if begun is not None and begun.total != total:
            raise ValueError(f"resume must be of a run of {total} steps, got one of {begun.total}")
        if begun is not None and begun.noise is not None:
            self._restore(begun.noise)  # conditions drew what they had drawn before
        tail = self._kept_path(after)
        with run.stage("denoise", total), parts.using("transformer"):
            followed = handover if self._follows_path else None
            hold = inputs.hold(sampler) if followed is None else PathHold(followed)
            cache = self._cache(state)
            start = replace(state, path=tuple(step.to(parts.device) for step in state.path))
            latents, path = self._denoise(sampler, start, inputs, hold, cache, tail)
            if handover is not None and self.request.join == "latents":
                latents = handover.blended(latents)
        finished = self._state(total, LoopState(total, latents), path, finished=True, cache=cache)
        run.report_state(finished)
        return finished

    def _cache(self, state: WindowState) -> StepCache | None:
        """What leaves out steps of a window, where the request asks for it."""
        skipping = requested_skipping(self.request, self.parts.traits)
        if skipping is None:
            return None
        self._tell_skipped(state)
        before = state.skipping
        return StepCache(skipping, None if before is None else before.to(self.parts.device))

    def _tell_skipped(self, state: WindowState) -> None:
        self.run.calls = state.total * state.windows
        if state.skipping is not None:
            self.run.skipped[self.run.window] = state.skipping.skipped

    def _kept_path(self, after: Window | None) -> int:
        """How many latents at the end of a window the next one has to know before every call."""
        if after is None or not self._follows_path:
            return 0
        return self.parts.vae.geometry.latent_frames(after.overlap)

    def _state(
        self,
        total: int,
        loop: LoopState,
        path: Sequence[Tensor] = (),
        *,
        finished: bool = False,
        cache: StepCache | None = None,
    ) -> WindowState:
        skipping = None if cache is None else cache.state
        return WindowState(
            window=self.run.window,
            windows=self.run.windows,
            total=total,
            loop=loop,
            finished=finished,
            noise=self.noise.state() if isinstance(self.noise, SeededNoise) else None,
            path=tuple(path),
            skipping=skipping.finished() if skipping is not None and finished else skipping,
        )

    def _restore(self, state: Tensor) -> None:
        """Lets the draws follow that followed before."""
        if isinstance(self.noise, SeededNoise):
            self.noise.restore(state)

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
        begun: WindowState,
        inputs: Inputs,
        hold: HeldFrames | PathHold | None,
        cache: StepCache | None,
        tail: int,
    ) -> tuple[Tensor, list[Tensor]]:
        """The latents after the last step, and the path: the last `tail` latents before every call."""
        run, path = self.run, list(begun.path)
        total = len(sampler.timesteps)

        def on_state(state: LoopState) -> None:
            _check_finite(state.latents, f"step {state.done} of {total}")
            run.report_latents(state.done, state.latents)
            if tail:
                path.append(state.latents[:, :, -tail:])
            reached = self._state(total, state, path, cache=cache)
            self._tell_skipped(reached)
            run.report("denoise", state.done, total)
            run.report_state(reached)

        start = _on_device(begun.loop, self.parts.device)
        if start.done:
            run.report("denoise", start.done, total)
        else:
            run.report_latents(0, start.latents)
        if tail and not path:
            path.append(start.latents[:, :, -tail:])
        channels = self.parts.traits.latent_channels * (2 if takes_variance(sampler) else 1)
        held = hold if isinstance(hold, HeldFrames) else None
        latents = denoise_steps(
            predictor_at(
                self.parts,
                self.texts[min(run.window, len(self.texts) - 1)],
                inputs,
                self.guidance,
                channels=channels,
                hold=held,
                timesteps=sampler.timesteps,
                cache=cache,
            ),
            start,
            sampler,
            draw=self.noise,
            hold=hold,
            on_state=on_state,
            should_stop=run.should_stop,
        )
        return latents, path


def _on_device(state: LoopState, device: torch.device) -> LoopState:
    """A state that was read from a file, where the network is."""
    memory = state.memory
    moved = Memory(
        outputs=tuple(output.to(device) for output in memory.outputs),
        base=None if memory.base is None else memory.base.to(device),
        partial=None if memory.partial is None else memory.partial.to(device),
    )
    return LoopState(state.done, state.latents.to(device), moved)


def _finite(decoded: Iterator[Tensor]) -> Iterator[Tensor]:
    for frames in decoded:
        _check_finite(frames, "decoding")
        yield frames


def _check_finite(values: Tensor, where: str) -> None:
    """Stops a run whose result would be black, at the step where it went wrong."""
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"dtype overflows or weights are broken: {where} is not finite; float32 reaches furthest"
        )
