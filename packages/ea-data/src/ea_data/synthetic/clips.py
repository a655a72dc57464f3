"""Every kind of scene by name: drawing it at random, its caption, its pixels with all that is known of them.

    scene = sample("two", seed=0, index=3)
    clip = draw(scene, num_frames=17, height=64, width=64)

Shapes: T frames, H and W pixels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ea_data.control.camera import CameraPath
from ea_data.control.moves import parse_camera
from ea_data.synthetic.camera_scenes import CameraScene, camera_track, sample_camera_scene
from ea_data.synthetic.captions import caption
from ea_data.synthetic.floors import floor_tones
from ea_data.synthetic.motion import times
from ea_data.synthetic.outlines import Outline, Track, outline, paint, track_of
from ea_data.synthetic.pairs import PairScene, sample_pair
from ea_data.synthetic.render import background_picture, check_size, second_tone
from ea_data.synthetic.sampling import sample_scene
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec
from ea_data.synthetic.scene_captions import camera_caption, pair_caption
from ea_data.synthetic.view import view_of
from ea_data.synthetic.vocabulary import Language, Split

__all__ = ["SCENE_KINDS", "Clip", "Scene", "caption_of", "draw", "record", "sample"]

Scene: TypeAlias = SceneSpec | PairScene | CameraScene

SCENE_KINDS: Final = ("one", "two", "camera")
"""One shape; two shapes and how they stand to each other; one shape and a camera that moves."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """A clip and the truth about it.

    Attributes:
        frames: (T, H, W, 3), sRGB 0..255.
        tracks: Per shape where it is, the first one furthest back.
        outlines: Per shape how far the pixels around it are from its outline.
        tones: (T, H, W), whether the background shows the second tone of its pattern; all False without one.
        camera: Where the camera is in every frame.
    """

    frames: NDArray[np.uint8]
    tracks: tuple[Track, ...]
    outlines: tuple[Outline, ...]
    tones: NDArray[np.bool_]
    camera: CameraPath


def _sample_one(seed: int, index: int, *, split: Split) -> SceneSpec:
    return sample_scene(seed, index, split=split, two_shapes=0.0)


_SAMPLERS: Final[dict[str, Callable[..., Scene]]] = {
    "one": _sample_one,
    "two": sample_pair,
    "camera": sample_camera_scene,
}


def sample(kind: str, seed: int, index: int, *, split: Split = "train") -> Scene:
    """Draw a scene; a pure function of its arguments.

    Args:
        kind: One of `SCENE_KINDS`. "one" is `sample_scene` without second shapes.
        seed: Seed of the data set, 0 or more.
        index: Number of the scene, 0 or more.
        split: "train", "heldout" or "all"; what is held out depends on the kind, see `is_heldout`,
            `pair_is_heldout` and `move_is_heldout`.

    Raises:
        ValueError: An unknown kind or split, or a negative number.
    """
    if kind not in _SAMPLERS:
        raise ValueError(f"scene kind is {kind!r}; allowed: {', '.join(SCENE_KINDS)}")
    return _SAMPLERS[kind](seed, index, split=split)


def caption_of(
    scene: Scene, language: Language | None = None, variant: int | None = None, *, motion: bool = True
) -> str:
    """Describe a scene of any kind; the arguments are those of `caption`."""
    if isinstance(scene, SceneSpec):
        return caption(scene, language, variant, motion=motion)
    if isinstance(scene, PairScene):
        return pair_caption(scene, language, variant, motion=motion)
    return camera_caption(scene, language, variant, motion=motion)


def record(scene: Scene) -> dict[str, Any]:
    """A scene as JSON holds it, with its kind."""
    if isinstance(scene, CameraScene):
        return {"kind": "camera"} | asdict(scene)
    return {"kind": "two" if isinstance(scene, PairScene) else "one"} | asdict(scene)


def draw(scene: Scene, *, num_frames: int, height: int, width: int) -> Clip:
    """Draw a scene of any kind and keep what is known of it.

    Args:
        scene: What to draw. The frames of a `SceneSpec` are those of `render`.
        num_frames: T; motions fill the whole clip, one frame is its first moment.
        height: H, 8 or more.
        width: W, 8 or more.

    Raises:
        ValueError: A size or length out of range.
    """
    check_size(num_frames, height, width)
    if isinstance(scene, CameraScene):
        path = scene.path(num_frames)
        weight = floor_tones(scene.floor, view_of(path, scene.floor_depth, height, width), height, width)
        first, second = (np.array(rgb, dtype=np.float32) for rgb in scene.floor.rgb)
        frames = (first + (second - first) * weight[..., None] + np.float32(0.5)).astype(np.uint8)
        shapes, tracks = (scene.shape,), (camera_track(scene, num_frames, height, width),)
        tones = weight >= 0.5
    else:
        path = parse_camera("static", num_frames)
        frames, tones = _standing(scene.background, num_frames, height, width)
        shapes, tracks = scene.shapes, _tracks(scene, num_frames, height, width)
    outlines = tuple(
        outline(shape.shape, track, height, width) for shape, track in zip(shapes, tracks, strict=True)
    )
    for shape, drawn in zip(shapes, outlines, strict=True):
        paint(frames, drawn, shape.fill)
    return Clip(frames=frames, tracks=tracks, outlines=outlines, tones=tones, camera=path)


def _standing(
    background: BackgroundSpec, num_frames: int, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames and second tones of a background that a standing camera sees."""
    picture = (background_picture(background, height, width) + np.float32(0.5)).astype(np.uint8)
    tones = np.zeros((height, width), dtype=bool)
    if background.kind == "striped":
        tones = second_tone(background, height, width) >= 0.5
    return np.repeat(picture[None], num_frames, axis=0), np.repeat(tones[None], num_frames, axis=0)


def _tracks(scene: SceneSpec | PairScene, num_frames: int, height: int, width: int) -> tuple[Track, ...]:
    time, short = times(num_frames), min(height, width)

    def track(shape: ShapeSpec) -> Track:
        if isinstance(scene, SceneSpec):
            return track_of(shape, time, height, width)
        found = track_of(shape, time, short, short)
        return found._replace(x=found.x + scene.x * (width - short), y=found.y + scene.y * (height - short))

    return tuple(track(shape) for shape in scene.shapes)
