"""A folder of small clips and pictures whose pixels tell which file and frame they are."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ea_data.control.moves import parse_camera
from ea_data.manifest import Entry, read_manifest
from ea_data.media import write_video
from ea_data.training.dataset import TrainingDataset
from ea_data.training.recipe import CaptionOptions, DataRecipe, MaskOptions, ReferenceOptions
from ea_data.training.shapes import ShapeOptions

STEP = 6
"""How much brighter every frame is than the one before."""


SHAPES = ShapeOptions(video_sample_size=64, image_sample_size=64, video_sample_n_frames=9)
RECIPE = DataRecipe(
    shapes=SHAPES,
    batch_size=2,
    captions=CaptionOptions(dropout=0.5),
    masks=MaskOptions(draw="inpaint"),
    control="video",
    reference=ReferenceOptions(mode="random"),
    random_flip=True,
    seed=3,
)


def clip(frames: int, height: int, width: int, *, base: int = 20, left: int = 0) -> np.ndarray:
    """Grey frames of rising brightness; `left` makes the left half brighter."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video += (base + STEP * np.arange(frames)).astype(np.uint8)[:, None, None, None]
    video[:, :, : width // 2] += np.uint8(left)
    return video


def picture(path: Path, height: int, width: int, value: int, left: int = 0) -> None:
    """A grey picture."""
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[:, : width // 2] += np.uint8(left)
    Image.fromarray(pixels).save(path)


def make_folder(folder: Path) -> Path:
    """Six clips in two shapes and lengths, three pictures, each with what steers it; the manifest."""
    rows = []
    for number in range(6):
        height, width = ((64, 96), (96, 64))[number % 2]
        frames = 20 + number
        write_video(folder / f"clip{number}.mp4", clip(frames, height, width, left=100), fps=10, crf=0)
        control = folder / f"control{number}.mp4"
        write_video(control, clip(frames, height, width, base=10, left=100), fps=10, crf=0)
        rows.append((f"clip{number}.mp4", "video", control.name))
    for number in range(3):
        picture(folder / f"picture{number}.png", 80, 120, 50 + number, left=100)
        picture(folder / f"drawing{number}.png", 80, 120, 20 + number, left=100)
        rows.append((f"picture{number}.png", "image", f"drawing{number}.png"))
    (folder / "camera.txt").write_text(parse_camera("pan left", 7).to_text())
    lines = [
        {"file_path": name, "type": kind, "text": f"text of {name}", "control_file_path": control}
        for name, kind, control in rows
    ]
    manifest = folder / "metadata.json"
    manifest.write_text(json.dumps(lines))
    return manifest


def entries_of(manifest: Path, **changes) -> tuple[Entry, ...]:
    """The rows; `changes` replace columns of all of them."""
    rows = [{**row, **changes} for row in json.loads(manifest.read_text())]
    changed = manifest.with_name("changed.json")
    changed.write_text(json.dumps(rows))
    return read_manifest(changed).entries


def entries(manifest):
    return read_manifest(manifest).entries


def same(one, other):
    """Whether two batches hold the same."""
    for name, value in vars(one).items():
        there = getattr(other, name)
        assert torch.equal(value, there) if isinstance(value, torch.Tensor) else value == there, name
    return True


def batches(dataset, count):
    return [dataset.batch(number) for number in range(count)]


def quiet(manifest_or_rows, recipe=RECIPE, **changes):
    """A data set, and what it reports."""
    told = []
    rows = manifest_or_rows if isinstance(manifest_or_rows, tuple) else entries(manifest_or_rows)
    return TrainingDataset(rows, recipe, report=told.append, **changes), told
