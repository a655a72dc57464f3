"""What a model is good at: the content of `model.json`."""

import math
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model is good at: the content of `model.json`.

    Attributes:
        name: For lists and records.
        description: One sentence.
        native_width: Pixels; the default width.
        native_height: Pixels; the default height.
        native_frames: The default number of frames.
        min_side: Smallest width or height, pixels.
        max_side: Largest width or height, pixels.
        size_multiple: Width and height are multiples of this; 1 where the model makes any size.
        max_frames: Largest number of frames at once.
        overlap_frames: Frames that windows of longer videos share; None for about a quarter of a window.
        loop_overlap: Frames that the clips of loops share, where windows say nothing else.
        steps: Default number of denoising steps.
        guidance: Default guidance scale.
        strength: Default strength for a video without a mask, above 0 and below 1.
        fps: Default frames per second of files.
        max_prompt_bytes: Longest prompt in UTF-8 bytes; None when the text encoder has no hard limit.
        languages: Languages of prompts.
        latent_rgb: For previews: red, green and blue in 0 ... 1 for every latent channel, and a last row that
            is added; empty shows none. `scripts/fit_preview.py` fits it.
    """

    name: str
    description: str = ""
    native_width: int = 672
    native_height: int = 384
    native_frames: int = 49
    min_side: int = 16
    max_side: int = 4096
    size_multiple: int = 16
    max_frames: int = 1025
    overlap_frames: int | None = None
    loop_overlap: int = 4
    steps: int = 50
    guidance: float = 6.0
    strength: float = 0.7
    fps: int = 8
    max_prompt_bytes: int | None = None
    languages: tuple[str, ...] = ("en", "zh")
    latent_rgb: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of the wrong kind, which would only show much later."""
        whole = (
            "native_width",
            "native_height",
            "native_frames",
            "min_side",
            "max_side",
            "size_multiple",
            "max_frames",
            "loop_overlap",
            "steps",
            "fps",
        )
        for name in whole:
            _check_whole(name, getattr(self, name))
        for name in ("overlap_frames", "max_prompt_bytes"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name))
        if not 0 < float(self.strength) < 1:
            raise ValueError(f"strength must be above 0 and below 1, got {self.strength}")
        if not 0 <= float(self.guidance) <= 100:
            raise ValueError(f"guidance must be from 0 to 100, got {self.guidance}")
        if any(len(row) != 3 or not all(map(_is_number, row)) for row in self.latent_rgb):
            raise ValueError("latent_rgb must be rows of three numbers")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the content of `model.json`; unknown keys are refused.

        Raises:
            ValueError: A key is unknown or missing, or a value is of the wrong kind.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "name" not in values:
            raise ValueError("name is missing")
        plain = {**values, "languages": tuple(values.get("languages", ("en", "zh")))}
        return cls(**{**plain, "latent_rgb": tuple(tuple(row) for row in values.get("latent_rgb", ()))})

    def to_dict(self) -> dict[str, Any]:
        """The content of `model.json`."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "languages": list(self.languages),
            "latent_rgb": [list(row) for row in self.latent_rgb],
        }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
