"""The first batch of a run as the model sees it, to look at before hours are spent on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ea_data.media import write_text
from ea_data.media.atomic import atomic_path
from ea_data.training.sheet import draw_sheet
from ea_data.training.show import Shown
from ea_train.tasks.base import Batch

PICTURE, CAPTIONS = "first-batch.png", "first-batch.json"
_MOST = 8
_USUAL_RATE = 24.0


def write_first_batch(directory: Path, batch: Batch) -> None:
    """Draw up to eight clips of a batch below each other, and write down their captions.

    Args:
        directory: Run folder.
        batch: With "pixels" (B, T, 3, H, W) or "video" (B, 3, T, H, W) in -1 ... 1, and what goes with them;
            of a batch of latents nothing is drawn.

    Raises:
        ValueError: The files cannot be written.
    """
    pixels = batch.get("pixels")
    if pixels is None and (video := batch.get("video")) is not None:
        pixels = video.transpose(1, 2)
    if pixels is None:
        return
    texts = list(batch.get("texts", [""] * len(pixels)))
    sheets = [_sheet(batch, pixels, number, texts[number]) for number in range(min(len(pixels), _MOST))]
    paper = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)))
    paper.paste((255, 255, 255), (0, 0, *paper.size))
    top = 0
    for sheet in sheets:
        paper.paste(sheet, (0, top))
        top += sheet.height
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_path(directory / PICTURE) as temporary:
        paper.save(temporary)
    count, frames, _, height, width = pixels.shape
    facts = {"clips": count, "frames": frames, "height": height, "width": width, "captions": texts}
    write_text(directory / CAPTIONS, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


def _sheet(batch: Batch, pixels_BTCHW: Tensor, number: int, text: str) -> Image.Image:
    frames = _pictures(pixels_BTCHW[number])
    masks, control, rays = (batch.get(name) for name in ("masks", "control", "rays"))
    rate = float(batch["fps"][number]) if batch.get("fps") is not None else 0.0
    rate = rate if rate > 0 else _USUAL_RATE
    reference = batch.get("references")
    facts: dict[str, Any] = {
        "reference": None if reference is None else int(reference[number]),
        "frames": list(range(len(frames))),
        "seconds": [place / rate for place in range(len(frames))],
    }
    shown = Shown(
        frames=frames,
        masked=None if masks is None else frames * ~masks[number].numpy()[..., None],
        control=None if control is None else _pictures(control[number]),
        rays=None if rays is None else rays[number].numpy(),
        fps=rate,
        facts=facts,
    )
    clip = f"{number + 1} of {len(pixels_BTCHW)}, {frames.shape[2]}x{frames.shape[1]}, {len(frames)} frames"
    return draw_sheet(shown, {"clip": clip, "caption": repr(text)})


def _pictures(video_TCHW: Tensor) -> NDArray[np.uint8]:
    scaled = (video_TCHW.float().movedim(1, -1) + 1) * 127.5
    return scaled.round().clamp(0, 255).byte().cpu().numpy()
