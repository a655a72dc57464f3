"""Prompts of a text file, one a line."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_EVERY = 20


@dataclass(frozen=True)
class Prompts:
    """Prompts to learn from and to judge by.

    Attributes:
        train: To learn from.
        heldout: To judge by; those of `train` where there are too few to set some aside.
    """

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    def describe(self) -> str:
        """How many, and a hash of their words."""
        digest = hashlib.sha256("\n".join(self.train).encode()).hexdigest()[:16]
        return f"{len(self.train)} prompts {digest}"


def read_prompts(file: Path, heldout: Path | None = None) -> Prompts:
    """Read prompts; empty lines are skipped.

    Args:
        file: To learn from.
        heldout: To judge by; None sets every twentieth of the first file aside, if it has as many.

    Raises:
        ValueError: A file cannot be read, is no UTF-8 text or has no prompt.
    """
    lines = _lines(file)
    if heldout is not None:
        return Prompts(lines, _lines(heldout))
    if len(lines) < HELD_OUT_EVERY:
        return Prompts(lines, lines)
    kept = tuple(line for number, line in enumerate(lines) if number % HELD_OUT_EVERY)
    return Prompts(kept, lines[::HELD_OUT_EVERY])


def _lines(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file}: is no UTF-8 text; prompts are one a line") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise ValueError(f"{file}: has no prompts; write one a line")
    return lines
