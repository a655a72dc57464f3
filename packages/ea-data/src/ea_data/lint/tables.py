"""What a run found, as lines for a terminal."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from ea_data.lint.findings import RULES, Finding
from ea_data.lint.report import LintReport, RowCount

__all__ = ["counts_line", "epoch_lines", "report_lines"]

_SHOWN_PER_RULE: Final = 5


def report_lines(report: LintReport, *, everything: bool = False) -> Iterator[str]:
    """The whole report.

    Args:
        report: What was found.
        everything: Show all findings, not the first five of each rule.
    """
    yield from _finding_lines(report.findings, everything=everything)
    for epoch in range(len(report.epochs)):
        yield from ("", *epoch_lines(report, epoch))
    yield ""
    yield f"{report.manifest}: {counts_line(report.count)}"
    if report.validation is not None:
        yield f"{report.validation}: {counts_line(report.validation_count)}"
    yield f"{_many(report.number_of('error'), 'error')}, {_many(report.number_of('warning'), 'warning')}"


def counts_line(count: RowCount) -> str:
    """The identity of a manifest in one line."""
    dropped = count.rows - count.kept
    why = ", ".join(f"{rule} {number}" for rule, number in count.dropped.items())
    return f"{count.rows} rows = {count.kept} kept + {dropped} dropped" + (f" ({why})" if why else "")


def epoch_lines(report: LintReport, number: int) -> list[str]:
    """The buckets of an epoch and what it adds up to."""
    epoch = report.epochs[number]
    columns = ("bucket", "samples", "batch size", "batches", "left out", "repeated")
    rows: list[tuple[object, ...]] = [
        (
            bucket.bucket,
            bucket.samples,
            bucket.batch_size,
            f"{bucket.batches}, none full" if bucket.batches and not bucket.full else bucket.batches,
            bucket.left_out,
            bucket.repeated,
        )
        for bucket in epoch.buckets
    ]
    rows.append(("all", epoch.samples - epoch.not_drawn, "", epoch.batches, epoch.left_out, epoch.repeated))
    repeat = report.recipe.video_repeat
    head = f"epoch {epoch.epoch}: {_many(epoch.samples, 'sample')}"
    if repeat > 1:
        head += f" (videos {repeat} times)"
    if epoch.not_drawn:
        head += f", {epoch.not_drawn} not drawn"
    trained = epoch.samples - epoch.not_drawn - epoch.left_out
    head += f", {trained} trained in {_many(epoch.batches, 'batch', 'batches')}"
    return [head, *_table(columns, rows)]


def _finding_lines(findings: Sequence[Finding], *, everything: bool) -> Iterator[str]:
    """Findings by rule, errors first."""
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    for rule in sorted(by_rule, key=lambda name: (RULES[name].severity != "error", list(RULES).index(name))):
        found = by_rule[rule]
        yield f"{RULES[rule].severity}: {rule} ({len(found)}): {RULES[rule].text}"
        shown = found if everything else found[:_SHOWN_PER_RULE]
        yield from (f"  {_one(finding)}" for finding in shown)
        if len(found) > len(shown):
            yield f"  ... and {len(found) - len(shown)} more; --all shows them"


def _one(finding: Finding) -> str:
    place = f"{finding.manifest}:{finding.line}: " if finding.row is not None else ""
    name = f"{_shown(finding.file)}: " if finding.file else ""
    return _plain(f"{place}{name}{finding.message}")


def _shown(file: str) -> str:
    """A path, from the current folder on if it is in it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as what is in them; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = []
    for row in chain([columns], cells):
        name, *numbers = row
        parts = [name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]
        lines.append("  " + "  ".join(parts).rstrip())
    return lines


def _many(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def _plain(text: str) -> str:
    """Without line breaks and what a terminal would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
