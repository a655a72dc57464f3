"""The one error of everything that reads or writes media files."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from av.error import FFmpegError


class MediaError(ValueError):
    """A media file cannot be read or written; the message is one line that names the file and the reason."""


@contextmanager
def media_errors(path: Path, action: str) -> Iterator[None]:
    """Turn whatever a decoder, an encoder or the file system raises into a `MediaError`.

    Damaged files were seen to raise each of the listed types from inside FFmpeg's bindings and Pillow.

    Args:
        path: The file, for the message.
        action: What was tried, such as "read".
    """
    try:
        yield
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(f"cannot {action} {path}: not enough memory") from error
    except (
        FFmpegError,
        OSError,
        ValueError,  # includes UnicodeDecodeError
        EOFError,
        LookupError,
        TypeError,
        ArithmeticError,
        RuntimeError,  # includes NotImplementedError
        SyntaxError,  # Pillow on a broken PNG
        struct.error,
    ) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(f"cannot {action} {path}: {' '.join(str(reason).split())}") from error
