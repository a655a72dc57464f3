"""Reading the small text files of this package."""

from pathlib import Path
from typing import Final

__all__ = ["MAX_BYTES", "read_text"]

MAX_BYTES: Final = 1_000_000
"""Largest file that is read."""


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8, with or without a mark.

    Raises:
        ValueError: It is no file, cannot be read, is too large or is no text.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without an end
            raise ValueError(f"{path} is no file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path} is too large; allowed: at most {MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
