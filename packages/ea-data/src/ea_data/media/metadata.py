"""The text inside a media file that says how it was made."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from ea_data.media.container import CONTAINERS, opened
from ea_data.media.errors import MediaError, media_errors
from ea_data.media.image import open_pillow
from ea_data.media.limits import Limits, sniff
from ea_data.media.sequence import first_picture, is_sequence, picture_name

TextSource: TypeAlias = str | Callable[[], str] | None
"""The text of a file: as it is, or what is called for it when all frames are there; None for none."""

PNG_KEY: Final = "comment"
_XMP_HEAD: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description rdf:about=""><dc:description>'
)
_XMP_TAIL: Final = "</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"


def final_text(source: TextSource) -> str | None:
    """The text itself; a call where it is known in the end only."""
    return source() if callable(source) else source


def checked_text(source: TextSource) -> TextSource:
    """The same text, refused if it cannot be embedded: at once, or when it is made.

    Raises:
        MediaError: It contains a NUL character.
    """
    if callable(source):
        return lambda: _checked(source())
    return None if source is None else _checked(source)


def _checked(text: str) -> str:
    if "\0" in text:
        raise MediaError("metadata contains a NUL character")
    return text


def xmp_packet(text: str) -> bytes:
    """An XMP packet whose description is the text."""
    return f"{_XMP_HEAD}{html.escape(text)}{_XMP_TAIL}".encode()


def read_metadata(path: str | Path, *, limits: Limits | None = None) -> str | None:
    """The text that `write_video` embedded: a comment, of a webp the XMP description.

    For the folder or the zip file of a sequence of pictures, that of its first picture.

    Returns:
        The text, or None when there is none.

    Raises:
        MediaError: Not a media file, damaged, or out of bounds.
    """
    path, limits = Path(path), limits or Limits()
    if path.is_dir():
        path = path / picture_name(0)
    if is_sequence(path):
        with first_picture(path, limits) as first:
            return read_metadata(first, limits=limits)
    name = sniff(path, limits)
    with media_errors(path, "read"):
        if name in CONTAINERS:
            with opened(path, name, limits) as (container, _):
                tags = {key.lower(): value for key, value in container.metadata.items()}
            return tags.get("comment") or tags.get("description")
        with open_pillow(path, limits) as image:
            if name == "webp":
                packet = image.info.get("xmp", b"").decode()
                found = re.search(r"<dc:description>(.*?)</dc:description>", packet, re.DOTALL)
                return html.unescape(found[1]) if found else None
            value = image.info.get(PNG_KEY)
            return value.decode() if isinstance(value, bytes) else value
