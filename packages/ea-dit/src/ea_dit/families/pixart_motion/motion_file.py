"""V1's motion modules, which are released as a file beside an image model."""

import re
from collections.abc import Mapping
from typing import Any

from ea_dit.families.pixart_motion.released import VIDEO_CLASS

_POSITIONS = re.compile(
    r"transformer_blocks\.\d+\.attn_temporal\.temporal_transformer"
    r"\.transformer_blocks\.(\d+)\.attention_blocks\.(\d+)\.pos_encoder\.pe"
)
_V1_HEADS = 8
_V1_SQUARES = 2


def with_motion_file(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Makes the config of the video model out of that of an image model.

    Args:
        values: The image model's config, as released. One that already has motion modules stays as it is.
        shapes: Tensors of the motion-module file. They tell how many blocks and attentions a module has and
            how long its table is; the heads and the squares of 2 x 2 positions are V1's.

    Raises:
        ValueError: If the file has no motion modules.
    """
    if values.get("basic_block_type", "basic") != "basic":
        return dict(values)
    tables = [
        (int(hit[1]), int(hit[2]), shape[1])
        for name, shape in shapes.items()
        if (hit := _POSITIONS.fullmatch(name)) and len(shape) == 3
    ]
    if not tables:
        raise ValueError("no motion modules: a tensor named ….attn_temporal.….pos_encoder.pe is missing")
    kind = {
        "num_attention_heads": _V1_HEADS,
        "num_transformer_block": 1 + max(block for block, _, _ in tables),
        "attention_block_types": ["Temporal_Self"] * (1 + max(attention for _, attention, _ in tables)),
        "block_size": _V1_SQUARES,
        "temporal_position_encoding": True,
        "temporal_position_encoding_max_len": max(length for _, _, length in tables),
    }
    return {
        **values,
        "_class_name": VIDEO_CLASS,
        "basic_block_type": "motionmodule",
        "motion_module_type": "VanillaGrid",
        "motion_module_kwargs": kind,
    }
