"""Train the denoiser of a model directory on a manifest: any generation, any mode, whole or an adapter.

What depends on the model (loss, mode, masks, control) is "auto" and follows from its configs.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from ea_data.geometry.tokens import FrameGrid
from ea_data.training.recipe import DataRecipe
from ea_data.training.shapes import ShapeOptions
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.outline import Outline
from ea_dit.pipelines.variants import Traits
from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.data import DataConfig, ManifestBatches
from ea_train.encoded.plan import EncodingPlan
from ea_train.encoded.samples import EncodedSamples
from ea_train.model import ModelConfig, describe, fingerprints, grown_config, load_networks, read_model
from ea_train.objectives.config import ObjectiveConfig, make_objective
from ea_train.recipes.watching import clip_maker, requests_of
from ea_train.samples import SampleConfig
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_conditions import ConditionConfig, check_objective, resolve_mode
from ea_train.tasks.denoise_keeping import KeepEncodings
from ea_train.tasks.denoise_live import EncodingConfig, LiveClips
from ea_train.tasks.denoise_validation import ValidationConfig
from ea_vae import LatentGeometry

_POSITIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(RunConfig):
    """Settings of `ea-train finetune`.

    Attributes:
        model: Which networks.
        data: Which clips.
        encoding: How pixels become latents.
        conditions: What the network is given.
        objective: What is minimised.
        adapter: What learns.
        validation: How held-out clips are judged.
        samples: Clips to look at.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    conditions: ConditionConfig = field(default_factory=ConditionConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    validation: ValidationConfig = field(default_factory=lambda: ValidationConfig(positions=_POSITIONS))
    samples: SampleConfig = field(default_factory=SampleConfig)


def config(preset: Literal["tiny", "cpu", "gpu"]) -> FinetuneConfig:
    """Settings: `tiny` for tests, `cpu` for small models, `gpu` as released models were finetuned."""
    if preset == "tiny":
        return FinetuneConfig(
            loop=LoopConfig(steps=4, batch_size=2, log_every=1, ema_decay=0.0),
            optim=OptimConfig(lr=1e-3, warmup_steps=1, decay="constant"),
            data=_data(side=32, frames=5, validation_clips=2),
            validation=ValidationConfig(positions=(0.25, 0.75)),
        )
    if preset == "cpu":
        return FinetuneConfig(
            loop=LoopConfig(steps=1000, batch_size=4, precision="bf16", validate_every=250),
            optim=OptimConfig(lr=1e-4, warmup_steps=50, decay="constant"),
            data=_data(side=64, frames=17, validation_clips=16),
        )
    return FinetuneConfig(
        loop=LoopConfig(
            steps=10000,
            batch_size=1,
            precision="bf16",
            ema_decay=0.0,
            validate_every=500,
            num_workers=4,
        ),
        optim=OptimConfig(
            lr=2e-5,
            betas=(0.9, 0.999),
            weight_decay=0.05,
            warmup_steps=100,
            decay="constant",
            max_grad_norm=0.05,
        ),
        model=ModelConfig(recompute=True, low_vram=True),
        data=DataConfig(
            recipe=DataRecipe(
                shapes=ShapeOptions(
                    video_sample_size=256,
                    image_sample_size=1024,
                    token_sample_size=512,
                    video_sample_n_frames=49,
                    random_hw_adapt=True,
                    training_with_video_token_length=True,
                )
            )
        ),
    )


def _data(*, side: int, frames: int, validation_clips: int) -> DataConfig:
    shapes = ShapeOptions(
        video_sample_size=side,
        image_sample_size=side,
        token_sample_size=side,
        video_sample_n_frames=frames,
        enable_bucket=False,
    )
    return DataConfig(validation_clips=validation_clips, recipe=DataRecipe(shapes=shapes))


def build(
    settings: FinetuneConfig, *, device: torch.device, model: Path | None = None, data: Path | None = None
) -> DenoiseTask:
    """The task. What configs, headers and the manifest tell is checked before any weight is read.

    Args:
        settings: Of the run.
        device: Where the networks live.
        model: Model directory, in the place of `model.path`.
        data: Manifest, in the place of `data.manifest`.

    Raises:
        ValueError: The model, the data and the settings do not fit.
    """
    if model is not None:
        settings = replace(settings, model=replace(settings.model, path=str(model)))
    if data is not None:
        settings = replace(settings, data=replace(settings.data, manifest=str(data)))
    if settings.loop.sharding != "none" and settings.adapter.kind not in ("all", "parts"):
        raise ValueError(
            f"loop.sharding is {settings.loop.sharding!r}; "
            f"adapter.kind {settings.adapter.kind!r} needs 'none'"
        )
    parts, outline = read_model(settings.model)
    transformer, traits = grown_config(settings.model, parts)
    mode = resolve_mode(settings.conditions.mode, traits)
    objective = make_objective(settings.objective, transformer, _process(outline, traits))
    check_objective(mode, objective)
    recipe = on_grid(fitted_recipe(settings.data.recipe, traits, mode, settings.loop), outline.geometry)
    requests = requests_of(settings.samples, outline, traits, transformer, recipe)
    networks, source = live_source(settings, device)
    trained = make_trained(networks.transformer, settings.adapter, seed=settings.loop.seed)
    task = DenoiseTask(
        networks.transformer,
        source,
        objective,
        trained=trained,
        validation=settings.validation,
        recompute=settings.model.recompute,
    )
    task.clips = clip_maker(settings.samples, networks, requests, trained)
    return task


class EncodedRun(Protocol):
    """Settings of runs that train on encoded clips of a manifest."""

    @property
    def loop(self) -> LoopConfig:
        """Batch size and seed."""
        ...

    @property
    def model(self) -> ModelConfig:
        """Which networks."""
        ...

    @property
    def data(self) -> DataConfig:
        """Which clips."""
        ...

    @property
    def conditions(self) -> ConditionConfig:
        """What the network is given."""
        ...

    @property
    def encoding(self) -> EncodingConfig:
        """How pixels become latents."""
        ...


def clips_of(settings: EncodedRun, device: torch.device) -> ManifestBatches:
    """The clips of a run, with what is encoded of them; no weight is read.

    Args:
        settings: Of the run.
        device: Where encoders work, which may decide their number type and so what is found.

    Raises:
        ValueError: The model, the data and the settings do not fit.
    """
    parts, outline = read_model(settings.model)
    _, traits = grown_config(settings.model, parts)
    mode = resolve_mode(settings.conditions.mode, traits)
    recipe = fitted_recipe(settings.data.recipe, traits, mode, settings.loop)
    data = replace(settings.data, recipe=on_grid(recipe, outline.geometry))
    encoded = None
    if data.cache:
        plan = EncodingPlan(
            mode=mode,
            traits=traits,
            geometry=outline.geometry,
            encoders=fingerprints(settings.model, parts, device),
            picture_filter="bilinear" if recipe.buckets is None else "bicubic",
        )
        encoded = EncodedSamples(Path(data.cache), plan, data.cache_mode)
    return ManifestBatches(data, encoded)


def live_source(settings: EncodedRun, device: torch.device) -> tuple[Components, LiveClips]:
    """The networks of a run and the clips that they are given; errors as for `clips_of`."""
    clips = clips_of(settings, device)
    cached = clips.encoded
    networks = load_networks(settings.model, device, seed=settings.loop.seed, late=cached is not None)
    keeping = None if cached is None else KeepEncodings(cached.folder, fill=cached.mode == "fill")
    source = LiveClips(networks, clips, settings.conditions, settings.encoding, keeping)
    source.inputs["model"] = describe(read_model(settings.model)[0])
    return networks, source


def fitted_recipe(recipe: DataRecipe, traits: Traits, mode: str, loop: LoopConfig) -> DataRecipe:
    """The recipe with what the mode needs: masks, control, references; and the loop's batch size and seed.

    Raises:
        ValueError: The recipe asks for something that the model has no input for.
    """
    changes: dict[str, Any] = {"seed": recipe.seed or loop.seed}
    if recipe.buckets is None:
        if recipe.batch_size not in (1, loop.batch_size):
            raise ValueError(
                f"data.recipe.batch_size is {recipe.batch_size}; set loop.batch_size, which is "
                f"{loop.batch_size}"
            )
        changes["batch_size"] = loop.batch_size
    masks = {"inpaint": "inpaint", "frames": "frames"}.get(mode, "none")
    if recipe.masks.draw not in ("none", masks):
        raise ValueError(
            f"data.recipe.masks.draw is {recipe.masks.draw!r}; conditions.mode {mode!r} needs {masks!r}"
        )
    changes["masks"] = replace(recipe.masks, draw=masks)
    control = "none"
    if mode.startswith("control"):
        control = "camera" if "camera" in mode else "video"
    if recipe.control not in ("none", control):
        raise ValueError(
            f"data.recipe.control is {recipe.control!r}; conditions.mode {mode!r} needs {control!r}"
        )
    changes["control"] = control
    if recipe.reference.mode == "none":
        changes["reference"] = _reference(recipe, traits)
    return replace(recipe, **changes)


def on_grid(recipe: DataRecipe, geometry: LatentGeometry) -> DataRecipe:
    """The recipe with lengths of clips that the autoencoder encodes as they are."""
    shapes = recipe.shapes or ShapeOptions()
    if recipe.buckets is not None or shapes.grid != FrameGrid():
        return recipe
    first = geometry.round_frames_up(2)
    step = geometry.round_frames_up(first + 1) - first
    grid = FrameGrid(step=step, causal=first % step == 1)
    return replace(recipe, shapes=replace(shapes, grid=grid))


def _reference(recipe: DataRecipe, traits: Traits) -> Any:
    """As released: the first frame for control models, the first or any other for CLIP."""
    if traits.reference:
        return replace(recipe.reference, mode="first")
    if traits.image_states is not None:
        return replace(recipe.reference, mode="random", first=0.5)
    return recipe.reference


def _process(outline: Outline, traits: Traits) -> Any:
    return traits.schedule if outline.schedule is None else outline.schedule
