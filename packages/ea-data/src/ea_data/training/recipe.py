"""How a manifest becomes samples and batches: one frozen recipe, from Python, YAML or JSON.

Two recipes that are equal give the same batches of the same files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from ea_data import settings
from ea_data.frame_masks import RELEASED_RATIOS, FrameMaskKind, check_ratios
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.masks import MASK_KINDS, MaskKind
from ea_data.training.order import Remainder
from ea_data.training.recipe_file import read_recipe
from ea_data.training.shapes import MAX_FRAMES, ShapeOptions

__all__ = [
    "CaptionOptions",
    "ClipOptions",
    "ControlKind",
    "DataRecipe",
    "MaskOptions",
    "ReferenceOptions",
]

ControlKind = Literal["none", "video", "camera"]
BucketConfig = Mapping[str, Mapping[int, tuple[float, int | None]]]

_MAX_BATCH_SIZE: Final = 65_536
_MAX_REPEAT: Final = 10_000
_MAX_RUN: Final = 65_536
_MAX_TIMEOUT: Final = 86_400
_MAX_SEED: Final = (1 << 63) - 1
_SKIP: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Which frames of a video a clip takes.

    Attributes:
        stride: Source frames per frame of a clip.
        skip_head: Share of a video at its beginning that is left out; None is 0.1, and 0 with `buckets`,
            whose clips come from anywhere.
        skip_tail: The same at its end.
        min_frames: Shorter clips are not trained on.
        timeout: Seconds after which reading a file is given up; None waits. With a number the batches depend
            on how fast the disk is.
    """

    stride: int = 1
    skip_head: float | None = None
    skip_tail: float | None = None
    min_frames: int = 1
    timeout: float | None = None

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        _within(1, MAX_FRAMES, "stride", self.stride)
        _within(1, MAX_FRAMES, "min_frames", self.min_frames)
        for name in ("skip_head", "skip_tail"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise ValueError(f"{name} is {share}; allowed: 0 or more and below 1")
        if (self.skip_head or 0) + (self.skip_tail or 0) >= 1:
            both = f"{self.skip_head} and {self.skip_tail}"
            raise ValueError(f"skip_head and skip_tail are {both}; allowed: below 1 together")
        if self.timeout is not None and not 0 < self.timeout <= _MAX_TIMEOUT:
            raise ValueError(
                f"timeout is {self.timeout}; allowed: above 0 seconds, at most {_MAX_TIMEOUT}, or null"
            )


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """What is done with captions, and what `ea-data lint` asks of them.

    Attributes:
        dropout: Probability that a caption is replaced by an empty one.
        min_length: Fewest characters of a good caption; lint only.
        max_length: Most characters, None for any number; lint only.
        forbidden: Words that no caption has, in any case of letters; lint only.
    """

    dropout: float = 0.1
    min_length: int = 1
    max_length: int | None = None
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        _probability("dropout", self.dropout)
        _at_least(0, "min_length", self.min_length)
        if self.max_length is not None and self.max_length < max(self.min_length, 1):
            least = max(self.min_length, 1)
            raise ValueError(f"max_length is {self.max_length}; allowed: {least} or more, or null")
        if any(not word.strip() for word in self.forbidden):
            raise ValueError("forbidden has an empty word; allowed: words with at least one letter")


@dataclass(frozen=True, kw_only=True)
class MaskOptions:
    """Which pixels a model is given and which it has to make.

    Attributes:
        draw: "none"; "inpaint", a kind of `ea_data.masks` per sample, as EasyAnimate is trained; or "frames",
            whole frames by a kind of `ea_data.frame_masks`, as Open-Sora is trained.
        weights: How often each kind is drawn, relative to the others ("inpaint"), or as shares with the sum 1
            ("frames"). The released numbers if None.
    """

    draw: Literal["none", "inpaint", "frames"] = "none"
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuses kinds that the draw does not have, and wrong numbers."""
        if self.weights is None:
            return
        if self.draw == "none":
            raise ValueError("weights are given with draw 'none'; allowed: inpaint or frames with them")
        if self.draw == "frames":
            try:
                check_ratios(self.weights)
            except ValueError as error:
                raise ValueError(f"weights: {error}") from error
            return
        if unknown := [kind for kind in self.weights if kind not in MASK_KINDS]:
            raise ValueError(f"weights names {unknown[0]!r}; allowed: {', '.join(MASK_KINDS)}")
        if not (all(weight >= 0 for weight in self.weights.values()) and sum(self.weights.values()) > 0):
            raise ValueError(f"weights are {dict(self.weights)}; allowed: numbers of 0 or more, not all 0")

    @property
    def inpaint_weights(self) -> Mapping[MaskKind, float] | None:
        """For `ea_data.masks.random_mask`."""
        return cast("Mapping[MaskKind, float] | None", self.weights)

    @property
    def frame_ratios(self) -> Mapping[FrameMaskKind, float]:
        """For `ea_data.frame_masks.random_frame_mask`."""
        return RELEASED_RATIOS if self.weights is None else check_ratios(self.weights)


@dataclass(frozen=True, kw_only=True)
class ReferenceOptions:
    """Which frame of a clip a model is shown as a reference.

    Attributes:
        mode: "none"; "first"; or "random", the first or any other.
        first: Probability of the first frame with "random"; the others share the rest. EasyAnimate's
            control models were trained with 0.4, its inpainting models with 0.5.
    """

    mode: Literal["none", "first", "random"] = "none"
    first: float = 0.4

    def __post_init__(self) -> None:
        """Refuses what is no probability."""
        _probability("first", self.first)


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """How a manifest becomes samples and batches.

    Attributes:
        shapes: How batches are shaped, as EasyAnimate shapes them; the defaults if neither this nor `buckets`
            is given.
        buckets: Or in buckets of resolution and frames, as Open-Sora does:
            resolution to {frames: (keep probability, batch size)}, see `ea_data.geometry.buckets`.
        batch_size: Samples of a batch, at most 65536; with `buckets` it stands there.
        video_repeat: How often a video comes in an epoch, at most 10000; a picture comes once.
        clip: Which frames of a video.
        captions: What is done with captions.
        masks: Which pixels are given.
        control: What steers a sample: "video" (a video for videos, a picture for pictures), "camera" (a text
            file with a camera path), or "none", which leaves the manifest's `control_file_path` alone.
        reference: Which frame is a reference.
        random_flip: Mirror every second sample, left to right; not for captions that tell left from right.
        remainder: What happens to rows that fill no batch, see `ea_data.training.order.BatchOrder`.
        run: Batches of one shape follow each other in runs of this many, so that as many ranks work on the
            same in every step.
        seed: Of the order and of all choices.
    """

    shapes: ShapeOptions | None = None
    buckets: BucketConfig | None = None
    batch_size: int = 1
    video_repeat: int = 1
    clip: ClipOptions = field(default_factory=ClipOptions)
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    masks: MaskOptions = field(default_factory=MaskOptions)
    control: ControlKind = "none"
    reference: ReferenceOptions = field(default_factory=ReferenceOptions)
    random_flip: bool = False
    remainder: Remainder = "keep"
    run: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what does not go together."""
        _within(1, _MAX_BATCH_SIZE, "batch_size", self.batch_size)
        _within(1, _MAX_REPEAT, "video_repeat", self.video_repeat)
        _within(1, _MAX_RUN, "run", self.run)
        _within(0, _MAX_SEED, "seed", self.seed)
        if self.run > 1 and self.remainder == "keep":
            raise ValueError(
                f"remainder is 'keep' and run {self.run}; allowed: drop or repeat with such a run"
            )
        if self.random_flip and self.control == "camera":
            raise ValueError("random_flip is set with control 'camera'; allowed: one of them")
        if sum(self.skips) >= 1:
            raise ValueError(f"clip.skip_head and clip.skip_tail are {self.skips}; allowed: below 1 together")
        if self.buckets is not None:
            self._check_buckets()
            return
        most = (self.shapes or ShapeOptions()).video_sample_n_frames
        if self.clip.min_frames > most:
            raise ValueError(
                f"clip.min_frames is {self.clip.min_frames} and shapes.video_sample_n_frames {most}; "
                "allowed: clip.min_frames not above it, as no clip is longer"
            )

    def _check_buckets(self) -> None:
        if self.shapes is not None:
            raise ValueError("buckets and shapes are both given; allowed: one of them")
        if self.batch_size != 1:
            raise ValueError(
                f"batch_size is {self.batch_size} with buckets; allowed: 1, as buckets have theirs"
            )
        if self.clip.min_frames != 1:
            frames = self.clip.min_frames
            raise ValueError(f"clip.min_frames is {frames} with buckets; allowed: 1, as buckets have theirs")
        if any(self.skips):
            raise ValueError(
                f"clip.skip_head or clip.skip_tail is {max(self.skips)} with buckets; allowed: 0"
            )
        for resolution, lengths in (self.buckets or {}).items():
            for frames, (_, size) in lengths.items():
                _within(1, MAX_FRAMES, f"buckets.{resolution}: a number of frames", frames)
                _within(1, _MAX_BATCH_SIZE, f"buckets.{resolution}.{frames}: the batch size", size or 1)
        try:
            assert self.resolution_buckets is not None
        except ValueError as error:
            raise ValueError(f"buckets: {error}") from error

    @property
    def skips(self) -> tuple[float, float]:
        """Shares of a video at its beginning and its end that are left out."""
        usual = _SKIP if self.buckets is None else 0.0
        head, tail = self.clip.skip_head, self.clip.skip_tail
        return usual if head is None else head, usual if tail is None else tail

    @cached_property
    def resolution_buckets(self) -> ResolutionBuckets | None:
        """The buckets of `buckets`, None without."""
        if self.buckets is None:
            return None
        return ResolutionBuckets(self.buckets, frame_interval=self.clip.stride)

    @property
    def layout(self) -> ShapeOptions | ResolutionBuckets:
        """What shapes batches: `shapes`, its defaults, or the buckets."""
        return self.resolution_buckets or self.shapes or ShapeOptions()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "recipe") -> Self:
        """From nested plain values.

        Args:
            values: As JSON or YAML gives them; what is left out has its default.
            where: What messages call it.

        Raises:
            ValueError: An unknown key, or a value of the wrong type or out of its range; one line with its
                dotted name and what is allowed.
        """
        return settings.from_mapping(cls, values, where=where)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """From a .yaml, .yml or .json file.

        Raises:
            ValueError: It cannot be read, or as `from_mapping` raises, with the name of the file.
        """
        values = read_recipe(Path(path))
        try:
            return cls.from_mapping(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON; `from_mapping` reads them."""
        return settings.to_mapping(self)

    def deciding(self) -> dict[str, Any]:
        """The part of `to_dict` that decides batches: without time-outs and what is for lint only."""
        values = self.to_dict()
        values["captions"] = {"dropout": self.captions.dropout}
        del values["clip"]["timeout"]
        return values


def _within(least: int, most: int, name: str, value: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}; allowed: {least} to {most}")


def _at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; allowed: {least} or more")


def _probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; allowed: 0 to 1")
