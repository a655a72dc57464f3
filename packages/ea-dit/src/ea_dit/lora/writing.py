"""LoRA files in every format.

Tensors are never changed, only their names. What one format keeps as a tensor (alpha) and another as text is
written either way exactly, and what the new format cannot say goes into the header, see `origin`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ea_dit.lora.document import LoraFile, LoraHeader, LoraLayer
from ea_dit.lora.factors import NAMES, Factors
from ea_dit.lora.names import SPELLINGS, Format, Spelling
from ea_dit.lora.origin import KEY, Origin, alpha_style
from ea_dit.lora.peft_config import CONFIG_NAME, HEADER_KEY, header_text, make_peft_config
from ea_dit.lora.targets import Targets
from ea_kernels.runtime.files import new_directory, write_json, write_safetensors

NameLayout = Literal["keep", "easyanimate", "diffusers"]
"""Whose names layers get where EasyAnimate and diffusers differ."""

_FOLDER_SPELLING = Spelling(prefix="base_model.model.", style="peft")
_FOLDER_FILE = "adapter_model.safetensors"
_PLAIN_ALPHA = "float32:0"
# Prefixes of the text encoders, without and with dots.
_TEXT_PREFIXES = (("lora_te_", "text_encoder."), ("lora_te2_", "text_encoder_2."))


@dataclass(frozen=True, kw_only=True)
class Written:
    """What goes into a file.

    Attributes:
        tensors: By name.
        metadata: Text for the header.
        settings: What PEFT keeps beside the file; empty for other formats.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    settings: Mapping[str, Any]


def save_lora(
    file: LoraFile,
    path: str | Path,
    format: Format,  # noqa: A002  (its name on the command line)
    *,
    targets: Targets | None = None,
    layout: NameLayout = "keep",
) -> Path:
    """Writes a LoRA in a format.

    Args:
        file: From `read_lora` or `lora_file`.
        path: A `.safetensors` file; for "peft" also a new folder, which gets `adapter_model.safetensors` and
            `adapter_config.json`.
        format: "easyanimate", "kohya", or "peft" (one file has the names of diffusers).
        targets: Of the model that it is for; tells where names without dots have them.
        layout: Whose names layers get; other than "keep" needs `targets`.

    Returns:
        The file, or the folder.

    Raises:
        ValueError: If a name cannot be told, or PEFT's files have no such layers.
    """
    path = Path(path)
    folder = path.suffix != ".safetensors"
    if folder and format != "peft":
        raise ValueError(f"{path}: must end with .safetensors")
    written = convert(file, format, targets=targets, layout=layout, folder=folder)
    if not folder:
        write_safetensors(path, written.tensors, written.metadata)
        return path
    with new_directory(path) as draft:
        write_safetensors(draft / _FOLDER_FILE, written.tensors, written.metadata)
        write_json(draft / CONFIG_NAME, written.settings)
    return path


def convert(
    file: LoraFile,
    format: Format,  # noqa: A002
    *,
    targets: Targets | None = None,
    layout: NameLayout = "keep",
    folder: bool = False,
) -> Written:
    """What `save_lora` writes; arguments as there, and `folder` for the names of PEFT's folders."""
    origin = Origin.of(file)
    back = origin.format == format and layout == "keep" and not folder
    spelling = _FOLDER_SPELLING if folder else origin.spelling if back else SPELLINGS[format]
    tensors: dict[str, Tensor] = {}
    firsts: dict[str, str] = {}
    settings: dict[str, tuple[int, float]] = {}
    said = False
    for layer in file.header.layers:
        first = origin.first_name(layer.name)
        _refuse_untold(file, layer, spelling, back=back)
        name = first if back else _name(file, layer, spelling, targets, layout)
        firsts[name] = first
        own = _own_spelling(layer, spelling)
        tensors |= {
            own.write(name, key): file.tensors[at] for key, at in layer.stored.items() if key != "alpha"
        }
        style = origin.alpha_of(first) if back else "" if own.format == "peft" else _PLAIN_ALPHA
        alpha = _alpha_tensor(file, layer, style)
        if alpha is not None:
            tensors[own.write(name, "alpha")] = alpha
        elif own.format == "peft" and _is_plain(layer):
            settings[name] = _settings(file, layer)
            said = said or file.alpha(layer) is not None
    tensors |= {name: file.tensors[name] for name in file.header.foreign}
    metadata = dict(origin.metadata) if back else {KEY: origin.renamed(firsts).text()}
    values = make_peft_config(settings) if settings else {}
    if values and not folder and (said or not back):
        metadata.setdefault(HEADER_KEY, header_text(values))
    return Written(tensors=tensors, metadata=metadata, settings=values)


