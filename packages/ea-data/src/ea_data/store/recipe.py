"""What a sample is made of, and the key that follows from it.

A key is a hash of everything that decides the numbers: the bytes of the media, what was done to them, the
weights that encoded them and the version of the code. Where the media lie is not part of it: one file under
two names is one sample, and two files of one name are two.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from ea_data.store.errors import CacheError

__all__ = ["KEY_LETTERS", "Recipe", "digest_bytes", "digest_file", "digest_text", "key_numbers"]

KEY_LETTERS: Final = 32
"""Hexadecimal digits of a key."""
_KEY: Final = re.compile(f"[0-9a-f]{{{KEY_LETTERS}}}")
_BLOCK: Final = 1 << 20
_PARTS: Final = ("inputs", "transform", "encoders", "code")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the numbers of a sample.

    Attributes:
        inputs: Digests of what goes in, by name, such as {"video": digest_file(path)}.
        transform: What is done to it, as JSON: size, frames, crop, flip, length of the text.
        encoders: Fingerprints of the weights that encode, by name, such as {"vae": "9f31..."}.
        code: Version of the code that does it; any text.

    Raises:
        CacheError: No input, a name or value that is not text, or a transform that JSON cannot hold.
    """

    inputs: Mapping[str, str]
    transform: Mapping[str, Any] = field(default_factory=dict)
    encoders: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    def __post_init__(self) -> None:
        """Refuse what has no one spelling."""
        for part in ("inputs", "encoders"):
            for name, value in getattr(self, part).items():
                if not isinstance(name, str) or not isinstance(value, str) or not value:
                    raise CacheError(f"recipe: {part} must hold texts, none empty, got {name!r}: {value!r}")
        if not self.inputs:
            raise CacheError("recipe: inputs is empty; name at least one digest")
        if not isinstance(self.code, str):
            raise CacheError(f"recipe: code must be text, got {self.code!r}")
        _check_json(dict(self.transform), "transform")

    @cached_property
    def key(self) -> str:
        """128 bits as 32 hexadecimal digits."""
        return digest_bytes(_canonical(self.as_json()).encode("ascii"))

    def as_json(self) -> dict[str, Any]:
        """As an object that JSON can hold; `from_json` reads it."""
        return {part: getattr(self, part) if part == "code" else dict(getattr(self, part)) for part in _PARTS}

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Read what `as_json` gives.

        Raises:
            CacheError: Another type, or an unknown name.
        """
        if not isinstance(content, dict):
            raise CacheError(f"recipe: must be an object, got {type(content).__name__}")
        if unknown := sorted(set(content) - set(_PARTS)):
            raise CacheError(f"recipe: unknown {unknown[0]!r}; allowed: {', '.join(_PARTS)}")
        for part in _PARTS[:-1]:
            if not isinstance(content.get(part, {}), dict):
                raise CacheError(f"recipe: {part} must be an object, got {content[part]!r}")
        if "inputs" not in content:
            raise CacheError("recipe: inputs is missing")
        return cls(**content)

    def differences(self, other: Recipe) -> list[str]:
        """Names of what differs, such as ["encoders.vae", "transform.size"]."""
        found: list[str] = []
        for part in _PARTS[:-1]:
            mine, others = getattr(self, part), getattr(other, part)
            names = sorted(set(mine) | set(others))
            found += [f"{part}.{name}" for name in names if _spelled(mine, name) != _spelled(others, name)]
        return found + (["code"] if self.code != other.code else [])


def digest_bytes(content: bytes) -> str:
    """BLAKE2b of 128 bits, as 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=KEY_LETTERS // 2).hexdigest()


def digest_text(text: str) -> str:
    """The digest of a caption."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def digest_file(path: str | Path) -> str:
    """The digest of all bytes of a file; equal to `digest_bytes` of them.

    Raises:
        CacheError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=KEY_LETTERS // 2)
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (OSError, ValueError) as error:
        raise CacheError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return digest.hexdigest()


def key_numbers(key: str) -> tuple[int, int]:
    """The two 64-bit halves of a key, the higher first.

    Raises:
        CacheError: It is not a key.
    """
    if not _KEY.fullmatch(key):
        raise CacheError(f"{key!r} is no key; a key has {KEY_LETTERS} digits of 0-9 and a-f")
    return int(key[:16], 16), int(key[16:], 16)


def _spelled(part: Mapping[str, Any], name: str) -> str | None:
    return _canonical(part[name]) if name in part else None


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _check_json(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise CacheError(f"recipe: names in {place} must be text, got {name!r}")
            _check_json(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_json(inner, f"{place}[{index}]")
    elif isinstance(value, float) and not abs(value) < float("inf"):
        raise CacheError(f"recipe: {place} is {value}; allowed: finite numbers")
    elif not isinstance(value, str | int | float | None):
        raise CacheError(f"recipe: {place} is {type(value).__name__}; allowed: what JSON can hold")
