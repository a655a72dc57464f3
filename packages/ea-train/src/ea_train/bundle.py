"""Put trained parts together into a model directory in the released layout."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ea_dit import load_transformer, save_transformer
from ea_dit.diffusion.flow import FlowMatching
from ea_dit.pipelines.variants import variant_of
from ea_dit.registry import read_transformer_config
from ea_dit.text.bytes import load_byte_encoder, save_byte_encoder
from ea_kernels.runtime.files import CONFIG_NAME, WEIGHTS_NAME, read_json, write_json
from ea_vae import load_vae, save_vae

CHANGES_NAME = "changes.safetensors"
"""What `ea_app.derived` looks for."""
CARD_NAME = "model_card.md"
DESCRIPTIONS = {
    "control": "Moving coloured shapes at 64x64 that follow edges or a trajectory.",
    "camera": "Moving coloured shapes at 64x64 before a camera that moves as it is told.",
}
"""Of the control models that grow out of the bundled one."""

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


def bundle_changes(
    *, base: Path, transformer: Path, output: Path, description: str, training: Mapping[str, Any]
) -> int:
    """Write a model that shares all it can with another one beside it.

    It holds the transformer's config and, as float16, the tensors that differ from the base's; `model.json`
    names the base, whose other fields it takes over. `ea_app.catalog` puts the whole together.

    Args:
        base: Directory of the bundled model that the transformer was grown from.
        transformer: Export of `default-control` or `default-camera`.
        output: New directory beside the base; an existing one is replaced at the end, its name is the
            model's.
        description: One sentence.
        training: What was trained and what it reached.

    Returns:
        Size of the changed tensors in bytes.

    Raises:
        ValueError: A folder cannot be read, the output is not beside the base, or the transformers do not
            have the same tensors.
    """
    if output.absolute().parent != base.absolute().parent or output.name == base.name:
        raise ValueError(f"--output must be a new folder beside {base}, got {output}")
    info = read_json(base / "model.json")
    draft = output.with_name(f".{output.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_transformer(load_transformer(transformer), draft / "transformer", dtype=WEIGHTS_DTYPE)
    before, after = (
        load_file(base / "transformer" / WEIGHTS_NAME),
        load_file(draft / "transformer" / WEIGHTS_NAME),
    )
    if different := sorted(before.keys() ^ after.keys()):
        raise ValueError(f"{transformer} was not grown from {base}: only one of them has {different[0]}")
    changed = {name: value for name, value in after.items() if not _same(before[name], value)}
    save_file(changed, draft / "transformer" / CHANGES_NAME)
    (draft / "transformer" / WEIGHTS_NAME).unlink()
    card = {**info, "name": output.name, "description": description, "base": base.name}
    write_json(draft / "model.json", card)
    write_json(draft / "training.json", json.loads(json.dumps(training)))
    if (output / CARD_NAME).is_file():
        shutil.copyfile(output / CARD_NAME, draft / CARD_NAME)
    else:
        (draft / CARD_NAME).write_text(_first_card(card, training), encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    draft.replace(output)
    return (output / "transformer" / CHANGES_NAME).stat().st_size


def bundle_run(run: Path, base: Path, output: Path, *, description: str = "") -> int:
    """`bundle_changes` of a finished run: what it was and its last figures go into `training.json`.

    Args:
        run: Run folder of `default-control` or `default-camera`.
        base: As for `bundle_changes`.
        output: As for `bundle_changes`.
        description: One sentence; empty takes one that fits what the model follows.

    Raises:
        ValueError: The run is not finished, or as for `bundle_changes`.
    """
    export = run / "export"
    if not (export / CONFIG_NAME).is_file():
        raise ValueError(f"{run} has no export: the run is not finished")
    variant = variant_of(read_transformer_config(export))
    if variant not in DESCRIPTIONS:
        raise ValueError(f"{export} is no control model: its variant is {variant}")
    settings, loop = read_json(run / CONFIG_NAME), read_json(run / CONFIG_NAME)["loop"]
    training = {
        "recipe": "default-camera" if variant == "camera" else "default-control",
        "steps": loop["steps"],
        "batch": loop["batch_size"],
        "clips": settings["cache"]["clips"],
        **_last_figures(run / "log.jsonl"),
    }
    return bundle_changes(
        base=base,
        transformer=export,
        output=output,
        description=description or DESCRIPTIONS[variant],
        training=training,
    )


def _first_card(card: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """A card without figures; benchmarks/model_card.py fills them in between the markers."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in training.items())
    return (
        f"# {card['name']}\n\n{card['description']} It shares all but the tensors of its training with "
        f"`{card['base']}`, which it grew out of.\n\n| training | |\n|---|---|\n{facts}\n\n"
        "Data: the procedural scenes of `ea_data.synthetic`. Nothing but these drawings was seen in "
        "training.\n\n"
        "## Measured figures\n\n<!-- figures -->\n<!-- end of figures -->\n\n"
        "Licence: Apache-2.0, like the code.\n"
    )


def _last_figures(log: Path) -> dict[str, float]:
    """The last validation of a log; none where there is no log."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    found = [json.loads(line) for line in lines if '"val/' in line]
    return {name: round(value, 5) for name, value in (found[-1] if found else {}).items() if "val/" in name}


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    return before.dtype == after.dtype and before.shape == after.shape and torch.equal(before, after)
