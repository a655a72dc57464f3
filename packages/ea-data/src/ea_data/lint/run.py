"""The whole of a run: rows, files, comparisons, epochs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from ea_data.lint.accounting import BucketCount, EpochCount
from ea_data.lint.checks import row_findings
from ea_data.lint.compare import copy_findings, repetition_findings
from ea_data.lint.findings import RULES, Finding
from ea_data.lint.fit import used_facts
from ea_data.lint.inspection import FactsOf, FileFacts, inspect_file
from ea_data.lint.options import LintOptions
from ea_data.lint.plan import plan_batches
from ea_data.lint.pool import inspect_files
from ea_data.lint.report import LintReport
from ea_data.lint.rows import Row, media_files, read_rows
from ea_data.training.dataset import TRAINING_LIMITS
from ea_data.training.recipe import DataRecipe

__all__ = ["lint"]

_ENDS: Final = {
    "drop": "are never trained",
    "keep": "make a smaller one",
    "repeat": "are repeated to fill one",
}
_RULE_ORDER: Final = {rule: place for place, rule in enumerate(RULES)}


def lint(
    manifest: str | Path,
    recipe: DataRecipe,
    *,
    validation: str | Path | None = None,
    root: str | Path | None = None,
    options: LintOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LintReport:
    """Check a manifest against the recipe that it is to be trained with.

    With this in a script, the code that calls it has to stand below `if __name__ == "__main__":`.

    Args:
        manifest: Of training.
        recipe: How it becomes samples and batches.
        validation: Another manifest, that has to have no file of the first one.
        root: Folder of relative paths of both; the folder of each manifest by default.
        options: Thresholds and sizes of the run.
        progress: Is told how many files are done, and how many there are.

    Raises:
        ManifestError: A manifest cannot be read at all.
        ValueError: Both manifests are the same file.
    """
    if validation is not None and Path(validation).resolve() == Path(manifest).resolve():
        raise ValueError(f"validation is {validation}, which is the training manifest; allowed: another file")
    options = options or LintOptions()
    folder = None if root is None else Path(root)
    rows = read_rows(Path(manifest), folder)
    held = [] if validation is None else read_rows(Path(validation), folder)
    facts_of = _inspect([*rows, *held], recipe, options, progress)
    found = _findings(rows, held, facts_of, recipe, options)
    reasons, held_reasons = _reasons(rows, found), _reasons(held, found)
    facts = tuple(row.facts(facts_of) for row in rows)
    epochs = _epochs(rows, facts, reasons, recipe, options.epochs)
    return LintReport(
        manifest=str(manifest),
        validation=None if validation is None else str(validation),
        recipe=recipe,
        options=options,
        rows=tuple(rows),
        validation_rows=tuple(held),
        facts=facts,
        reasons=reasons,
        validation_reasons=held_reasons,
        findings=(*found, *_whole(str(manifest), epochs, recipe)),
        epochs=epochs,
    )


def _inspect(
    rows: list[Row], recipe: DataRecipe, options: LintOptions, progress: Callable[[int, int], None] | None
) -> FactsOf:
    files = list(media_files(rows, control=recipe.control == "video"))
    found = inspect_files(
        files,
        partial(inspect_file, limits=TRAINING_LIMITS, deep=options.deep),
        timeout=options.timeout,
        workers=options.workers,
        progress=progress,
    )
    return dict(zip(files, found, strict=True))


def _findings(
    rows: list[Row], held: list[Row], facts_of: FactsOf, recipe: DataRecipe, options: LintOptions
) -> list[Finding]:
    """Of all rows, in their order, those of training first."""
    each = (row_findings(row, facts_of, recipe, options) for row in (*rows, *held))
    found = [
        *chain.from_iterable(each),
        *copy_findings(rows, held, facts_of),
        *repetition_findings(rows, options.repeated),
    ]
    first = rows[0].manifest
    return sorted(found, key=lambda item: (item.manifest != first, item.row or 0, _RULE_ORDER[item.rule]))


def _reasons(rows: list[Row], found: list[Finding]) -> tuple[str, ...]:
    """For each row the first rule that drops it, or ""."""
    reasons: dict[tuple[str, int | None], str] = {}
    for finding in found:
        if finding.drops:
            reasons.setdefault((finding.manifest, finding.row), finding.rule)
    return tuple(reasons.get((row.manifest, row.number), "") for row in rows)


def _epochs(
    rows: Sequence[Row],
    facts: Sequence[FileFacts | None],
    reasons: Sequence[str],
    recipe: DataRecipe,
    count: int,
) -> tuple[EpochCount, ...]:
    """Where the kept rows go. Training numbers all rows that can be used, dropped ones too."""
    videos, used = [], []
    for row, found, reason in zip(rows, facts, reasons, strict=True):
        if row.entry is not None:
            videos.append(row.entry.type == "video")
            used.append(None if reason or found is None else used_facts(row.entry, found))
    if not any(used):
        return ()
    plan = plan_batches(videos, used, recipe)
    return tuple(plan.count(epoch) for epoch in range(count))


def _whole(manifest: str, epochs: tuple[EpochCount, ...], recipe: DataRecipe) -> Iterator[Finding]:
    """What is wrong with all rows together."""
    if not epochs:
        yield Finding(rule="no-batch", message="no row is kept", manifest=manifest)
    for epoch in epochs:
        if not epoch.batches:
            message = f"epoch {epoch.epoch} has no batch: {epoch.samples} samples fill none"
            yield Finding(rule="no-batch", message=message, manifest=manifest)
    full: dict[str, int] = {}
    largest: dict[str, BucketCount] = {}
    for bucket in chain.from_iterable(epoch.buckets for epoch in epochs):
        full[bucket.bucket] = full.get(bucket.bucket, 0) + bucket.full
        seen = largest.setdefault(bucket.bucket, bucket)
        if bucket.samples > seen.samples:
            largest[bucket.bucket] = bucket
    for name, count in full.items():
        if not count:
            bucket = largest[name]
            lost = recipe.remainder == "drop"
            end = (
                "are never trained"
                if lost
                else "make a smaller batch"
                if recipe.remainder == "keep"
                else "are repeated to fill one"
            )
            message = f"{name}: {bucket.samples} samples never fill a batch of {bucket.batch_size} and {end}"
            yield Finding(rule="bucket-lost" if lost else "bucket-small", message=message, manifest=manifest)
