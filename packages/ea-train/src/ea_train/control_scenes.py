"""Procedural clips with the signals that a control model follows: a pure function of (seed, index).

    scenes = ControlScenes(0, kind="control")
    scene = scenes.drawn(3, num_frames=17, height=64, width=64)

Shapes: K kinds of signals, T frames, H and W pixels.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from ea_data.control.camera import plucker_rays
from ea_data.control.makers import make_control
from ea_data.synthetic import sample_scene
from ea_data.synthetic.camera_scenes import CameraScene
from ea_data.synthetic.clips import Clip, Scene, caption_of, draw, sample
from ea_data.synthetic.signals import heat
from ea_data.synthetic.vocabulary import Language, Split
from ea_train.sources import to_model_range

ControlKind = Literal["control", "camera"]

SIGNALS: Final[dict[ControlKind, tuple[str, ...]]] = {
    "control": ("canny", "trajectory"),
    "camera": ("camera",),
}
"""Names of the signals of each kind of model, in the order of K."""

_STANDING_EVERY: Final = 8


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A clip and its signals.

    Attributes:
        video_CTHW: In -1 ... 1.
        signals: Control videos like the video, one per name of `SIGNALS`; or one ray map (6, T, H, W).
    """

    video_CTHW: Tensor
    signals: tuple[Tensor, ...]


class ControlScenes:
    """Scenes with control signals, a `ClipSource`.

    Args:
        seed: Of the data set.
        kind: "control": shapes before a standing camera, with their edges (OpenCV's Canny, as
            `ea-app generate --control canny` makes them) and their trajectories. "camera": a camera that
            moves, in every eighth clip one that stands.
        split: "train" or "heldout".
    """

    def __init__(self, seed: int, *, kind: ControlKind, split: Split = "train") -> None:
        self.seed = seed
        self.kind: ControlKind = kind
        self.split: Split = split

    def scene(self, index: int) -> Scene:
        """What is drawn."""
        if self.kind == "camera" and index % _STANDING_EVERY:
            return sample("camera", self.seed, index, split=self.split)
        return sample_scene(self.seed, index, split=self.split)

    def clip(self, index: int, *, num_frames: int, height: int, width: int) -> Tensor:
        """Float32 (3, T, H, W) in [-1, 1]."""
        return self.drawn(index, num_frames=num_frames, height=height, width=width).video_CTHW

    def drawn(self, index: int, *, num_frames: int, height: int, width: int) -> Drawn:
        """A clip with its signals."""
        clip = draw(self.scene(index), num_frames=num_frames, height=height, width=width)
        return Drawn(video_CTHW=to_model_range(clip.frames), signals=signals_of(clip, self.kind))

    def caption(self, index: int, *, variant: int, language: Language) -> str:
        """A caption of that clip; variant 0 is the canonical sentence.

        Half of the others of a moving camera's clip say only what is seen, so that the camera is learned from
        its rays and not from words.
        """
        scene = self.scene(index)
        quiet = isinstance(scene, CameraScene) and variant % 2 == 1
        return caption_of(scene, language, variant, motion=not quiet)

    def describe(self) -> str:
        """Generator, seed, split and kind."""
        return f"procedural {self.kind} seed={self.seed} split={self.split}"


def signals_of(clip: Clip, kind: ControlKind) -> tuple[Tensor, ...]:
    """What a model is given of a clip: see `Drawn`."""
    frames, height, width = clip.tones.shape
    if kind == "camera":
        return (torch.from_numpy(plucker_rays(clip.camera, frames, height, width)).movedim(1, 0),)
    spots = heat(clip)[..., None].repeat(3, axis=3)
    return to_model_range(make_control(clip.frames, "canny")), to_model_range(spots)
