"""What clips are made of: requests with their files opened. Shapes: T frames, H and W pixels."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ea_data.control.camera import plucker_rays
from ea_data.control.source import camera_path, camera_text
from ea_data.media import probe, read_image, read_video
from ea_data.transforms import cover_crop
from ea_dit.diffusion import Schedule
from ea_dit.pipelines import Camera, Condition, Control, Frames, GenerationRequest
from ea_dit.pipelines.checks import check_request
from ea_dit.pipelines.variants import Traits
from ea_train.samples import SampleConfig


def sample_requests(
    config: SampleConfig, traits: Traits, process: Schedule, *, size: tuple[int, int], num_frames: int
) -> list[GenerationRequest]:
    """The jobs, with their files opened.

    Args:
        config: Settings.
        traits: Of the model.
        process: Of the model.
        size: Height and width of what is trained on.
        num_frames: Of what is trained on.

    Raises:
        ValueError: A file cannot be used, or the model cannot do what is asked for.
    """
    height, width = config.height or size[0], config.width or size[1]
    frames = config.num_frames or num_frames
    given = config.conditions or ("",) * len(config.prompts)
    requests = []
    for number, (prompt, path) in enumerate(zip(config.prompts, given, strict=True)):
        try:
            conditions = (_condition(path, traits, (height, width), frames, config.fps),) if path else ()
            request = GenerationRequest(
                prompt=prompt,
                negative_prompt=config.negative_prompt,
                height=height,
                width=width,
                num_frames=frames,
                num_steps=config.num_steps,
                guidance_scale=config.guidance_scale,
                sampler=config.sampler or None,
                seed=config.seed,
                fps=config.fps,
                conditions=conditions,
            )
            request.validate()
            check_request(request, traits, process)
        except ValueError as error:
            raise ValueError(f"samples, prompt {number + 1}: {error}") from None
        requests.append(request)
    return requests


def _condition(path: str, traits: Traits, size: tuple[int, int], frames: int, fps: int) -> Condition:
    height, width = size
    match traits.variant:
        case "camera":
            poses = camera_path(camera_text(path), frames, fps)
            return Camera(rays=torch.from_numpy(plucker_rays(poses, frames, height, width)).movedim(1, 0))
        case "control":
            pixels = _pixels(Path(path), frames)
            fitted = np.ascontiguousarray(np.broadcast_to(pixels, (frames, *pixels.shape[1:])))
            return Control(pixels=_channels_first(cover_crop(fitted, height, width)))
        case "inpaint" | "frames":
            picture = cover_crop(read_image(Path(path))[None], height, width)
            return Frames(pixels=_channels_first(picture)[:, 0], name="the first picture")
    raise ValueError("a text model takes no conditions; leave samples.conditions empty")


def _pixels(path: Path, frames: int) -> NDArray[np.uint8]:
    """Frames of a video, or a picture."""
    if probe(path).kind == "image":
        return read_image(path)[None]
    found = read_video(path, take=frames).frames
    if len(found) < frames:
        raise ValueError(f"{path} has {len(found)} frames, {frames} are needed; set samples.num_frames")
    return found


def _channels_first(frames_THWC: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames_THWC)).movedim(-1, 0)
