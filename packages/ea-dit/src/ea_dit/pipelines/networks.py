"""The networks inside the parts of a pipeline, which `ea_kernels.runtime.placement` moves."""

from collections.abc import Mapping

from torch import nn

from ea_dit.text.bert_t5 import BertT5TextEncoder
from ea_dit.text.clip_image import ClipImageEncoder
from ea_dit.text.padded import PaddedTextEncoder
from ea_dit.text.qwen2_vl import Qwen2VLTextEncoder


def networks_of(parts: Mapping[str, object]) -> dict[str, nn.Module]:
    """Networks by the name of their part; a part of a kind that is not known here takes care of itself."""
    networks = {name: _network_of(part) for name, part in parts.items()}
    return {name: network for name, network in networks.items() if network is not None}


def _network_of(part: object) -> nn.Module | None:
    if isinstance(part, nn.Module):
        return part
    if isinstance(part, BertT5TextEncoder):
        return nn.ModuleDict({"bert": part.bert.model, "t5": part.t5.model})
    if isinstance(part, ClipImageEncoder | PaddedTextEncoder | Qwen2VLTextEncoder):
        return part.model
    return None
