"""From the inputs of a sampler node to a request.

Shapes: T frames, H and W pixels. Pictures of ComfyUI are (N, h, w, 3) in 0 ... 1.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ea_data.control.camera import CameraPath, camera_from_text, plucker_rays
from ea_data.control.source import camera_path
from ea_data.geometry.aspect import ASPECTS
from ea_data.transforms import cover_crop
from ea_dit.pipelines import Camera, Condition, Control, Frames, GenerationRequest, Reference, Video
from ea_dit.pipelines.request import MAX_SEED

Size = tuple[int, int]
"""Height and width."""

_FPS: Final = 8
_PORTRAIT: Final = (672, 384)
_POSE_NUMBERS: Final = 18


def text_request(given: Mapping[str, Any]) -> GenerationRequest:
    """A video or a picture from words."""
    size = (given["height"], given["width"])
    frames = 1 if given["is_image"] else given["video_length"]
    return _request(given, size, frames, ())


def picture_request(given: Mapping[str, Any]) -> GenerationRequest:
    """A video from its first frames, its last frames, or both.

    Raises:
        ValueError: Neither is given, or they leave nothing to make.
    """
    pictures = {name: given.get(name) for name in ("start_img", "end_img")}
    first = next((picture for picture in pictures.values() if picture is not None), None)
    if first is None:
        raise ValueError("start_img: give a start picture, an end picture, or both")
    size, frames = _size_like(first, given["base_resolution"]), given["video_length"]
    conditions = [
        Frames(pixels=_fitted(picture, size), at=0 if name == "start_img" else -len(picture), name=name)
        for name, picture in pictures.items()
        if picture is not None
    ]
    return _request(given, size, frames, tuple(conditions))


def video_request(given: Mapping[str, Any]) -> GenerationRequest:
    """A video from another one.

    Raises:
        ValueError: There is none, or it is too short.
    """
    for name in ("control_video", "ref_image", "camera_conditions"):
        if _is_given(given.get(name)):
            raise ValueError(f"{name}: is for Control models; connect validation_video")
    video = given.get("validation_video")
    if video is None:
        raise ValueError("validation_video: is needed, the video to change")
    size, frames = _size_like(video, given["base_resolution"]), given["video_length"]
    pixels = _fitted(_long_enough("validation_video", video, frames), size)
    conditions = (Video(pixels=pixels, name="validation_video"),)
    return _request(given, size, frames, conditions, strength=given["denoise_strength"])


def control_request(given: Mapping[str, Any]) -> GenerationRequest:
    """A video that follows a control video or a camera path, perhaps with a picture of what is to be seen.

    Raises:
        ValueError: There is nothing to follow, or it is too short.
    """
    if given.get("validation_video") is not None:
        raise ValueError("validation_video: is for Inpaint models; connect control_video")
    control, camera, reference = (
        given.get(name) for name in ("control_video", "camera_conditions", "ref_image")
    )
    if control is None and not _is_given(camera):
        raise ValueError("control_video: give a control video or, to a Camera model, camera_conditions")
    like = control if reference is None else reference
    base, frames = given["base_resolution"], given["video_length"]
    size = _nearest(_PORTRAIT, base) if like is None else _size_like(like, base)
    conditions: list[Condition] = []
    if control is not None:
        pixels = _fitted(_long_enough("control_video", control, frames), size)
        conditions.append(Control(pixels=pixels, name="control_video"))
    if isinstance(camera, str) and camera:
        conditions.append(Camera(rays=_rays(camera, frames, size), name="camera_conditions"))
    if reference is not None:
        conditions.append(Reference(pixels=_fitted(reference[:1], size)[:, 0], name="ref_image"))
    return _request(given, size, frames, tuple(conditions))


def _request(
    given: Mapping[str, Any], size: Size, frames: int, conditions: tuple[Condition, ...], **more: Any
) -> GenerationRequest:
    return GenerationRequest(
        prompt=given["prompt"],
        negative_prompt=given["negative_prompt"],
        height=size[0],
        width=size[1],
        num_frames=frames,
        num_steps=given["steps"],
        guidance_scale=given["cfg"],
        seed=given["seed"] & MAX_SEED,  # ComfyUI's have one bit more
        sampler=given["scheduler"],
        fps=_FPS,
        conditions=conditions,
        **more,
    )


def _size_like(picture: Tensor, base: int) -> Size:
    """The released size whose shape is nearest to that of a picture."""
    return _nearest((picture.shape[1], picture.shape[2]), base)


def _nearest(size: Size, base: int) -> Size:
    return ASPECTS.size(int(ASPECTS.nearest(*size)), base)


def _fitted(pictures: Tensor, size: Size) -> Tensor:
    """Pictures as (3, N, H, W) uint8, scaled and cut to a size."""
    array: NDArray[np.uint8] = (pictures[..., :3].float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return torch.from_numpy(np.ascontiguousarray(cover_crop(array, *size))).movedim(-1, 0)


def _long_enough(name: str, video: Tensor, frames: int) -> Tensor:
    if len(video) < frames:
        raise ValueError(f"{name}: has {len(video)} frames, video_length is {frames}; make it as short")
    return video[:frames]


def _is_given(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value)


def _rays(text: str, frames: int, size: Size) -> Tensor:
    """Ray maps (6, T, H, W) of a trajectory node's text, or of words as `ea-app generate` takes them."""
    if text.lstrip().startswith("["):
        path = _path(text)
        path = CameraPath(path.intrinsics[:frames], path.world_to_camera[:frames])
    else:
        path = camera_path(text, frames, _FPS, name="camera_conditions")
    return torch.from_numpy(plucker_rays(path, frames, *size)).movedim(1, 0)


def _path(text: str) -> CameraPath:
    try:
        poses = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("camera_conditions: is no JSON list of poses") from None
    wrong = [pose for pose in poses if not isinstance(pose, list) or len(pose) != _POSE_NUMBERS]
    if wrong or not poses:
        rule = f"a list of poses of {_POSE_NUMBERS} numbers, as CameraTrajectoryFromChaoJie makes it"
        raise ValueError(f"camera_conditions: must be {rule}")
    lines = (" ".join(str(number) for number in (0, *pose)) for pose in poses)
    return camera_from_text("\n" + "\n".join(lines), "camera_conditions")
