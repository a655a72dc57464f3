"""What the readers accept: bounds against oversized files, and recognising a file by its content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ea_data.media.errors import MediaError, media_errors

Kind = Literal["video", "image"]

VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif", ".webp")
IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".avif")

_HEAD: Final = 64

MAX_SIDE: Final = 16384
"""Largest height or width of a picture that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds of an input file.

    Attributes:
        max_pixels: Width times height of a frame of a video or animation.
        max_image_pixels: Width times height of a picture; one of so many needs about a gigabyte to be read.
        max_frames: Frames that are returned.
        max_seconds: Length of a video.
        max_bytes: Size of the file.
    """

    max_pixels: int = 4096 * 4096
    max_image_pixels: int = 8192 * 8192
    max_frames: int = 1000
    max_seconds: float = 120.0
    max_bytes: int = 200_000_000


def sniff(path: Path, limits: Limits) -> str:
    """Name the container from the first bytes, never from the name alone.

    FFmpeg guesses formats by content, playlists that open other files among them, so the demuxer is forced to
    what is found here.

    Returns:
        "mp4", "matroska", "avi", "gif", "webp", "png", "jpeg", "bmp" or "avif".

    Raises:
        MediaError: Not a file, too large, empty, or not one of these.
    """
    with media_errors(path, "read"):
        if not path.exists():
            raise MediaError(f"cannot read {path}: no such file")
        if not path.is_file():
            raise MediaError(f"cannot read {path}: not a regular file")
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise MediaError(f"cannot read {path}: {size} bytes; allowed: at most {limits.max_bytes}")
        with path.open("rb") as file:
            head = file.read(_HEAD)
    if not head:
        raise MediaError(f"cannot read {path}: the file is empty")
    if head[4:8] == b"ftyp" and (head[8:12] == b"avif" or (head[8:12] == b"mif1" and b"avif" in head[16:])):
        return "avif"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"WEBP"):
        return "avi" if head[8:12] == b"AVI " else "webp"
    for magic, name in ((b"GIF8", "gif"), (b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"BM", "bmp")):
        if head.startswith(magic):
            return name
    allowed = "mp4, mov, webm, mkv, avi, gif, webp, png, jpeg, bmp, avif"
    raise MediaError(f"cannot read {path}: not a known video or image; allowed: {allowed}")


def check_pixels(path: Path, width: int, height: int, most: int) -> None:
    """Refuse a frame size before anything is decoded.

    Raises:
        MediaError: No pixels or too many.
    """
    if width < 1 or height < 1 or width * height > most:
        raise MediaError(f"cannot read {path}: {width}x{height}; allowed: 1 to {most} pixels")
