"""Checkpoints without a config: Open-Sora 1.0 published bare weights."""

import math
from collections.abc import Mapping
from typing import Any

from ea_dit.families.stdit.config import STDIT, STDIT2

Shape = tuple[int, ...]

_SIGN = ("t_block.1.weight", "x_embedder.proj.weight", "blocks.0.attn_temp.qkv.weight")
_HEAD_DIM = 72  # of every released size; 1.0 stores nothing that tells it
_BASE_SIDE = 32  # released 1.0 models spread every picture over the coordinates 0 ... 32


def config_of_shapes(shapes: Mapping[str, Shape]) -> dict[str, Any] | None:
    """Tells the config of an Open-Sora network by its tensors.

    Args:
        shapes: By released name.

    Returns:
        Constructor arguments, None if the tensors are of another network. Where 1.0 does not tell (heads,
        scale of positions), the released models' rule.

    Raises:
        ValueError: If the width is not one that tells the number of heads.
    """
    if not all(name in shapes for name in _SIGN):
        return None
    width, channels, *patch = shapes["x_embedder.proj.weight"]
    stdit2 = "t_block_temp.1.weight" in shapes
    predicted = shapes["final_layer.linear.weight"][0] // math.prod(patch)
    length, caption_channels = shapes["y_embedder.y_embedding"]
    values: dict[str, Any] = {
        "architectures": [STDIT2 if stdit2 else STDIT],
        "hidden_size": width,
        "depth": 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks.")),
        "num_heads": _num_heads(shapes, width),
        "mlp_ratio": shapes["blocks.0.mlp.fc1.weight"][0] / width,
        "in_channels": channels,
        "pred_sigma": predicted == 2 * channels,
        "patch_size": patch,
        "caption_channels": caption_channels,
        "model_max_length": length,
    }
    if stdit2:
        return values | {"qk_norm": "blocks.0.attn.q_norm.weight" in shapes}
    return values | _size(shapes, patch)


def _num_heads(shapes: Mapping[str, Shape], width: int) -> int:
    if "rope.freqs" in shapes:
        return width // (2 * shapes["rope.freqs"][0])
    if width % _HEAD_DIM:
        raise ValueError(f"num_heads cannot be told from a width of {width}: write a config.json")
    return width // _HEAD_DIM


def _size(shapes: Mapping[str, Shape], patch: list[int]) -> dict[str, Any]:
    """What the position tables of a 1.0 file tell; it may lack them, since its loader ignores them."""
    if "pos_embed" not in shapes or "pos_embed_temporal" not in shapes:
        return {}
    side, frames = math.isqrt(shapes["pos_embed"][1]), shapes["pos_embed_temporal"][1]
    return {
        "input_size": [frames * patch[0], side * patch[1], side * patch[2]],
        "space_scale": side / _BASE_SIDE,
    }
