"""The one description of a generation job. Shapes: T frames, H and W pixels, N first frames."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import torch
from torch import Tensor

Mode = Literal[
    "text_to_image", "text_to_video", "image_to_video", "video_to_video", "masked_video", "control"
]

MIN_SIDE, MAX_SIDE = 16, 4096
MAX_FRAMES = 1025
MAX_STEPS = 1000
MAX_SEED = 2**63 - 1
MAX_FPS = 120
MAX_GUIDANCE = 100
MAX_PROMPT = 2000
TENSORS = ("image", "last_image", "video", "mask", "control_video", "ref_image", "camera")


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationRequest:
    """Everything that decides a result, given a model. The mode follows from what is given.

    Pixels are float in 0 ... 1 or uint8, and as large as the request says; the caller resizes.

    Attributes:
        prompt: What to show; not blank, at most 2000 characters.
        negative_prompt: What to avoid.
        height: Pixels, 16 ... 4096. Models want multiples of 16 (V1: 32); Open-Sora 1.1 takes any size and,
            as released, makes the whole eights of it.
        width: Pixels, the same.
        num_frames: 1 makes an image. Lengths that the autoencoder cannot make are generated longer and
            cropped.
        num_steps: Denoising steps of the full schedule.
        guidance_scale: 1 and below switch guidance off.
        guidance_rescale: 0 ... 1.
        seed: Of the one generator of the request.
        strength: How much of a `video` is redone; below 1 only the last steps are run, starting from it.
        noise_aug_strength: Noise added to given pixels before they are encoded.
        fps: Frames per second of the file that is written; of the models only Open-Sora 1.1 is told it.
        sampler: One of `ea_dit.diffusion.sampler_names`; None for the one that the checkpoint names.
        clip_apply_ratio: Share of the steps, the last ones, in which a model that reads the first picture
            with CLIP (V3, V4) is shown it.
        image: First frame (3, H, W), or first frames (3, N, H, W).
        last_image: Last frame (3, H, W).
        video: (3, T, H, W).
        mask: (H, W) or (T, H, W): at least half (uint8: at least 128, bool: True) = generate. Needs `video`.
        control_video: (3, T, h, w) for control models; any size.
        ref_image: (3, h, w) for control models; any size.
        camera: (6, T, h, w) ray map for camera models.
    """

    prompt: str
    negative_prompt: str = ""
    height: int = 128
    width: int = 128
    num_frames: int = 17
    num_steps: int = 25
    guidance_scale: float = 6.0
    guidance_rescale: float = 0.0
    seed: int = 0
    strength: float = 1.0
    noise_aug_strength: float = 0.0563
    fps: int = 8
    sampler: str | None = None
    clip_apply_ratio: float = 0.4
    image: Tensor | None = None
    last_image: Tensor | None = None
    video: Tensor | None = None
    mask: Tensor | None = None
    control_video: Tensor | None = None
    ref_image: Tensor | None = None
    camera: Tensor | None = None

    @property
    def mode(self) -> Mode:
        """What kind of job this is."""
        if self.control_video is not None or self.ref_image is not None or self.camera is not None:
            return "control"
        if self.video is not None:
            return "video_to_video" if self.mask is None else "masked_video"
        if self.image is not None or self.last_image is not None:
            return "image_to_video"
        return "text_to_image" if self.num_frames == 1 else "text_to_video"

    def tensor_names(self) -> tuple[str, ...]:
        """Names of the tensor inputs that are given."""
        return tuple(name for name in TENSORS if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        """The scalar part, safe for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in TENSORS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **tensors: Tensor | None) -> Self:
        """The reverse of `to_dict`; tensor inputs come by keyword.

        Raises:
            ValueError: For a key that is no field, or a missing prompt.
        """
        scalars = {field.name for field in fields(cls)} - set(TENSORS)
        if unknown := sorted(set(values) - scalars) + sorted(set(tensors) - set(TENSORS)):
            raise ValueError(f"unknown request field {unknown[0]!r}; known: {', '.join(sorted(scalars))}")
        if "prompt" not in values:
            raise ValueError("prompt is missing in the request")
        fields_given: dict[str, Any] = {**values, **tensors}
        return cls(**fields_given)

    def validate(self) -> None:
        """Checks everything that can be checked without a model.

        Raises:
            ValueError: One line that names the field and what is allowed.
        """
        _check_prompt("prompt", self.prompt)
        if not self.prompt.strip():
            raise ValueError("prompt must not be empty")
        _check_prompt("negative_prompt", self.negative_prompt)
        for name in ("height", "width"):
            _whole(name, getattr(self, name), MIN_SIDE, MAX_SIDE)
        _whole("num_frames", self.num_frames, 1, MAX_FRAMES)
        _whole("num_steps", self.num_steps, 1, MAX_STEPS)
        _whole("seed", self.seed, 0, MAX_SEED)
        _whole("fps", self.fps, 1, MAX_FPS)
        _number("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        _number("guidance_rescale", self.guidance_rescale, 0, 1)
        _number("noise_aug_strength", self.noise_aug_strength, 0, 1)
        _number("clip_apply_ratio", self.clip_apply_ratio, 0, 1)
        _number("strength", self.strength, 0, 1)
        if self.strength == 0:
            raise ValueError("strength must be above 0 and at most 1, got 0")
        if self.sampler is not None and not isinstance(self.sampler, str):
            raise ValueError(f"sampler must be a name or nothing, got {self.sampler!r}")
        self._check_combination()
        self._check_tensors()

    def _check_combination(self) -> None:
        pictures = self.image is not None or self.last_image is not None
        if self.video is not None and pictures:
            raise ValueError(
                "video cannot be combined with image or last_image; keep frames with a mask instead"
            )
        if self.mask is not None and self.video is None:
            raise ValueError("mask needs a video")
        if self.strength < 1 and self.video is None:
            raise ValueError("strength below 1 needs a video")
        if self.video is not None and self.mask is None and self.strength == 1:
            raise ValueError("video without a mask needs strength below 1, for example 0.7")
        if self.mode == "control" and (pictures or self.video is not None):
            raise ValueError("control inputs cannot be combined with image, last_image or video")
        if self.camera is not None and self.control_video is not None:
            raise ValueError("camera cannot be combined with control_video")

    def _check_tensors(self) -> None:
        size = (self.height, self.width)
        if self.image is not None and self.image.ndim == 4:
            _check_pixels("image", self.image, (3, None, *size))
        elif self.image is not None:
            _check_pixels("image", self.image, (3, *size))
        if self.last_image is not None:
            _check_pixels("last_image", self.last_image, (3, *size))
        if self.video is not None:
            _check_pixels("video", self.video, (3, self.num_frames, *size))
        if self.mask is not None:
            _check_mask(self.mask, self.num_frames, size)
        if self.control_video is not None:
            _check_pixels("control_video", self.control_video, (3, self.num_frames, None, None))
        if self.ref_image is not None:
            _check_pixels("ref_image", self.ref_image, (3, None, None))
        if self.camera is not None:
            _check_shape("camera", self.camera, (6, self.num_frames, None, None))
        given = 0 if self.image is None else 1 if self.image.ndim == 3 else self.image.shape[1]
        given += self.last_image is not None
        if given and given >= self.num_frames:
            raise ValueError(
                f"num_frames must be above the number of given frames ({given}), got {self.num_frames}"
            )


def _check_prompt(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{name} must be text, got {type(text).__name__}")  # noqa: TRY004  (one error type for callers)
    if len(text) > MAX_PROMPT:
        raise ValueError(f"{name} must have at most {MAX_PROMPT} characters, got {len(text)}")


def _whole(name: str, value: object, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number between {lowest} and {highest}, got {value!r}")


def _number(name: str, value: object, lowest: float, highest: float) -> None:
    # Written so that "not a number" fails the comparison.
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a number between {lowest} and {highest}, got {value!r}")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = tensor.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        got = " x ".join(str(size) for size in tensor.shape)
        raise ValueError(f"{name} must have the shape {wanted}, got {got}")
    if tensor.numel() == 0:
        raise ValueError(f"{name} must not be empty")


def _check_pixels(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    _check_shape(name, tensor, shape)
    if tensor.dtype == torch.uint8:
        return
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floating point in 0 ... 1 or uint8, got {tensor.dtype}")
    low, high = tensor.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must lie in 0 ... 1, got {float(low):.4g} ... {float(high):.4g}")


def _check_mask(mask: Tensor, num_frames: int, size: tuple[int, int]) -> None:
    _check_shape("mask", mask, size if mask.ndim == 2 else (num_frames, *size))
    if mask.dtype not in (torch.bool, torch.uint8) and not mask.is_floating_point():
        raise ValueError(f"mask must be bool, uint8 or floating point, got {mask.dtype}")
