"""Files of strangers: told by their content, and refused where reading them would cost too much."""

import math
from pathlib import Path
from typing import Final

from ea_app.options import InputError, concerning
from ea_data.media import IMAGE_SUFFIXES, Limits, MediaInfo, probe
from ea_data.media.container import CONTAINERS, opened
from ea_data.media.limits import sniff

MAX_VOLUME: Final = 1 << 27
"""Width times height times frames of one file: about 400 MB once it is decoded."""

_LIMITS: Final = Limits()
_SUFFIXES: Final = {"matroska": ".mkv", "jpeg": ".jpg"}
_EXTENSION: Final = 0x21
_DESCRIPTOR: Final = 0x2C


def suffix_of(path: Path, field: str, limits: Limits = _LIMITS) -> str:
    """The ending of the name that a file should have, by its first bytes.

    Raises:
        InputError: It is no known video or picture, or too large.
    """
    with concerning(field):
        name = sniff(path, limits)
    return _SUFFIXES.get(name, f".{name}")


def is_plain_video(path: Path) -> bool:
    """Whether a name that ends with a result of `suffix_of` is one of a video, and never of a picture."""
    return path.suffix not in IMAGE_SUFFIXES


def examine(path: Path, field: str, *, max_volume: int = MAX_VOLUME, limits: Limits = _LIMITS) -> MediaInfo:
    """Look at a file without decoding more than its first frame.

    Frames are counted, not believed: packets of videos, blocks of a gif.

    Args:
        path: The file.
        field: The option that it is for.
        max_volume: Width times height times frames.
        limits: Other bounds.

    Raises:
        InputError: What is wrong or too much, and what is allowed.
    """
    with concerning(field):
        name = sniff(path, limits)
        # Pillow would walk through all pictures of a gif, so that they are counted first.
        if name == "gif":
            _check_count(_count_gif(path, limits.max_frames), limits)
        info = probe(path, limits=limits)
        frames = _count_packets(path, name, limits) if name in CONTAINERS else max(info.frames or 1, 1)
        _check_count(frames, limits)
        if (volume := info.width * info.height * frames) > max_volume:
            size = f"{info.width}x{info.height} pixels in {frames} frames are {volume}"
            raise InputError(field, f"{size}; allowed: at most {max_volume} in all")
    return info


def _check_count(frames: int, limits: Limits) -> None:
    if frames > limits.max_frames:
        raise ValueError(f"has more than {limits.max_frames} frames; allowed: at most so many")


def _count_packets(path: Path, name: str, limits: Limits) -> int:
    """Packets of the video, or one more than are allowed."""
    count = 0
    try:
        with opened(path, name, limits, headers_only=True) as (container, stream):
            for packet in container.demux(stream):
                count += packet.size > 0
                if count > limits.max_frames:
                    break
    except (OSError, ValueError, IndexError, MemoryError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    return count


def _count_gif(path: Path, most: int) -> int:
    """Pictures of a gif, or one more than are allowed; Pillow would walk through all of them."""
    data = path.read_bytes()
    at, count = 13 + _table_size(data[10]) if len(data) > 13 else math.inf, 0
    while at < len(data) and count <= most:
        at = int(at)
        if data[at] == _EXTENSION:
            at += 2
        elif data[at] == _DESCRIPTOR and at + 9 < len(data):
            count += 1
            at += 10 + _table_size(data[at + 9]) + 1
        else:  # the end, or damage, of which Pillow tells
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return max(count, 1)


def _table_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
