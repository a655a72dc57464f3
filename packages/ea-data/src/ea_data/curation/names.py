"""Names of files that are made."""

from pathlib import PurePosixPath

from ea_data.store import digest_text

__all__ = ["short_name"]

_DIGITS = 8
_UNUSABLE = '<>:"|?*\\'
"""Characters that some file systems refuse."""


def short_name(name: str, most: int, *, always: str = "") -> str:
    """A part of a path that every file system takes.

    Args:
        name: Without slashes.
        most: Bytes; a longer name is cut, and gets some digits that tell it from others.
        always: Text whose digits the name gets in any case; "" for none.
    """
    plain = "".join("_" if letter in _UNUSABLE or not letter.isprintable() else letter for letter in name)
    # A name that ends in a dot or a space is another one on Windows.
    plain = plain.strip().rstrip(". ") or "_"
    if plain == name and len(plain.encode()) <= most and not always:
        return plain
    mark = digest_text(always or name)[:_DIGITS]
    begin = plain.encode()[: most - _DIGITS - 1].decode(errors="ignore")
    return f"{begin}-{mark}"


def below(folder: str, name: str) -> str:
    """A name in a folder, with forward slashes."""
    return str(PurePosixPath(folder) / name)
