"""A hash of what files contain, fast for files of any size."""

from collections.abc import Iterable
from pathlib import Path

_SAMPLES = 64
_BLOCK = 1 << 20


def fingerprint_of(directory: Path, files: Iterable[Path]) -> str:
    """A hash of names and contents of files in a directory, see `Model.fingerprint`."""
    import xxhash  # noqa: PLC0415  (only records need it)

    digest = xxhash.xxh3_128()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(directory).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            for start in _sample_starts(size):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _sample_starts(size: int) -> list[int]:
    if size <= _SAMPLES * _BLOCK:
        return list(range(0, size, _BLOCK))
    return [index * (size - _BLOCK) // (_SAMPLES - 1) for index in range(_SAMPLES)]
