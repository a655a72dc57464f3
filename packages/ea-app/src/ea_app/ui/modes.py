"""What a set of controls asks for, and which controls a model can use."""

from collections.abc import Mapping
from typing import Any

from ea_app.api.abilities import Abilities
from ea_app.ui.text import word

_MODE_OF = {
    "image": "image_to_video",
    "last_image": "image_to_video",
    "video": "video_to_video",
    "strength": "video_to_video",
    "mask": "masked_video",
    "mask_drawn": "masked_video",
}
_STEERING = {"control": "control", "control_kind": "control", "trajectory": "control", "camera": "camera"}
_MOVING = ("frames", "window", "overlap", "join")


def mode_of(values: Mapping[str, Any]) -> str:
    """The mode that follows from what is given, as `GenerationRequest.mode` tells it."""
    if any(values.get(name) for name in ("control", "camera", "trajectory")):
        return "control"
    if values.get("video"):
        return "masked_video" if values.get("mask") or values.get("mask_drawn") else "video_to_video"
    if values.get("image") or values.get("last_image"):
        return "image_to_video"
    return "text_to_image" if str(values.get("frames") or "").strip() == "1" else "text_to_video"


def unusable(abilities: Abilities) -> set[str]:
    """The controls that a model has no use for."""
    found = {name for name, mode in _MODE_OF.items() if mode not in abilities.modes}
    found |= {name for name, variant in _STEERING.items() if abilities.variant != variant}
    if "text_to_video" not in abilities.modes:
        found |= set(_MOVING)
    if not abilities.reference:
        found.add("reference")
    if not abilities.clip:
        found |= {"clip_image", "clip_apply_ratio"}
    if not abilities.noisy:
        found.add("noise_aug_strength")
    if not abilities.step_curve:
        found.add("teacache")
    if not abilities.motion_modules:
        found.add("motion_module")
    return found


def reason(model: str, language: str) -> str:
    """Why a control is greyed."""
    return word("cannot", language).format(model)
