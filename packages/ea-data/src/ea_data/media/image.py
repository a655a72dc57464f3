"""Pictures and animations that Pillow reads: png, jpeg, webp, gif, bmp, avif."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, features

from ea_data.media.errors import MediaError, media_errors
from ea_data.media.limits import Limits, check_pixels, sniff
from ea_data.media.quiet import pillow_without_warnings

_PILLOW_FORMATS: Final = {
    "png": "PNG",
    "jpeg": "JPEG",
    "webp": "WEBP",
    "gif": "GIF",
    "bmp": "BMP",
    "avif": "AVIF",
}
_WHITE: Final = (255, 255, 255)
_ROTATIONS: Final = {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}  # clockwise, by EXIF orientation


def read_image(
    path: str | Path, *, limits: Limits | None = None, matte: tuple[int, int, int] = _WHITE
) -> NDArray[np.uint8]:
    """Read a picture as it is meant to be seen: turned by its EXIF orientation, transparency over a matte.

    Args:
        path: A png, jpeg, webp, gif, bmp or avif file (the first frame of an animation).
        limits: Bounds; the defaults of `Limits` if None. The size is checked before decoding.
        matte: sRGB colour behind transparent pixels.

    Returns:
        Shape (H, W, 3), sRGB 0..255.

    Raises:
        MediaError: Not such a file, damaged, or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return flatten(image, matte)


def picture_size(path: str | Path, *, limits: Limits | None = None) -> tuple[int, int]:
    """Height and width that `read_image` gives, from the header alone.

    Raises:
        MediaError: Not a picture, or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        return upright_size(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of a picture that is turned as its EXIF orientation says."""
    return (image.width, image.height) if rotation_of(image) in (90, 270) else (image.height, image.width)


def rotation_of(image: Image.Image) -> int:
    """Clockwise degrees by which a picture is turned, after it was mirrored if it is: 0, 90, 180 or 270."""
    return _ROTATIONS.get(image.getexif().get(ExifTags.Base.Orientation) or 1, 0)


@contextmanager
def open_pillow(path: Path, limits: Limits) -> Iterator[Image.Image]:
    """Open a file with the one Pillow plug-in that its content names, without decoding pixels."""
    name = sniff(path, limits)
    if name not in _PILLOW_FORMATS:
        allowed = ", ".join(_PILLOW_FORMATS)
        raise MediaError(f"cannot read {path}: it is a {name} video, not a picture; allowed: {allowed}")
    if name == "avif" and not features.check("avif"):
        raise MediaError(f"cannot read {path}: it is an avif picture, which this Pillow was built without")
    with path.open("rb") as file, pillow_without_warnings():
        try:
            with Image.open(file, formats=[_PILLOW_FORMATS[name]]) as image:
                check_pixels(path, *image.size, limits.max_image_pixels)
                yield image
        except Image.DecompressionBombError as error:  # also from a later frame, which may be larger
            found = re.search(r"\d+", str(error))  # Pillow's own limit is not ours to tell
            pixels = f"{found[0]} pixels" if found else "too many pixels"
            allowed = f"1 to {limits.max_image_pixels} pixels"
            raise MediaError(f"cannot read {path}: {pixels}; allowed: {allowed}") from error


def flatten(image: Image.Image, matte: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Any Pillow mode to (H, W, 3) sRGB."""
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey: keep the upper byte
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if values.max(initial=0.0) > 255 else 1.0
        grey = np.clip(values / scale + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*matte, 255))
        return np.array(Image.alpha_composite(below, image).convert("RGB"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def is_animation(path: Path, name: str, limits: Limits) -> bool:
    """Whether Pillow reads a file as a video: any gif or webp, and a png with several frames.

    Args:
        path: The file.
        name: What `sniff` found.
        limits: Bounds.

    Raises:
        MediaError: A damaged or too large png.
    """
    if name != "png":
        return name in ("gif", "webp")
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        return int(getattr(image, "n_frames", 1)) > 1


def read_animation(path: Path, limits: Limits, take: int | None) -> tuple[NDArray[np.uint8], list[float]]:
    """Read a gif, webp or png animation.

    Returns:
        Frames (T, H, W, 3), and how long each is shown in seconds.
    """
    frames, seconds = [], []
    with media_errors(path, "read"), open_pillow(path, limits) as image:
        count = getattr(image, "n_frames", 1)
        if count > 1:
            check_pixels(path, *image.size, limits.max_pixels)
        wanted = count if take is None else min(count, take)
        if wanted > limits.max_frames:
            raise MediaError(f"cannot read {path}: {count} frames; allowed: at most {limits.max_frames}")
        for index in range(wanted):
            image.seek(index)
            image.load()
            frames.append(flatten(image, _WHITE))
            seconds.append(max(float(image.info.get("duration", 0) or 0), 10.0) / 1000)
    return np.stack(frames), seconds
