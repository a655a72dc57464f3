"""Pillow without its warnings, in any number of threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from PIL import Image

__all__ = ["pillow_without_warnings"]


class _Shared:
    """What is entered by the first of several threads and left by the last.

    `warnings.catch_warnings` puts back what it found. Entered by several threads, it puts back what
    another thread had set, and the whole process stays silent.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.filters = ExitStack()


_SHARED: Final = _Shared()


@contextmanager
def pillow_without_warnings() -> Iterator[None]:
    """Silence what Pillow doubts.

    It warns from 89 million pixels on; what is too many is for `Limits` to say. It also warns of damaged EXIF
    data, without which a picture can be read.
    """
    with _SHARED.lock:
        _SHARED.users += 1
        if _SHARED.users == 1:
            _SHARED.filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    try:
        yield
    finally:
        with _SHARED.lock:
            _SHARED.users -= 1
            if _SHARED.users == 0:
                _SHARED.filters.close()
