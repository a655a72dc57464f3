"""What a writer left behind."""

from pathlib import Path


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a file, or of all files of a folder by their names."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    return {"": path.read_bytes()}
