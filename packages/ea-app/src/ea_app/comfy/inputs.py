"""What the nodes ask for: names, types, defaults, ranges and order as EasyAnimate released them.

Source: the node pack that came with V5.1. Workflows save the values of widgets by position, so the order
counts.
"""

from typing import Any, Final

CATEGORY: Final = "EasyAnimateWrapper"
CAMERA_CATEGORY: Final = "CameraCtrl"

MODEL: Final = "EASYANIMATESMODEL"
PROMPT: Final = "STRING_PROMPT"
IMAGE: Final = "IMAGE"
POSE: Final = "CameraPose"

MODELS: Final = (
    "EasyAnimateV3-XL-2-InP-512x512",
    "EasyAnimateV3-XL-2-InP-768x768",
    "EasyAnimateV3-XL-2-InP-960x960",
    "EasyAnimateV4-XL-2-InP",
    "EasyAnimateV5-7b-zh-InP",
    "EasyAnimateV5-7b-zh",
    "EasyAnimateV5-12b-zh-InP",
    "EasyAnimateV5-12b-zh-Control",
    "EasyAnimateV5-12b-zh",
    "EasyAnimateV5.1-7b-zh",
    "EasyAnimateV5.1-7b-zh-InP",
    "EasyAnimateV5.1-7b-zh-Control",
    "EasyAnimateV5.1-7b-zh-Control-Camera",
    "EasyAnimateV5.1-12b-zh",
    "EasyAnimateV5.1-12b-zh-InP",
    "EasyAnimateV5.1-12b-zh-Control",
    "EasyAnimateV5.1-12b-zh-Control-Camera",
)
DEFAULT_MODEL: Final = "EasyAnimateV5.1-12b-zh-InP"
MEMORY_MODES: Final = ("model_cpu_offload", "model_cpu_offload_and_qfloat8", "sequential_cpu_offload")
MODEL_TYPES: Final = ("Inpaint", "Control")
CONFIGS: Final = (
    "easyanimate_video_v3_slicevae_motion_module.yaml",
    "easyanimate_video_v4_slicevae_multi_text_encoder.yaml",
    "easyanimate_video_v5_magvit_multi_text_encoder.yaml",
    "easyanimate_video_v5.1_magvit_qwen.yaml",
)
PRECISIONS: Final = ("fp16", "bf16")
BASE_RESOLUTIONS: Final = (512, 768, 960, 1024)
SCHEDULERS: Final = ("Euler", "Euler A", "DPM++", "PNDM", "DDIM")
FLOW: Final = "Flow"

_MAX_SEED: Final = 2**64 - 1

Inputs = dict[str, Any]
"""Inputs by name: a type, and often its settings."""


def choice(values: tuple[Any, ...], default: Any) -> tuple[list[Any], dict[str, Any]]:
    """A list to choose from."""
    return (list(values), {"default": default})


def texts() -> Inputs:
    """What every sampler begins with."""
    return {"easyanimate_model": (MODEL,), "prompt": (PROMPT,), "negative_prompt": (PROMPT,)}


def length(*, v5: bool) -> Inputs:
    """Frames."""
    if v5:
        return {"video_length": ("INT", {"default": 49, "min": 1, "max": 49, "step": 4})}
    return {"video_length": ("INT", {"default": 72, "min": 8, "max": 144, "step": 8})}


def size() -> Inputs:
    """Pixels, and whether it is to be a picture."""
    return {
        "width": ("INT", {"default": 1008, "min": 64, "max": 2048, "step": 16}),
        "height": ("INT", {"default": 576, "min": 64, "max": 2048, "step": 16}),
        "is_image": choice((False, True), default=False),
    }


def base_resolution() -> Inputs:
    """Side of the square with as many pixels; the shape is that of what is given."""
    return {"base_resolution": choice(BASE_RESOLUTIONS, 768)}


def steps() -> Inputs:
    """Seed, steps and guidance."""
    return {
        "seed": ("INT", {"default": 43, "min": 0, "max": _MAX_SEED}),
        "steps": ("INT", {"default": 25, "min": 1, "max": 200, "step": 1}),
        "cfg": ("FLOAT", {"default": 7.0, "min": 1.0, "max": 20.0, "step": 0.01}),
    }


def strength() -> Inputs:
    """How much of a video is changed."""
    return {"denoise_strength": ("FLOAT", {"default": 0.70, "min": 0.05, "max": 1.00, "step": 0.01})}


def scheduler(*, v5: bool) -> Inputs:
    """The sampler; from V5 on also whether steps are skipped."""
    if not v5:
        return {"scheduler": choice(SCHEDULERS, "DDIM")}
    return {
        "scheduler": choice((*SCHEDULERS, FLOW), FLOW),
        "teacache_threshold": ("FLOAT", {"default": 0.10, "min": 0.00, "max": 1.00, "step": 0.005}),
        "enable_teacache": choice((False, True), default=True),
    }
