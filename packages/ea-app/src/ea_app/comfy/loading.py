"""Choosing a model and LoRAs, and having it loaded when a sampler needs it."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from ea_app.api.engine import Engine
from ea_app.api.loras import HEAVIEST
from ea_app.catalog import Model, bundled_names, find
from ea_app.comfy.host import device, lora_names, lora_path, make_room, models_folder
from ea_app.comfy.inputs import (
    CATEGORY,
    CONFIGS,
    DEFAULT_MODEL,
    MEMORY_MODES,
    MODEL,
    MODEL_TYPES,
    MODELS,
    PRECISIONS,
    choice,
)
from ea_dit.pipelines import read_outline
from ea_dit.pipelines.outline import Outline

_LOG = logging.getLogger(__name__)
_STEERED = ("control", "camera")


class EngineSlot:
    """Holds at most one engine: what a loader node gave, and all that was made of it by LoRA nodes.

    Args:
        model: What it loads.
        memory: Memory mode.
        dtype: Number type.
    """

    def __init__(self, model: Model, memory: str, dtype: str) -> None:
        self._model, self._memory, self._dtype = model, memory, dtype
        self._engine: Engine | None = None
        self._device = ""

    def engine(self, loras: dict[Path, float]) -> Engine:
        """The engine with these LoRAs at these weights.

        Weights of a LoRA that is there change at once, and 0 is as if it was not there, to the bit; another
        LoRA means loading again.

        Raises:
            InputError: The model or a LoRA cannot be used.
        """
        place = device()
        if self._engine is None or place != self._device or not set(loras) <= self._paths(self._engine):
            self._engine = None  # makes room first
            make_room()
            self._engine = Engine.load(
                self._model, device=place, dtype=self._dtype, memory=self._memory, loras=list(loras.items())
            )
            self._device = place
            for note in self._engine.notes:
                _LOG.info(note)
        overlays = self._engine.pipeline.components.loras
        for lora, overlay in zip(self._engine.loras, overlays, strict=True):
            overlay.strength = loras.get(lora.source.path, 0.0)
        return self._engine

    @staticmethod
    def _paths(engine: Engine) -> set[Path]:
        return {lora.source.path for lora in engine.loras}


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """What goes along the links of a workflow: a model with LoRAs, not yet loaded.

    Attributes:
        slot: Loads it.
        outline: What it is and can do.
        loras: Weights by file; a file that is given twice adds up.
    """

    slot: EngineSlot
    outline: Outline
    loras: dict[Path, float] = field(default_factory=dict)

    @property
    def steered(self) -> bool:
        """Whether it follows a control video or a camera path instead of completing pictures."""
        return self.outline.traits.variant in _STEERED

    def with_lora(self, path: Path, weight: float) -> Self:
        """The same model with one more LoRA.

        Raises:
            ValueError: The weights of this file add up to more than is allowed.
        """
        total = self.loras.get(path, 0.0) + weight
        if abs(total) > HEAVIEST:
            raise ValueError(f"strength_model: {path.name} adds up to {total:g}; at most {HEAVIEST:g}")
        return replace(self, loras={**self.loras, path: total})

    def load(self) -> Engine:
        """The engine, loaded if it was not."""
        with torch.inference_mode(mode=False):
            return self.slot.engine(self.loras)


class LoadEasyAnimateModel:
    """Chooses a model. All that configs and headers tell is checked here; weights are read by a sampler.

    `config` is only there for old workflows: a model says itself what it is.
    """

    RETURN_TYPES: ClassVar = (MODEL,)
    RETURN_NAMES: ClassVar = ("easyanimate_model",)
    FUNCTION: ClassVar = "loadmodel"
    CATEGORY: ClassVar = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """The released names, then what else is there: other directories, and the bundled model."""
        folder = models_folder()
        listed = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [path.name for path in listed if path.is_dir() and not path.name.startswith(".")]
        names = tuple(dict.fromkeys((*MODELS, *found, *bundled_names())))
        return {
            "required": {
                "model": choice(names, DEFAULT_MODEL),
                "GPU_memory_mode": choice(MEMORY_MODES, "model_cpu_offload"),
                "model_type": choice(MODEL_TYPES, "Inpaint"),
                "config": choice(CONFIGS, CONFIGS[-1]),
                "precision": choice(PRECISIONS, "bf16"),
            }
        }

    def loadmodel(
        self, model: str, GPU_memory_mode: str, model_type: str, **given: str
    ) -> tuple[ChosenModel]:
        """Run the node.

        Raises:
            ValueError: There is no such model, it is broken, or it is of another type.
        """
        chosen = _find(model)
        outline = read_outline(chosen.directory)
        slot = EngineSlot(chosen, GPU_memory_mode, given.get("precision", "bf16"))
        found = ChosenModel(slot=slot, outline=outline)
        wanted = "Control" if found.steered else "Inpaint"
        if model_type != wanted:
            raise ValueError(f"model_type: must be {wanted} for {model}, got {model_type}")
        return (found,)


class LoadEasyAnimateLora:
    """Puts a LoRA over a model. `lora_cache` changes nothing: weights of the model are never overwritten."""

    RETURN_TYPES: ClassVar = (MODEL,)
    RETURN_NAMES: ClassVar = ("easyanimate_model",)
    FUNCTION: ClassVar = "load_lora"
    CATEGORY: ClassVar = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {
            "required": {
                "easyanimate_model": (MODEL,),
                "lora_name": (lora_names(), {"default": None}),
                "strength_model": ("FLOAT", {"default": 1.0, "min": -100.0, "max": 100.0, "step": 0.01}),
                "lora_cache": choice((False, True), default=False),
            }
        }

    def load_lora(
        self, easyanimate_model: ChosenModel, lora_name: str | None, strength_model: float, **_: object
    ) -> tuple[ChosenModel]:
        """Run the node."""
        if lora_name is None:
            return (easyanimate_model,)
        return (easyanimate_model.with_lora(lora_path(lora_name).absolute(), strength_model),)


def _find(name: str) -> Model:
    folder = models_folder() / name
    if not folder.is_dir() and name not in bundled_names():
        raise ValueError(f"model: {folder} is missing; put the model directory there")
    return find(str(folder) if folder.is_dir() else name, download=False)
