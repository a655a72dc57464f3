"""Files with the same content, and files that look the same.

Two files look the same where the first, middle and last frame of both, reduced to 8x8 RGB, hardly differ: the
same clip encoded anew, scaled or with other proportions; not mirrored, cropped or shifted in time. Files with
the same caption may differ twice as much.

Comparing all pairs grows with the square of the files. Random hyperplanes (Charikar, 2002) find candidates:
the signs of some projections make a key, a file has several keys, and files with a common key are compared.
ImageHash was looked at: it needs scipy and PyWavelets for the hash of one picture, and leaves the search
among many hashes to its user.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.lint.looks import PRINT_FRAMES, PRINT_SIDE

__all__ = ["near_copies", "same_content"]

_VALUES: Final = PRINT_FRAMES * PRINT_SIDE * PRINT_SIDE * 3
_TABLES, _BITS = 12, 16
_MOST_RMS: Final = 5.0
_MOST_ANYWHERE: Final = 20.0
_SAME_CAPTION: Final = 2.0
_AT_ONCE: Final = 2048
_PAIRS_AT_ONCE: Final = 1 << 22


def same_content(digests: Sequence[str]) -> list[tuple[int, int]]:
    """(earlier, later) places with equal digests; the earlier one is the first of all. "" equals nothing."""
    first: dict[str, int] = {}
    found = []
    for place, digest in enumerate(digests):
        if digest and (earlier := first.setdefault(digest, place)) != place:
            found.append((earlier, place))
    return found


def near_copies(prints: Sequence[bytes], captions: Sequence[str]) -> list[tuple[int, int]]:
    """(earlier, later) places of files that look the same, ascending by the later one.

    Each place comes at most once as the later one, with the earliest that it looks like.

    Args:
        prints: `Looks.print` of each file.
        captions: Of each file; "" is the same as no other.
    """
    if len(prints) < 2:
        return []
    values = np.frombuffer(b"".join(prints), np.uint8).reshape(len(prints), _VALUES)
    earliest: dict[int, int] = {}
    for group in _candidates(values):
        for earlier, later in _pairs(values, captions, group):
            earliest[later] = min(earlier, earliest.get(later, earlier))
    return sorted(((earlier, later) for later, earlier in earliest.items()), key=lambda pair: pair[1])


def _candidates(values: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Ascending places of files that have a key in common; the same ones not again."""
    seen: set[int] = set()
    planes = np.random.default_rng(0).standard_normal((_VALUES, _TABLES * _BITS)).astype(np.float32)
    keys = np.empty((len(values), _TABLES), np.int64)
    powers = 2 ** np.arange(_BITS)
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE].astype(np.float32)
        signs = (part - part.mean(axis=1, keepdims=True)) @ planes > 0
        keys[start : start + _AT_ONCE] = signs.reshape(len(part), _TABLES, _BITS) @ powers
    for table in range(_TABLES):
        order = np.argsort(keys[:, table], kind="stable")
        ends = np.flatnonzero(np.diff(keys[order, table])) + 1
        for group in np.split(order, ends):
            if len(group) > 1 and (mark := hash(group.tobytes())) not in seen:
                seen.add(mark)
                yield group


def _pairs(
    values: NDArray[np.uint8], captions: Sequence[str], group: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Pairs of a group that look the same, of each later file the one with the earliest."""
    floats = values[group].astype(np.float32)
    squares = np.einsum("nv,nv->n", floats, floats)
    step = max(1, _PAIRS_AT_ONCE // len(group))
    for start in range(0, len(group), step):
        part = floats[start : start + step]
        # |a - b|^2 of all pairs by one product of matrices.
        apart = squares[start : start + step, None] + squares[None] - 2 * part @ floats.T
        near = apart <= _VALUES * (_SAME_CAPTION * _MOST_RMS) ** 2
        near &= np.arange(len(group)) < np.arange(start, start + len(part))[:, None]
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            later = int(group[start + row])
            for column in np.flatnonzero(near[row]).tolist():
                earlier = int(group[column])
                told_alike = captions[earlier] != "" and captions[earlier] == captions[later]
                if _alike(part[row], floats[column], _SAME_CAPTION if told_alike else 1.0):
                    yield earlier, later
                    break


def _alike(first: NDArray[np.float32], second: NDArray[np.float32], factor: float) -> bool:
    apart = np.abs(first - second)
    rms = float(np.sqrt(np.mean(apart**2)))
    return rms <= factor * _MOST_RMS and float(apart.max()) <= factor * _MOST_ANYWHERE
