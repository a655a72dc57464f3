"""The one description of a generation job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from ea_dit.diffusion.tables import check_table
from ea_dit.pipelines.conditions import STEERING, Condition, Video, check_conditions, only, placed
from ea_dit.pipelines.teacache import CurveName

Mode = Literal[
    "text_to_image", "text_to_video", "image_to_video", "video_to_video", "masked_video", "control"
]

Join = Literal["latents", "pixels"]

MIN_SIDE, MAX_SIDE = 16, 4096
MAX_FRAMES = 1025
"""At once."""
MAX_LONG_FRAMES = 36_000
"""In windows."""
MAX_STEPS = 1000
MAX_SEED = 2**63 - 1
MAX_FPS = 120
MAX_GUIDANCE = 100
MAX_PROMPT = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationRequest:
    """Everything that decides a result, given a model. The mode follows from what is given.

    Attributes:
        prompt: What to show; not blank, at most 2000 characters.
        negative_prompt: What to avoid.
        height: Pixels, 16 ... 4096. Models want multiples of 16 (V1: 32); Open-Sora 1.1 takes any size and,
            as released, makes the whole eights of it.
        width: Pixels, the same.
        num_frames: 1 makes an image. Lengths that the autoencoder cannot make are generated longer and
            cropped.
        num_steps: Denoising steps of the full schedule.
        timesteps: What the network is told at every step, falling, instead of the schedule's own; `num_steps`
            is not read then. A flow (V5.1) takes any numbers above 0 and at most 1000, whose levels are not
            shifted; other samplers take whole ones from 0 to 999, and Euler fractions too. None leaves it to
            the schedule.
        teacache_threshold: 0 ... 1, leaves out the blocks of steps in which little changes, an approximation;
            the larger, the more of them. None runs all. See `ea_dit.pipelines.teacache`.
        teacache_start: Steps at the beginning that are always run.
        teacache_curve: "released" for the coefficients of V5.1, "identity" for a rough rule on other models.
        guidance_scale: 1 and below switch guidance off.
        guidance_rescale: 0 ... 1.
        seed: Of the one generator of the request.
        strength: How much of a `video` is redone; below 1 only the last steps are run, starting from it.
        noise_aug_strength: Noise added to given pixels before they are encoded.
        fps: Frames per second of the file that is written; of the models only Open-Sora 1.1 is told it.
        sampler: One of `ea_dit.diffusion.sampler_names`; None for the one that the checkpoint names.
        clip_apply_ratio: Share of the steps, the last ones, in which a model that reads the first picture
            with CLIP (V3, V4) is shown it.
        window_frames: Videos that are longer are made in windows of so many frames, see
            `ea_dit.pipelines.windows`; None makes all frames at once.
        overlap_frames: Frames that a window shares with the one before; None for about a quarter.
        window_prompts: What the windows show, one text for each; none: all show the prompt.
        join: "latents" hands latents over from window to window, "pixels" only frames, as EasyAnimate does.
        conditions: What is given beside the prompt, see `ea_dit.pipelines.conditions`. Frames and videos are
            as large as the request says; the caller resizes.
    """

    prompt: str
    negative_prompt: str = ""
    height: int = 128
    width: int = 128
    num_frames: int = 17
    num_steps: int = 25
    timesteps: tuple[float, ...] | None = None
    teacache_threshold: float | None = None
    teacache_start: int = 1
    teacache_curve: CurveName = "released"
    guidance_scale: float = 6.0
    guidance_rescale: float = 0.0
    seed: int = 0
    strength: float = 1.0
    noise_aug_strength: float = 0.0563
    fps: int = 8
    sampler: str | None = None
    clip_apply_ratio: float = 0.4
    window_frames: int | None = None
    overlap_frames: int | None = None
    window_prompts: tuple[str, ...] = ()
    join: Join = "latents"
    conditions: tuple[Condition, ...] = ()

    @property
    def mode(self) -> Mode:
        """What kind of job this is."""
        if any(isinstance(condition, STEERING) for condition in self.conditions):
            return "control"
        if (video := only(self.conditions, Video)) is not None:
            return "video_to_video" if video.mask is None else "masked_video"
        if placed(self.conditions):
            return "image_to_video"
        return "text_to_image" if self.num_frames == 1 else "text_to_video"

    @property
    def is_long(self) -> bool:
        """Whether it is made in several windows."""
        return self.window_frames is not None and self.num_frames > self.window_frames

    def to_dict(self) -> dict[str, Any]:
        """The part without conditions, safe for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "conditions"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], conditions: Iterable[Condition] = ()) -> Self:
        """The reverse of `to_dict`; conditions come beside it.

        Raises:
            ValueError: For a key that is no field, or a missing prompt.
        """
        known = {field.name for field in fields(cls)} - {"conditions"}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"request field {unknown[0]!r} is unknown; known: {', '.join(sorted(known))}")
        if "prompt" not in values:
            raise ValueError("prompt is missing in the request")
        # JSON knows no tuples.
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**plain, conditions=tuple(conditions))

    def validate(self) -> None:
        """Checks everything that can be checked without a model.

        Raises:
            ValueError: One line that names the field and what is allowed.
        """
        _check_prompt("prompt", self.prompt)
        if not self.prompt.strip():
            raise ValueError("prompt must not be empty")
        _check_prompt("negative_prompt", self.negative_prompt)
        if not isinstance(self.window_prompts, tuple | list):
            got = type(self.window_prompts).__name__
            raise ValueError(f"window_prompts must be a tuple of texts, got {got}")  # noqa: TRY004
        for text in self.window_prompts:
            _check_prompt("window_prompts", text)
            if not text.strip():
                raise ValueError("window_prompts must be texts, and none of them empty")
        for name in ("height", "width"):
            _whole(name, getattr(self, name), MIN_SIDE, MAX_SIDE)
        self._check_length()
        _whole("num_steps", self.num_steps, 1, MAX_STEPS)
        if self.timesteps is not None:
            check_table(self.timesteps, MAX_STEPS)
        _whole("seed", self.seed, 0, MAX_SEED)
        _whole("fps", self.fps, 1, MAX_FPS)
        self._check_teacache()
        _number("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        _number("guidance_rescale", self.guidance_rescale, 0, 1)
        _number("noise_aug_strength", self.noise_aug_strength, 0, 1)
        _number("clip_apply_ratio", self.clip_apply_ratio, 0, 1)
        _number("strength", self.strength, 0, 1)
        if self.strength == 0:
            raise ValueError("strength must be above 0 and at most 1, got 0")
        if self.sampler is not None and not isinstance(self.sampler, str):
            raise ValueError(f"sampler must be a name or nothing, got {self.sampler!r}")
        check_conditions(self.conditions, self)
        video = only(self.conditions, Video)
        if self.strength < 1 and video is None:
            raise ValueError("strength below 1 needs a video")
        if video is not None and video.mask is None and self.strength == 1:
            raise ValueError(f"{video.name} without a mask needs strength below 1, for example 0.7")

    def _check_teacache(self) -> None:
        if self.teacache_threshold is not None:
            _number("teacache_threshold", self.teacache_threshold, 0, 1)
        _whole("teacache_start", self.teacache_start, 1, MAX_STEPS)
        if self.teacache_curve not in get_args(CurveName):
            allowed = ", ".join(get_args(CurveName))
            raise ValueError(f"teacache_curve must be one of {allowed}, got {self.teacache_curve!r}")

    def _check_length(self) -> None:
        if self.window_frames is None:
            _whole("num_frames", self.num_frames, 1, MAX_FRAMES)
            for name in ("overlap_frames", "window_prompts"):
                if getattr(self, name):
                    raise ValueError(f"{name} needs window_frames")
        else:
            _whole("num_frames", self.num_frames, 1, MAX_LONG_FRAMES)
            _whole("window_frames", self.window_frames, 2, MAX_FRAMES)
            if self.overlap_frames is not None:
                _whole("overlap_frames", self.overlap_frames, 1, self.window_frames - 1)
        if self.join not in get_args(Join):
            raise ValueError(f"join must be one of {', '.join(get_args(Join))}, got {self.join!r}")


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
