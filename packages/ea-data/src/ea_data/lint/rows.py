"""Rows of manifests, good and bad ones, and what was found in their files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ea_data.lint.findings import Finding
from ea_data.lint.inspection import FactsOf, FileFacts, FileKey
from ea_data.manifest import Entry, iter_manifest

__all__ = ["Row", "listed_files", "media_files", "read_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a manifest.

    Attributes:
        manifest: As it was named.
        number: From 0, as `ea-data show` counts.
        line: Where the row begins; several rows of a JSON list may begin in one line.
        entry: What it says; None where it cannot be used.
        reason: Why it cannot be used.
    """

    manifest: str
    number: int
    line: int
    entry: Entry | None = None
    reason: str = ""

    @property
    def place(self) -> str:
        """MANIFEST:LINE."""
        return f"{self.manifest}:{self.line}"

    @property
    def file(self) -> str:
        """The file, "" if the row names none."""
        return "" if self.entry is None else str(self.entry.path)

    def facts(self, facts_of: FactsOf) -> FileFacts | None:
        """What was found in its file; None where the row or the file cannot be used."""
        facts = None if self.entry is None else facts_of[self.entry.path, self.entry.type]
        return None if facts is None or facts.problem else facts

    def finding(self, rule: str, message: str, *related: "Row") -> Finding:
        """A finding about this row."""
        places = tuple(row.place for row in related)
        return Finding(
            rule=rule,
            message=message,
            manifest=self.manifest,
            row=self.number,
            line=self.line,
            file=self.file,
            related=places,
        )


def read_rows(manifest: Path, root: Path | None) -> list[Row]:
    """All rows of a manifest; whether their files are there is looked at later.

    Raises:
        ManifestError: The manifest cannot be read at all.
    """
    name = str(manifest)
    return [
        Row(manifest=name, number=number, line=row.line, entry=row)
        if isinstance(row, Entry)
        else Row(manifest=name, number=number, line=row.line, reason=row.reason)
        for number, row in enumerate(iter_manifest(manifest, root=root, check_files=False))
    ]


def listed_files(rows: Iterable[Row]) -> Iterator[Path]:
    """Every file that rows name, whatever it is used as."""
    for row in rows:
        if row.entry is not None:
            yield row.entry.path
            if row.entry.control_path is not None:
                yield row.entry.control_path


def media_files(rows: list[Row], *, control: bool) -> Iterator[FileKey]:
    """Videos and pictures that rows name, each once; those of control are of the kind that they steer.

    Args:
        rows: Of one or more manifests.
        control: Whether also those of control signals.
    """
    seen: set[FileKey] = set()
    for row in rows:
        if row.entry is None:
            continue
        steering = row.entry.control_path if control else None
        for path in (row.entry.path, steering):
            if path is not None and (key := (path, row.entry.type)) not in seen:
                seen.add(key)
                yield key
