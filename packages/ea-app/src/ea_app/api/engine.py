"""The engine: one loaded model that runs jobs."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from ea_app.api.check import check_job
from ea_app.api.checkpoint import Resume
from ea_app.api.enhance import enhance
from ea_app.api.generation import Generation, Prepared, prepare
from ea_app.api.inputs import Source
from ea_app.api.job import CancelToken, Job, find_model, make_job
from ea_app.api.loras import (
    LoraLike,
    LoraSource,
    concerning_loras,
    find_loras,
    lora_entries,
    loras_in_use,
    loras_notes,
    uses_of,
)
from ea_app.api.progress import EventCallback, ProgressCallback
from ea_app.api.record import make_record
from ea_app.api.result import Result
from ea_app.api.weights import concerning_weights, find_weights, paths_of
from ea_app.catalog import Model
from ea_app.limits import limits_of
from ea_app.options import OPTIONS, concerning
from ea_dit.pipelines import GenerationPipeline, GenerationRequest, load_pipeline
from ea_dit.pipelines.number_types import NumberTypes, check_vae_dtype
from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.placement import resolve_mode


class Engine:
    """A loaded model. Make one with `Engine.load`.

    Args:
        model: Its catalogue entry.
        pipeline: Its loaded parts.
        weights: What was loaded beside its directory, by option key, for records.
        loras: What is over its transformer, for records.
    """

    def __init__(
        self,
        model: Model,
        pipeline: GenerationPipeline,
        weights: Mapping[str, Source] | None = None,
        loras: Sequence[LoraSource] = (),
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.weights = dict(weights or {})
        self.loras = tuple(loras)
        self._running: CancelToken | None = None

    @classmethod
    def load(
        cls,
        model: str | Model = "default",
        *,
        device: str = "auto",
        dtype: str | NumberTypes = "auto",
        memory: str = "auto",
        threads: int | None = None,
        motion_module: str | Path | None = None,
        transformer_weights: str | Path | None = None,
        loras: Sequence[LoraLike] = (),
    ) -> Self:
        """Load a model.

        Args:
            model: A bundled name, a directory, a hub id, or what `catalog.find` gave; for weights in pickles
                what it gave with `allow_pickle=True`.
            device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
            dtype: "auto" (what suits the device), "float32", "bfloat16" or "float16"; with `NumberTypes` one
                for the autoencoder too. It is in float32 by itself where it overflows in float16.
            memory: "auto" (what fits the device, without rounding weights), "model_full_load",
                "model_cpu_offload", "model_cpu_offload_and_qfloat8", "sequential_cpu_offload" or
                "low_gpu_memory_mode".
            threads: CPU threads of the whole process. The last bits of a result depend on their number; None
                leaves it as it is.
            motion_module: File of V1's motion modules; None looks for one in the directory.
            transformer_weights: File or folder of a personalised checkpoint, whose tensors replace those of
                the transformer (of V1: of the image model, which the motion modules complete).
            loras: LoRA files over the transformer, each "FILE:WEIGHT", a path, (path, weight), or what
                `ea_app.api.loras.find_loras` gave. Their changes add up.

        Raises:
            InputError: An unknown model, device, dtype or memory mode, a checkpoint that is not exactly as
                its config says, or a LoRA that does not fit.
        """
        over = find_loras(loras)
        weights = find_weights({"motion_module": motion_module, "transformer_weights": transformer_weights})
        paths = paths_of(weights)
        if isinstance(model, str):
            model = find_model(model, motion_module=paths.get("motion_module"))
        with concerning("device"):
            place = resolve_device(device)
        with concerning("dtype"):
            numbers = NumberTypes.of(dtype)
            number = resolve_dtype(numbers.others, place)
        with concerning("vae_dtype"):
            check_vae_dtype(numbers.vae)
        with concerning("memory"):
            mode = memory if memory == "auto" else resolve_mode(memory)
        if threads is not None:
            torch.set_num_threads(threads)
        with concerning_weights(paths), concerning_loras(over):
            try:
                pipeline = load_pipeline(
                    model.directory,
                    dtype=NumberTypes(number, numbers.vae),
                    device=place,
                    memory=mode,
                    loras=uses_of(over),
                    allow_pickle=model.allow_pickle,
                    **paths,
                )
            except OSError as error:
                raise ValueError(f"{model.directory} cannot be read: {error}") from error
        return cls(model, pipeline, weights, over)

    @staticmethod
    def check(
        job: Job | GenerationRequest,
        model: str | Model = "default",
        *,
        motion_module: str | Path | None = None,
        transformer_weights: str | Path | None = None,
        loras: Sequence[LoraLike] = (),
    ) -> None:
        """Refuse a job that a model cannot do, before loading the model.

        Args:
            job: From `ea_app.api.make_job`, or a request with tensors.
            model: As for `load`.
            motion_module: As for `load`.
            transformer_weights: As for `load`.
            loras: As for `load`.

        Raises:
            InputError: What is wrong and what is allowed; what `generate` would say.
        """
        check_job(
            job,
            model,
            motion_module=motion_module,
            transformer_weights=transformer_weights,
            loras=find_loras(loras),
        )

    @property
    def memory_note(self) -> str | None:
        """The memory mode and why it was chosen, where there was a choice and the user left it."""
        placement = self.pipeline.components.placement
        return f"memory: {placement.mode}; {placement.reason}" if placement and placement.reason else None

    @property
    def vae_note(self) -> str | None:
        """The number type of the autoencoder, where it is not that of the rest."""
        parts = self.pipeline.components
        if parts.vae_dtype == parts.dtype:
            return None
        overflows = parts.traits.vae_overflows and parts.dtype == torch.float16
        reason = ": it overflows in float16" if overflows else ""
        return f"vae-dtype: the autoencoder runs in {_name(parts.vae_dtype)}{reason}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided in loading, a line each."""
        return (*filter(None, (self.memory_note, self.vae_note)), *self.lora_notes)

    @property
    def lora_notes(self) -> tuple[str, ...]:
        """A line for every LoRA: its weight, and how much of it fits."""
        return loras_notes(self.loras, self.pipeline.components.loras)

    @property
    def used_loras(self) -> tuple[LoraSource, ...]:
        """The LoRAs that were loaded and not taken off, with the weights that they have now."""
        return loras_in_use(self.loras, self.pipeline.components.loras)

    def describe(self) -> dict[str, Any]:
        """What this model is and which options it takes, as plain values."""
        limits = limits_of(self.model.info)
        return {
            "name": self.model.name,
            "directory": str(self.model.directory),
            "fingerprint": self.model.fingerprint(),
            "info": self.model.info.to_dict(),
            "modes": sorted(self.pipeline.supports),
            "loras": lora_entries(self.used_loras),
            "machine": self._machine(),
            "options": {option.key: option.describe() for option in OPTIONS},
            "defaults": {
                "size": [limits.width, limits.height],
                "frames": limits.frames,
                "steps": limits.steps,
                "guidance": limits.guidance,
                "fps": limits.fps,
            },
        }

    def job(self, prompt: str, **options: Any) -> Job:
        """Make a job from options and files, see `ea_app.api.make_job`.

        Args:
            prompt: What to show.
            **options: By key: negative, seed, size, frames, window, overlap, join, steps, timesteps,
                teacache, teacache_start, teacache_curve, guidance, sampler, fps, image, last_image, keyframe,
                clip_image, video, mask, strength,
                control, control_from, control_options, reference, camera, trajectory, enhance_prompt,
                enhance_model. What is not given is the model's default; a seed is drawn.

        Raises:
            InputError: The first mistake found.
        """
        return enhance(make_job(self.model, prompt=prompt, **options), self.model)

    def generate(
        self,
        job: Job | GenerationRequest,
        *,
        output: str | Path | None = None,
        on_progress: ProgressCallback | None = None,
        on_event: EventCallback | None = None,
        cancel: CancelToken | None = None,
        resume: Resume | None = None,
    ) -> Result:
        """Run a job.

        Args:
            job: From `job`, or a request with tensors.
            output: File to write (.mp4, .webm, .gif, .webp, .zip of pictures, or .png for one frame), with a
                JSON beside it; both appear together when all is done. None writes nothing.
            on_progress: See `ProgressCallback`.
            on_event: Gets a `Progress` for the same steps and the writing, with previews now and then.
            cancel: Stops the job, also inside a step; so does `Engine.cancel`.
            resume: Folder that keeps steps now and then, and the latents before they are decoded; a job that
                was stopped goes on from there and gives the same frames. Latents stay there in the end, see
                `ea_app.api.decoding`.

        Raises:
            InputError: A mistake in the job or the output, or a folder that holds another job.
            Cancelled: It was cancelled; no output was written.
        """
        prepared = prepare(job, self.model, output)
        token = CancelToken() if cancel is None else cancel
        self._running = token
        try:
            generation = Generation(prepared, on_progress, on_event, token)
            return generation.run(self.pipeline, self._record_of, self.model.info.latent_rgb, resume)
        finally:
            self._running = None

    def cancel(self) -> bool:
        """Stop what `generate` does in another thread; returns whether it was doing anything."""
        token = self._running
        if token is None:
            return False
        token.cancel()
        return True

    def _record_of(self, prepared: Prepared) -> dict[str, Any]:
        """What makes a result, before there is one."""
        record = make_record(
            request=prepared.request.to_dict(),
            inputs=prepared.inputs,
            model=self.model,
            weights=self.weights,
            machine=self._machine(),
            timings={},
            frames={},
            enhancement=prepared.enhancement,
        )
        if used := self.used_loras:
            record["loras"] = lora_entries(used)
        return record

    def _machine(self) -> dict[str, Any]:
        parts = self.pipeline.components
        cuda = parts.device.type == "cuda"
        placement = parts.placement
        eight_bits = None if placement is None else placement.arithmetic
        return {
            "device": str(parts.device),
            "name": torch.cuda.get_device_name(parts.device) if cuda else platform.machine(),
            "dtype": _name(parts.dtype),
            **({} if parts.vae_dtype == parts.dtype else {"vae_dtype": _name(parts.vae_dtype)}),
            "memory": "model_full_load" if placement is None else placement.mode,
            **({} if eight_bits is None else {"linear": eight_bits.name}),
            "threads": torch.get_num_threads(),
        }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
