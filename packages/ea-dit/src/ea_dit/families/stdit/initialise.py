"""How a new STDiT starts, and which parts training leaves as they are."""

from collections.abc import Iterable

from torch import nn

from ea_dit.families.stdit.block import STDiTBlock
from ea_dit.layers.embeddings import CaptionEmbed, TimestepEmbed

_EMBED_STD = 0.02


def initialise_products(model: nn.Module) -> None:
    """Xavier for every product, zeros for every bias."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def initialise_embeddings(modules: Iterable[nn.Module | None]) -> None:
    """Small normal weights."""
    for module in modules:
        pair = (module.inner, module.outer) if isinstance(module, TimestepEmbed | CaptionEmbed) else (module,)
        for layer in pair:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=_EMBED_STD)


def initialise_block(block: STDiTBlock) -> None:
    """Spreads projections as the original's fused layers do; what an image model lacks starts at zero."""
    spatial, temporal, cross = block.spatial, block.temporal, block.cross
    for fused in (
        (spatial.query, spatial.key, spatial.value),
        (temporal.query, temporal.key, temporal.value),
        (cross.key, cross.value),
    ):
        for layer in fused:
            nn.init.xavier_uniform_(layer.weight, gain=(2 / (1 + len(fused))) ** 0.5)
    nn.init.zeros_(temporal.out.weight)
    nn.init.zeros_(cross.out.weight)


def freeze(model: nn.Module, part: str | None) -> None:
    """Excludes from training all but temporal attention ("not_temporal") or cross-attention ("text")."""
    if part is None:
        return
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        frozen = "cross" in parts if part == "text" else "temporal" not in parts
        parameter.requires_grad_(not frozen)
