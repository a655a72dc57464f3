"""Camera paths as people give them: words, or the name of a text file.

What was given is kept as text, the words or the content of the file, so that the same path can be made again
when the file is gone.
"""

from pathlib import Path

from ea_data.control.camera import CameraPath, camera_from_text
from ea_data.control.files import read_text
from ea_data.control.moves import parse_camera

__all__ = ["camera_path", "camera_text"]


def camera_text(given: str) -> str:
    """Words as they are, or the content of the file that they name.

    A name is what exists and is no folder, ends with .txt or contains a slash.

    Raises:
        ValueError: A file that cannot be read or has a wrong row.
    """
    if not _names_a_file(given):
        return " ".join(given.split())
    text = read_text(Path(given).expanduser())
    camera_from_text(text, given)
    return text if "\n" in text else f"{text}\n"


def camera_path(text: str, frames: int, fps: float, *, name: str = "camera") -> CameraPath:
    """The path that a result of `camera_text` stands for, at the length of a video.

    Args:
        text: Words, or lines of a camera file.
        frames: Number of poses.
        fps: Frames per second of the video; a file is cut or stretched to it, see `CameraPath.fitted`.
        name: What messages call a file.

    Raises:
        ValueError: Words that are no path, or a wrong row.
    """
    if "\n" in text:
        return camera_from_text(text, name).fitted(frames, fps)
    return parse_camera(text, frames)


def _names_a_file(given: str) -> bool:
    if "/" in given or "\\" in given or given.lower().endswith(".txt"):
        return True
    try:
        return Path(given).exists() and not Path(given).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a NUL character
        return False