def lora_file(
    factors: Mapping[str, Factors],
    format: Format = "easyanimate",  # noqa: A002
    *,
    metadata: Mapping[str, str] | None = None,
) -> LoraFile:
    """A file in memory, in a format.

    Args:
        factors: By released name of the layer, such as `TrainableLora.factors` gives.
        format: Whose names it has.
        metadata: Text for its header.
    """
    spelling = SPELLINGS[format]
    text = dict(metadata or {})
    layers: list[LoraLayer] = []
    tensors: dict[str, Tensor] = {}
    settings: dict[str, tuple[int, float]] = {}
    for name, layer in factors.items():
        own = dict(layer.tensors)
        if spelling.flat and layer.alpha is not None:
            own["alpha"] = torch.tensor(layer.alpha, dtype=torch.float32)
        elif layer.rank is not None:
            settings[name] = (layer.rank, float(layer.rank) if layer.alpha is None else layer.alpha)
        stored = {key: spelling.write(name, key) for key in own}
        tensors |= {stored[key]: tensor for key, tensor in own.items()}
        layers.append(
            LoraLayer(
                name=name.replace(".", "_") if spelling.flat else name,
                network="transformer",
                kind=layer.kind,
                shapes={key: tuple(tensor.shape) for key, tensor in own.items()},
                stored=stored,
                spelling=spelling,
            )
        )
    values = make_peft_config(settings) if settings and not spelling.flat else {}
    if values:
        text[HEADER_KEY] = header_text(values)
    header = LoraHeader(path=Path("LoRA"), layers=tuple(layers), metadata=text, peft=values)
    return LoraFile(header=header, tensors=tensors)


def _name(
    file: LoraFile, layer: LoraLayer, spelling: Spelling, targets: Targets | None, layout: NameLayout
) -> str:
    """A layer's name in the new file."""
    flat = layer.spelling.flat
    of_text = layer.network == "text_encoder"
    target = None if targets is None or of_text else targets.find(layer.name, flat=flat)
    if layout != "keep" and not of_text:
        if target is None or layout not in target.names:
            raise ValueError(f"{file.header.path}: layer {layer.name!r} has no {layout} name; give its model")
        return target.names[layout].replace(".", "_") if spelling.flat else target.names[layout]
    if spelling.flat:
        return layer.name.replace(".", "_")
    if not flat:
        return layer.name
    if target is None:
        what = "a text encoder's layer" if of_text else "layer"
        why = (
            "is not known where it has dots"
            if of_text or targets
            else "needs its model to tell where dots are"
        )
        raise ValueError(f"{file.header.path}: {what} {layer.name!r} {why}")
    return next(name for name in target.names.values() if name.replace(".", "_") == layer.name)


def _refuse_untold(file: LoraFile, layer: LoraLayer, spelling: Spelling, *, back: bool) -> None:
    """Refuses layers whose change the new format cannot say."""
    what = f"{file.header.path}: layer {layer.name!r}"
    in_settings = not _is_plain(layer) and "alpha" not in layer.stored and file.alpha(layer) is not None
    if spelling.format == "peft" and not _is_plain(layer) and (in_settings or not back):
        kind = "has a core tensor" if layer.kind == "lora" else f"is a {NAMES[layer.kind]}"
        raise ValueError(f"{what} {kind}, which PEFT's files of LoRAs lack")
    if spelling.format != "peft" and file.factors(layer).whole_scale != 1:
        raise ValueError(
            f"{what}: kohya's files have no factor for two whole matrices, PEFT's settings say one"
        )


def _is_plain(layer: LoraLayer) -> bool:
    """Whether a layer is a LoRA of two factors."""
    return layer.kind == "lora" and "lora_mid" not in layer.shapes


def _own_spelling(layer: LoraLayer, spelling: Spelling) -> Spelling:
    """How a layer's names are written: those of text encoders have other prefixes."""
    if layer.network == "transformer":
        return spelling
    prefix = layer.spelling.prefix
    for flat, dotted in _TEXT_PREFIXES:
        if prefix in (flat, dotted):
            prefix = flat if spelling.flat else dotted
    return Spelling(prefix=prefix, style=spelling.style, adapter=spelling.adapter)


def _alpha_tensor(file: LoraFile, layer: LoraLayer, style: str) -> Tensor | None:
    """Alpha as a tensor of a style, None where it is none."""
    alpha = file.alpha(layer)
    if not style or alpha is None:
        return None
    if "alpha" in layer.stored and style in (_PLAIN_ALPHA, alpha_style(file, layer)):
        return file.tensors[layer.stored["alpha"]]
    dtype, _, axes = style.partition(":")
    return torch.tensor(alpha, dtype=getattr(torch, dtype)).reshape((1,) * int(axes))


def _settings(file: LoraFile, layer: LoraLayer) -> tuple[int, float]:
    """Rank and alpha; a layer without an alpha has its rank."""
    rank = layer.rank
    assert rank is not None
    alpha = file.alpha(layer)
    return rank, float(rank) if alpha is None else alpha
