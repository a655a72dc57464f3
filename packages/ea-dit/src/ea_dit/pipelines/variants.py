"""What a transformer can be asked for, read from its channels."""

from typing import Literal

from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.pipelines.request import Mode

Variant = Literal["text", "inpaint", "control", "camera"]

CAMERA_RAYS = 6
_BASE: frozenset[Mode] = frozenset({"text_to_image", "text_to_video", "video_to_video"})


def variant_of(config: MMDiTConfig) -> Variant:
    """Tells the variant by the number of condition channels.

    With C latent channels: none; 1 + C (mask, masked video); C or 2 C (control, reference); 6 or 6 + C
    (camera rays, reference).

    Raises:
        ValueError: For any other number.
    """
    latent, extra = config.out_channels, config.condition_channels
    variants: dict[int, Variant] = {
        0: "text",
        1 + latent: "inpaint",
        latent: "control",
        2 * latent: "control",
        CAMERA_RAYS: "camera",
        CAMERA_RAYS + latent: "camera",
    }
    if extra not in variants:
        allowed = ", ".join(str(latent + number) for number in sorted(variants))
        raise ValueError(f"in_channels must be one of {allowed} for pipelines, got {config.in_channels}")
    return variants[extra]


def has_reference(config: MMDiTConfig) -> bool:
    """Whether the condition channels of a control or camera model end with a reference image."""
    return config.condition_channels in (2 * config.out_channels, CAMERA_RAYS + config.out_channels)


def supported_modes(config: MMDiTConfig) -> frozenset[Mode]:
    """Returns the modes of a transformer."""
    variant = variant_of(config)
    modes = set[Mode](_BASE)
    if variant == "inpaint":
        modes |= {"image_to_video", "masked_video"}
    if variant in ("control", "camera"):
        modes.add("control")
    return frozenset(modes)
