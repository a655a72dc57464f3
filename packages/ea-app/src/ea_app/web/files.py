"""Rules for what strangers send as files, beside those of `reader`: texts, and room."""

from pathlib import Path
from typing import Final

from ea_app.options import InputError

MAX_BYTES: Final = 1 << 20


def text_bytes(field: str, given: object) -> bytes:
    """A text as the content of a file.

    Raises:
        InputError: It is no text in UTF-8, or too long.
    """
    if isinstance(given, str):
        try:
            given = given.encode()
        except UnicodeEncodeError:
            raise InputError(field, "must be valid Unicode text") from None
    if not isinstance(given, bytes):
        raise InputError(field, f"must be text, got {type(given).__name__}")
    if len(given) > MAX_BYTES:
        raise InputError(field, f"must be at most {MAX_BYTES} bytes, got {len(given)}")
    try:
        given.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(field, "must be text in UTF-8") from None
    return given


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; what is removed meanwhile counts nothing."""
    total = 0
    for path in folder.glob("**/*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
