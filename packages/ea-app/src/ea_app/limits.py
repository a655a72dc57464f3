"""What a model allows and prefers, as the option table reads it."""

from ea_app.model_info import ModelInfo
from ea_app.options import Limits


def limits_of(info: ModelInfo) -> Limits:
    """The limits of a model."""
    return Limits(
        width=info.native_width,
        height=info.native_height,
        frames=info.native_frames,
        steps=info.steps,
        guidance=info.guidance,
        fps=info.fps,
        min_side=info.min_side,
        max_side=info.max_side,
        side_multiple=info.size_multiple,
        max_frames=info.max_frames,
        max_prompt_bytes=info.max_prompt_bytes,
    )
