"""Put trained parts together into a model directory in the released layout."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ea_dit import load_transformer, save_transformer
from ea_dit.diffusion.flow import FlowMatching
from ea_dit.text.bytes import load_byte_encoder, save_byte_encoder
from ea_kernels.runtime.files import write_json
from ea_vae import load_vae, save_vae

WEIGHTS_DTYPE = torch.float16
"""Half the size of float32; eight more times precise than bfloat16 in the range that trained weights have."""


def bundle_model(
    *,
    vae: Path,
    text: Path,
    transformer: Path,
    output: Path,
    info: Mapping[str, Any],
    training: Mapping[str, Any],
) -> int:
    """Write `output` whole: parts as float16, schedule, `model.json` and `training.json`.

    Args:
        vae: Export of `default-vae`.
        text: Export of `default-text`.
        transformer: Export of `default-dit`.
        output: Model directory; an existing one is replaced at the end.
        info: Content of `model.json`: name, native size, defaults, limits.
        training: What the parts were trained with and what they reached.

    Returns:
        Size of all weights in bytes.

    Raises:
        ValueError: A part is missing or does not load.
    """
    draft = output.with_name(f".{output.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_vae(load_vae(vae), draft / "vae", dtype=WEIGHTS_DTYPE)
    encoder = load_byte_encoder(text)
    save_byte_encoder(encoder, draft / "text_encoder", dtype=WEIGHTS_DTYPE)
    save_transformer(load_transformer(transformer), draft / "transformer", dtype=WEIGHTS_DTYPE)
    (draft / "scheduler").mkdir()
    write_json(draft / "scheduler" / "scheduler_config.json", FlowMatching().to_dict())
    write_json(draft / "model.json", {**info, "max_prompt_bytes": encoder.config.max_bytes})
    write_json(draft / "training.json", json.loads(json.dumps(training)))
    if output.exists():
        shutil.rmtree(output)
    draft.replace(output)
    return sum(path.stat().st_size for path in output.rglob("*.safetensors"))
