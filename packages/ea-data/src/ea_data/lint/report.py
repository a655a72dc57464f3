"""What a run found: rows, findings, epochs; and the same as JSON."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ea_data.lint.accounting import EpochCount
from ea_data.lint.findings import RULES, Finding, Severity
from ea_data.lint.inspection import FileFacts
from ea_data.lint.options import LintOptions
from ea_data.lint.rows import Row
from ea_data.training.recipe import DataRecipe

__all__ = ["SCHEMA", "LintReport", "RowCount"]

SCHEMA: Final = "ea-data lint 1"
"""Of the JSON report; another number where a reader of the old one would be wrong."""


@dataclass(frozen=True, kw_only=True)
class RowCount:
    """What became of the rows of a manifest.

    Attributes:
        rows: All of them.
        kept: Those that can be trained on.
        dropped: How many of the others for each rule; a row counts for the first rule that drops it.
    """

    rows: int
    kept: int
    dropped: Mapping[str, int]

    def __post_init__(self) -> None:
        assert self.kept + sum(self.dropped.values()) == self.rows


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """What a run found.

    Attributes:
        manifest: Of training, as it was named.
        validation: The other manifest; None without.
        recipe: That the rows were compared with.
        options: Of the run.
        rows: Of training.
        validation_rows: Of the validation.
        facts: Of the file of each row of training; None where it cannot be read.
        reasons: For each row of training the rule that drops it; "" where it is kept.
        validation_reasons: The same of the validation.
        findings: Of both manifests, in the order of their rows; those about the whole at the end.
        epochs: Where the kept rows go.
    """

    manifest: str
    validation: str | None
    recipe: DataRecipe
    options: LintOptions
    rows: tuple[Row, ...]
    validation_rows: tuple[Row, ...]
    facts: tuple[FileFacts | None, ...]
    reasons: tuple[str, ...]
    validation_reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    epochs: tuple[EpochCount, ...]

    @property
    def count(self) -> RowCount:
        """What became of the rows of training."""
        return _row_count(self.reasons)

    @property
    def validation_count(self) -> RowCount:
        """What became of the rows of the validation."""
        return _row_count(self.validation_reasons)

    def number_of(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, *, strict: bool) -> Literal[0, 1]:
        """0, or 1 with an error, or when `strict` with any finding."""
        return 1 if self.number_of("error") or (strict and self.findings) else 0

    def by_rule(self) -> dict[str, int]:
        """Findings of each rule that was broken, in the order of `RULES`."""
        counts = Counter(finding.rule for finding in self.findings)
        return {rule: counts[rule] for rule in RULES if counts[rule]}

    def json_text(self) -> str:
        """`as_json` as text, with escapes for what is no Unicode, such as bytes in names of files."""
        text = json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n"
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

    def as_json(self) -> dict[str, Any]:
        """The JSON report; docs/lint.md describes its keys."""
        dropped = [
            {"row": row.number, "line": row.line, "file": row.file, "rule": reason}
            for row, reason in zip(self.rows, self.reasons, strict=True)
            if reason
        ]
        return {
            "schema": SCHEMA,
            "manifest": self.manifest,
            "validation": self.validation,
            "recipe": self.recipe.to_dict(),
            "options": asdict(self.options),
            "rows": asdict(self.count),
            "validation_rows": None if self.validation is None else asdict(self.validation_count),
            "epochs": [_epoch(epoch) for epoch in self.epochs],
            "counts": {
                "error": self.number_of("error"),
                "warning": self.number_of("warning"),
                "rules": self.by_rule(),
            },
            "dropped": dropped,
            "findings": [finding.as_json() for finding in self.findings],
        }


def _row_count(reasons: tuple[str, ...]) -> RowCount:
    counts = Counter(reason for reason in reasons if reason)
    dropped = {rule: counts[rule] for rule in RULES if counts[rule]}
    return RowCount(rows=len(reasons), kept=reasons.count(""), dropped=dropped)


def _epoch(epoch: EpochCount) -> dict[str, Any]:
    whole = {name: getattr(epoch, name) for name in ("batches", "left_out", "repeated")}
    return {**asdict(epoch), **whole, "buckets": [asdict(bucket) for bucket in epoch.buckets]}
