"""What goes from stage to stage: one file each, what is known of it, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["Fate", "Kind", "Row"]

Kind = Literal["video", "image", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Why a row goes no further.

    Attributes:
        stage: Label of the stage that ended it.
        reason: One line.
        failed: Whether the stage could not judge it, so that it is left out unjudged; else the stage judged
            it and dropped it.
    """

    stage: str
    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A file, or a prompt without one.

    Attributes:
        name: Names the row and no other; a relative path with forward slashes.
        path: Where its bytes are now.
        kind: What it is used as.
        digest: Of all bytes of the file, or of the prompt.
        source: Name of the row of the list that it was cut from, or its own.
        columns: What stages found out; plain values of JSON.
        fate: What ended it; None while it goes on.
    """

    name: str
    path: Path
    kind: Kind
    digest: str
    source: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    fate: Fate | None = None

    def known(self, values: Mapping[str, Any]) -> "Row":
        """The row with more columns."""
        return replace(self, columns={**self.columns, **values})

    def ended(self, stage: str, reason: str, *, failed: bool = False) -> "Row":
        """The row as the stage ends it."""
        return replace(self, fate=Fate(stage=stage, reason=" ".join(reason.split()), failed=failed))
