"""A small data set without a fault, and one row for every fault that `ea-data lint` knows of single rows."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ea_data.control.moves import parse_camera
from ea_data.lint.options import LintOptions
from ea_data.lint.report import LintReport
from ea_data.lint.run import lint
from ea_data.media import write_video
from ea_data.training.recipe import CaptionOptions, ClipOptions, DataRecipe
from ea_data.training.shapes import ShapeOptions

FRAMES, HEIGHT, WIDTH = 13, 72, 128
RECIPE = DataRecipe(
    shapes=ShapeOptions(
        video_sample_size=64, image_sample_size=64, token_sample_size=64, video_sample_n_frames=9
    ),
    batch_size=2,
    clip=ClipOptions(min_frames=4),
    captions=CaptionOptions(min_length=8, max_length=120, forbidden=("watermark",)),
)
VIDEOS, PICTURES, HELD = 6, 4, 2
OPTIONS = LintOptions(workers=1, repeated=3)


def scene(seed: int, frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Coloured squares of a seed that move to the right, the same scene at any size."""
    squares = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    picture = np.array(Image.fromarray(squares).resize((width, height), Image.Resampling.BICUBIC))
    return np.stack([np.roll(picture, width * number // 40, axis=1) for number in range(frames)])


def still(seed: int, height: int = 96, width: int = 112) -> Image.Image:
    """One frame of a scene."""
    return Image.fromarray(scene(seed, 1, height, width)[0])


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def caption(seed: int) -> str:
    return f"Coloured squares number {seed} that move to the right"


def video(folder: Path, seed: int, name: str | None = None, **changes) -> dict:
    """The row of a clip that is written."""
    name = name or f"clip{seed}.mp4"
    write_video(folder / name, scene(seed, **changes), fps=8, crf=12)
    return {"file_path": name, "text": caption(seed), "type": "video"}


def picture(folder: Path, seed: int, name: str | None = None, **changes) -> dict:
    """The row of a picture that is written."""
    name = name or f"picture{seed}.png"
    still(seed, **changes).save(folder / name)
    return {"file_path": name, "text": caption(seed), "type": "image"}


def clean_rows(folder: Path) -> list[dict]:
    """Rows without a fault, with clips and pictures that are written."""
    rows = [video(folder, seed) for seed in range(VIDEOS)]
    return rows + [picture(folder, 100 + seed) for seed in range(PICTURES)]


def held_rows(folder: Path) -> list[dict]:
    """Those of the validation."""
    return [video(folder, 50 + seed) for seed in range(HELD)]


def checked(manifest: Path, recipe: DataRecipe = RECIPE, **more) -> LintReport:
    return lint(manifest, recipe, **{"options": OPTIONS, **more})


def found(report: LintReport) -> list[tuple[int, str]]:
    """Row and rule of every finding about a row of training."""
    return [(f.row, f.rule) for f in report.findings if f.row is not None and f.manifest == report.manifest]


def _truncated(folder: Path) -> dict:
    row = video(folder, 200, "cut.mp4", frames=60)
    content = (folder / "cut.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(_moov_first(folder, content))
    return row


def _moov_first(folder: Path, content: bytes) -> bytes:
    """Three quarters of a file whose index comes first, so that it opens and ends early."""
    import av

    with (
        av.open(str(folder / "cut.mp4")) as source,
        av.open(str(folder / "first.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole = (folder / "first.mp4").read_bytes()
    (folder / "first.mp4").unlink()
    assert whole.index(b"moov") < whole.index(b"mdat")
    return whole[: len(whole) * 3 // 4]


def all_keys(path: Path, seed: int, frames: int, *, damaged: int) -> None:
    """A clip whose frames do not depend on each other, with zeros in the place of one of them."""
    import av

    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=8, options={"x264-params": "keyint=1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for pixels in scene(seed, frames):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(stream.encode())
    with av.open(str(path)) as source:
        packet = [packet for packet in source.demux(video=0) if packet.size][damaged]
        place, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[place + 8 : place + size] = bytes(size - 8)
    path.write_bytes(content)


def _plain(folder: Path, seed: int, name: str, frames: np.ndarray) -> dict:
    write_video(folder / name, frames, fps=8, crf=12)
    return {"file_path": name, "text": caption(seed), "type": "video"}


def _broken_picture(folder: Path) -> dict:
    row = picture(folder, 203)
    path = folder / row["file_path"]
    path.write_bytes(path.read_bytes()[:900])
    return row


def _bad_text(folder: Path) -> dict:
    (folder / "notes.mp4").write_text("these are notes, not a video")
    return {"file_path": "notes.mp4", "text": caption(204), "type": "video"}


def _one_colour(folder: Path) -> dict:
    Image.new("RGB", (112, 96), (250, 250, 250)).save(folder / "white.png")
    return {"file_path": "white.png", "text": caption(205), "type": "image"}


def _animation(folder: Path) -> dict:
    write_video(folder / "loop.gif", scene(206, 4), fps=8)
    return {"file_path": "loop.gif", "text": caption(206), "type": "image"}


def _frozen(folder: Path) -> dict:
    return _plain(folder, 207, "frozen.mp4", np.repeat(scene(207, 1), FRAMES, axis=0))


def _nearly_frozen(folder: Path) -> dict:
    noise = np.random.default_rng(0).integers(-3, 4, (FRAMES, HEIGHT, WIDTH, 3))
    frames = np.clip(np.repeat(scene(208, 1), FRAMES, axis=0) + noise, 0, 255).astype(np.uint8)
    return _plain(folder, 208, "grain.mp4", frames)


def _with_text(seed: int, text: str) -> Callable[[Path], dict]:
    return lambda folder: {**video(folder, seed), "text": text}


def _with_facts(seed: int, **facts) -> Callable[[Path], dict]:
    return lambda folder: {**video(folder, seed), **facts}


FAULTS: dict[str, tuple[tuple[str, ...], Callable[[Path], dict]]] = {
    "row that is none": (("row",), lambda folder: {"file_path": 7, "text": caption(0), "type": "video"}),
    "no such file": (
        ("missing",),
        lambda folder: {"file_path": "none.mp4", "text": caption(209), "type": "video"},
    ),
    "cut off": (("broken",), _truncated),
    "cut off picture": (("broken",), _broken_picture),
    "text as a video": (("broken",), _bad_text),
    "picture as a video": (("type",), lambda folder: {**picture(folder, 210), "type": "video"}),
    "video as a picture": (("type",), lambda folder: {**video(folder, 211), "type": "image"}),
    "animation as a picture": (("animation",), _animation),
    "too short": (("short",), lambda folder: video(folder, 212, frames=4)),
    "shorter than wanted": (("fewer-frames",), lambda folder: video(folder, 213, frames=8)),
    "more frames told": (("metadata-frames",), _with_facts(214, num_frames=FRAMES + 1)),
    "fewer frames told": (("metadata",), _with_facts(215, num_frames=FRAMES - 1)),
    "another width told": (("metadata",), _with_facts(216, width=WIDTH + 2, height=HEIGHT)),
    "another height told": (("metadata",), _with_facts(217, height=HEIGHT // 2)),
    "another rate told": (("metadata",), _with_facts(218, fps=25)),
    "small": (("small",), lambda folder: video(folder, 219, height=36, width=64)),
    "small picture": (("small",), lambda folder: picture(folder, 220, height=48, width=56)),
    "long and thin": (("aspect",), lambda folder: picture(folder, 221, height=48, width=400)),
    "frozen": (("frozen",), _frozen),
    "nearly frozen": (("frozen",), _nearly_frozen),
    "black": (
        ("blank",),
        lambda folder: _plain(folder, 222, "black.mp4", np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)),
    ),
    "white picture": (("blank",), _one_colour),
    "no caption": (("caption-empty",), _with_text(223, " \n ")),
    "short caption": (("caption-short",), _with_text(224, "Squares")),
    "long caption": (("caption-long",), _with_text(225, "Squares that move " * 8)),
    "forbidden word": (("caption-forbidden",), _with_text(226, "Squares with a Watermark on them")),
    "characters": (("caption-garbage",), _with_text(227, "Squares \ufffd\ufffd that move")),
    "control characters": (("caption-garbage",), _with_text(228, "Squares\x00 that move")),
    "no letters": (("caption-garbage",), _with_text(229, "###///---===+++ a")),
    "wrong encoding": (("caption-mojibake",), _with_text(230, "Itâ€™s a cafÃ© with squares")),
    "web address": (("caption-url",), _with_text(231, "Squares from https://example.org/a?b=1")),
    "mail address": (("caption-url",), _with_text(232, "Squares, write to a.b@example.org")),
}
"""What is wrong: the rules that have to tell it, and what writes the files and makes the row."""


def control_rows(folder: Path) -> list[dict]:
    """Clips and a picture with what steers them."""
    rows = []
    for seed in range(4):
        row = video(folder, seed)
        write_video(folder / f"control{seed}.mp4", 255 - scene(seed), fps=8, crf=12)
        rows.append({**row, "control_file_path": f"control{seed}.mp4"})
    row = picture(folder, 100)
    still(160).save(folder / "drawing.png")
    return [*rows, {**row, "control_file_path": "drawing.png"}]


def camera_rows(folder: Path) -> list[dict]:
    """Clips with camera files."""
    rows = [video(folder, seed) for seed in range(4)]
    for number, row in enumerate(rows):
        path = folder / f"camera{number}.txt"
        path.write_text(parse_camera("pan left", FRAMES).to_text())
        row["control_file_path"] = path.name
    return rows
