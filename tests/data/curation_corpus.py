"""Footage that is drawn, with planted faults: every file is named after what is wrong with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ea_data.media import write_video

FPS, SECONDS = 8, 3.25
HEIGHT, WIDTH = 240, 320
FRAMES = round(FPS * SECONDS)
SCENE = 28
"""Frames of each scene of a clip with a cut."""


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Colours with detail at all scales, as photographs have, in a palette of the seed."""
    rng = np.random.default_rng(seed)
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = rng.uniform(70, 180, 3)
    for cell in (3, 12, 48):
        small = rng.normal(0, 14 + cell / 3, (height // cell + 2, width // cell + 2, 3))
        scaled = [
            np.array(
                Image.fromarray(small[..., c].astype(np.float32)).resize(
                    (width, height), Image.Resampling.BICUBIC
                )
            )
            for c in range(3)
        ]
        picture += np.stack(scaled, axis=-1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def pan(
    seed: int, frames: int = FRAMES, step: float = 2.0, height: int = HEIGHT, width: int = WIDTH
) -> np.ndarray:
    """A camera that goes over a texture, so many pixels a frame, turning round at its ends."""
    wide = width + round(min(step * frames, 4 * width))
    scene = texture(seed, height, wide)
    room = max(1, wide - width)
    places = [round(step * number) % (2 * room) for number in range(frames)]
    return np.stack([scene[:, p if p <= room else 2 * room - p :][:, :width] for p in places])


def banner(seed: int) -> np.ndarray:
    return np.stack([_with_text(frame) for frame in pan(seed)])


def _with_text(frame: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, HEIGHT - 56, WIDTH, HEIGHT - 8), fill=(20, 20, 120))
    draw.text((12, HEIGHT - 50), "BREAKING NEWS 24", font=ImageFont.load_default(32), fill=(255, 255, 255))
    return np.array(picture)


def blurred(seed: int) -> np.ndarray:
    return np.stack([np.array(Image.fromarray(f).filter(ImageFilter.GaussianBlur(9))) for f in pan(seed)])


def frozen(seed: int) -> np.ndarray:
    """It stands still from its middle on."""
    clip = pan(seed)
    clip[12:] = clip[12]
    return clip


def dissolve(seed: int) -> np.ndarray:
    """Two scenes that go over into each other slowly, so that no cut is found."""
    first, second = pan(seed).astype(np.float32), pan(seed + 7000).astype(np.float32)
    second = np.clip(255 - second * 0.8, 0, 255)
    share = np.clip((np.arange(FRAMES) - 4) / 18, 0, 1)[:, None, None, None]
    return (first * (1 - share) + second * share).astype(np.uint8)


def dark(seed: int) -> np.ndarray:
    return (pan(seed) // 24).astype(np.uint8)


def washed_out(seed: int) -> np.ndarray:
    return (246 + pan(seed) // 32).astype(np.uint8)


def flat(seed: int) -> np.ndarray:
    return np.full((FRAMES, HEIGHT, WIDTH, 3), 90 + 3 * (seed % 40), np.uint8)


FAULTS: dict[str, tuple[Callable[[int], np.ndarray], str]] = {
    "banner": (banner, "text"),
    "blurred": (blurred, "quality"),
    "frozen": (frozen, "quality"),
    "dark": (dark, "quality"),
    "washed": (washed_out, "quality"),
    "flat": (flat, "quality"),
    "dissolve": (dissolve, "dissolves"),
    "slow": (lambda seed: pan(seed, step=0.06), "quality or motion"),
    "fast": (lambda seed: pan(seed, step=61.0), "motion"),
    "short": (lambda seed: pan(seed, frames=10), "probe"),
    "small": (lambda seed: pan(seed, height=96, width=128), "probe"),
}
"""Name to what draws it, and the stage that has to find it."""

OTHERS = {
    "copy": "duplicates",
    "recoded": "duplicates",
    "truncated": "probe",
    "damaged": "probe or scenes",
    "empty": "probe",
}
"""Faults of files rather than of pictures, and the stage that has to find them."""


def make_corpus(folder: Path, copies: int = 1, clean: int = 3) -> dict[str, str]:
    """Write clean clips, clips with a cut, and every fault so many times.

    Returns:
        For each faulty file the stage that has to find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for number in range(clean * copies):
        _write(folder / f"clean{number}.mp4", pan(number, step=1.0 + number % 3))
    for number in range(copies):
        first, second = pan(300 + number, SCENE), pan(400 + number, SCENE)[:, :, ::-1] // 2 + 100
        _write(folder / f"twoscenes{number}.mp4", np.concatenate((first, second)))
        for place, (name, (draw, stage)) in enumerate(FAULTS.items()):
            file = f"{name}{number}.mp4"
            _write(folder / file, draw(1000 * (place + 1) + number))
            expected[file] = stage
        expected |= _broken(folder, number)
    return expected


def _broken(folder: Path, number: int) -> dict[str, str]:
    """Files made of the bytes or the frames of a clean one."""
    good = (folder / f"clean{number}.mp4").read_bytes()
    data = {"copy": good, "truncated": good[: len(good) // 2], "empty": b""}
    damaged = bytearray(good)
    begin = good.index(b"mdat") + 1000
    for place in np.random.default_rng(number).integers(begin, len(good), 200):
        damaged[place] ^= 0xFF
    data["damaged"] = bytes(damaged)
    for name, content in data.items():
        (folder / f"{name}{number}.mp4").write_bytes(content)
    # Natural order puts it after the clean clip that it is a copy of.
    _write(folder / f"recoded{number}.mp4", pan(number, step=1.0 + number % 3), crf=26)
    return {f"{name}{number}.mp4": stage for name, stage in OTHERS.items()}


def _write(path: Path, frames: np.ndarray, crf: int = 16) -> None:
    write_video(path, frames, fps=FPS, crf=crf)
