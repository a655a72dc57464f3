"""`model_index.json`: which pipeline and which classes diffusers starts a model directory with."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ea_app.api.conversion_plan import Layout
from ea_app.api.networks import Network
from ea_dit.pipelines.layout import (
    SCHEDULER,
    SECOND_TEXT_ENCODER,
    TEXT_ENCODER,
    TOKENIZER,
    TRANSFORMER,
    VAE,
)
from ea_dit.pipelines.variants import Variant, traits_of
from ea_kernels.runtime.files import CONFIG_NAME, read_json, write_json

PIPELINE_INDEX = "model_index.json"

_CLASSES: Mapping[Variant, str] = MappingProxyType(
    {
        "text": "EasyAnimatePipeline",
        "inpaint": "EasyAnimateInpaintPipeline",
        "control": "EasyAnimateControlPipeline",
        "camera": "EasyAnimateControlPipeline",
    }
)


def write_index(source: Path, draft: Path, transformer: Network | None, layout: Layout) -> list[str]:
    """Writes `model_index.json`, from which diffusers starts; EasyAnimate and this project need none.

    Args:
        source: The model directory.
        draft: Its converted copy.
        transformer: Of the source; None if that has none.
        layout: Of the copy.

    Returns:
        What the user should know.
    """
    existing = read_json(source / PIPELINE_INDEX) if (source / PIPELINE_INDEX).is_file() else None
    if layout == "easyanimate":
        if existing is not None and existing.get("_class_name") not in _CLASSES.values():
            write_json(draft / PIPELINE_INDEX, existing)
        return []
    index = None if transformer is None else _index(source, traits_of(transformer.config).variant)
    if index is None:
        return [f"no {PIPELINE_INDEX}: diffusers' pipelines do not read these text encoders; load the parts"]
    write_json(draft / PIPELINE_INDEX, index)
    return []


def _index(source: Path, variant: Variant) -> dict[str, Any] | None:
    """What diffusers starts from, None if its pipelines have no place for a part."""
    places = [source / name / CONFIG_NAME for name in (TEXT_ENCODER, VAE)]
    tokenizer = source / TOKENIZER / "tokenizer_config.json"
    wanted = (*places, tokenizer, source / SCHEDULER)
    if (source / SECOND_TEXT_ENCODER).exists() or not all(file.is_file() for file in wanted):
        return None
    encoder = read_json(places[0]).get("architectures") or []
    reader, scheduler = read_json(tokenizer).get("tokenizer_class"), read_json(source / SCHEDULER)
    if not encoder or reader is None or variant not in _CLASSES:
        return None
    return {
        "_class_name": _CLASSES[variant],
        "scheduler": ["diffusers", scheduler.get("_class_name")],
        TEXT_ENCODER: ["transformers", encoder[0]],
        TOKENIZER: ["transformers", reader],
        TRANSFORMER: ["diffusers", "EasyAnimateTransformer3DModel"],
        VAE: ["diffusers", "AutoencoderKLMagvit"],
    }
