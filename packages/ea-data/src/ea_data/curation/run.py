"""A run: the rows of the list go through the stages of a plan, one stage after the other."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ea_data.curation.engines.base import Engine
from ea_data.curation.listing import LABEL, list_rows
from ea_data.curation.plan import CARRIED, Plan, Step
from ea_data.curation.results import Results, key_of
from ea_data.curation.row import Row
from ea_data.curation.stage import Item, ItemStage, Made, SplitStage, Stage, TableStage
from ea_data.curation.work import Outcome, Task, batches
from ea_data.store import CacheError, digest_file

__all__ = ["Progress", "StageCount", "run_stages"]

Progress = Callable[[str, int, int], None]
"""Is told the label of a stage, how many files are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class StageCount:
    """What a stage did.

    Attributes:
        label: Of the stage.
        came: Rows that came to it.
        passed: Untouched, since the stage does not look at such rows.
        kept: Rows that go on of those that it looked at; of a stage that makes files, rows that gave some.
        dropped: Judged, and ended.
        failed: Could not be judged, and ended.
        made: Files that came of `kept`; 0 for a stage that makes none.
        measured: Files that were looked at in this run; the others were known.
        seconds: That this took.
        tokens: That a model wrote in this run, where one did.
    """

    label: str
    came: int
    passed: int = 0
    kept: int = 0
    dropped: int = 0
    failed: int = 0
    made: int = 0
    measured: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        assert self.came == self.passed + self.kept + self.dropped + self.failed


def run_stages(
    plan: Plan, source: Path, work: Path, engine: Engine, *, threads: int = 1, progress: Progress
) -> tuple[list[Row], list[StageCount]]:
    """Take the files of a source through the stages.

    Args:
        plan: The stages.
        source: A folder or manifest.
        work: Folder for what is measured and made; what is there already is used.
        engine: That does the work.
        threads: That read the list.
        progress: Is told how far a stage is.

    Returns:
        All rows, those that ended among them, and what each stage did.

    Raises:
        ValueError: The list cannot be read, or a stage cannot do its work at all.
    """
    begin = time.monotonic()
    rows = list_rows(source, plan.listing, threads=threads)
    failed = sum(row.fate is not None for row in rows)
    seconds = time.monotonic() - begin
    counts = [
        StageCount(label=LABEL, came=len(rows), kept=len(rows) - failed, failed=failed, seconds=seconds)
    ]
    for step in plan.steps:
        begin = time.monotonic()
        rows, count = _apply(step, rows, work, engine, progress)
        counts.append(replace(count, seconds=time.monotonic() - begin))
    return rows, counts


def _apply(
    step: Step, rows: list[Row], work: Path, engine: Engine, progress: Progress
) -> tuple[list[Row], StageCount]:
    stage = step.opened()
    came = [row for row in rows if row.fate is None]
    looked = [row for row in came if row.kind in stage.kinds]
    measured = _Measured()
    if isinstance(stage, TableStage):
        found = stage.table(rows, step.label)
    else:
        with Results(work / "results" / f"{step.stage}.jsonl") as results:
            outcomes = _Measuring(step, stage, work, results, progress).outcomes(looked, engine, measured)
        turn = _split if isinstance(stage, SplitStage) else _judged
        found = [
            new
            for row in rows
            for new in (turn(step, stage, row, outcomes[row.name], work) if row.name in outcomes else [row])
        ]
        if model := stage.model() if looked else "":
            judged = {name for name, outcome in outcomes.items() if not outcome.problem}
            found = [_with_model(row, step.label, model) if row.name in judged else row for row in found]
    ended = [row for row in found if row.fate is not None and row.fate.stage == step.label]
    failed = sum(row.fate is not None and row.fate.failed for row in ended)
    passed = len(came) - len(looked)
    going_on = sum(row.fate is None for row in found)
    return found, StageCount(
        label=step.label,
        came=len(came),
        passed=passed,
        kept=len(looked) - len(ended),
        dropped=len(ended) - failed,
        failed=failed,
        made=going_on - passed if isinstance(stage, SplitStage) else 0,
        measured=measured.files,
        tokens=measured.tokens,
    )


@dataclass
class _Measured:
    """What was not known before."""

    files: int = 0
    tokens: int = 0

    def add(self, value: Any) -> None:
        self.files += 1
        if isinstance(value, Mapping):
            self.tokens += int(cast(Mapping[str, Any], value).get("tokens") or 0)


class _Measuring:
    """Finds the results of a stage, or has them made."""

    def __init__(
        self, step: Step, stage: Stage[Any], work: Path, results: Results, progress: Progress
    ) -> None:
        self._step, self._stage, self._work = step, stage, work
        self._results, self._progress = results, progress
        self._fingerprint = stage.fingerprint()

    def outcomes(self, rows: Sequence[Row], engine: Engine, measured: _Measured) -> dict[str, Outcome]:
        """The outcome of every row, by its name."""
        keys = {row.name: self._key(row) for row in rows}
        known: dict[str, Outcome] = {}
        wanted: dict[str, Row] = {}
        for row in rows:
            key = keys[row.name]
            if key in known or key in wanted:
                continue
            value = self._results.get(key)
            if value is not None and self._is_there(row, value):
                known[key] = Outcome(value=value)
            else:
                wanted[key] = row
        self._progress(self._step.label, len(rows) - len(wanted), len(rows))
        for count, (key, outcome) in enumerate(self._made(wanted, engine), start=1):
            if not outcome.problem:
                measured.add(outcome.value)
                outcome = Outcome(value=self._results.add(key, outcome.value))  # noqa: PLW2901
            known[key] = outcome
            self._progress(self._step.label, len(rows) - len(wanted) + count, len(rows))
        return {name: known[key] for name, key in keys.items()}

    def _made(self, wanted: Mapping[str, Row], engine: Engine) -> Iterator[tuple[str, Outcome]]:
        if not wanted:
            return
        size = self._stage.batch_size if isinstance(self._stage, ItemStage) else 1
        options = json.dumps(dict(self._step.options))
        items = [self._item(row) for row in wanted.values()]
        tasks = [
            Task(stage=self._step.stage, options=options, items=tuple(part)) for part in batches(items, size)
        ]
        outcomes = (outcome for found in engine.run(tasks) for outcome in found)
        yield from zip(wanted, outcomes, strict=True)

    def _item(self, row: Row) -> Item:
        folder = self._work / self._step.stage / str(row.columns.get("stem", ""))
        return Item(path=row.path, kind=row.kind, columns=self._read(row), folder=folder)

    def _key(self, row: Row) -> str:
        return key_of(self._fingerprint, row.digest, {"kind": row.kind, **self._read(row)})

    def _read(self, row: Row) -> dict[str, Any]:
        """The columns that the stage reads."""
        read = (*self._stage.needs, *self._stage.uses)
        return {name: row.columns[name] for name in read if name in row.columns}

    def _is_there(self, row: Row, value: Any) -> bool:
        """Whether the files that a stage made are still what it wrote."""
        folder = self._item(row).folder
        try:
            return all(
                digest_file(folder / name) == digest for name, digest in self._stage.files(value).items()
            )
        except CacheError:
            return False


def _judged(step: Step, stage: Stage[Any], row: Row, outcome: Outcome, work: Path) -> list[Row]:
    del work
    assert isinstance(stage, ItemStage)
    if outcome.problem:
        return [row.ended(step.label, _without_folder(outcome.problem, row), failed=True)]
    missing = [name for name in stage.gives if name not in outcome.value]
    if missing:
        return [row.ended(step.label, f"{missing[0]} was not measured", failed=True)]
    known = row.known({name: outcome.value[name] for name in stage.gives})
    reason = stage.verdict(known.columns)
    return [known.ended(step.label, reason) if reason else known]


def _split(step: Step, stage: Stage[Any], row: Row, outcome: Outcome, work: Path) -> list[Row]:
    """The rows of files that were made of a row; the row itself where nothing was."""
    assert isinstance(stage, SplitStage)
    if outcome.problem:
        return [row.ended(step.label, _without_folder(outcome.problem, row), failed=True)]
    made = [Made(**entry) for entry in outcome.value]
    if not made:
        return [row.ended(step.label, stage.verdict(made))]
    # Control signals are files of the old size and rate.
    names = set(row.columns) - {"controls"} if stage.same_content else set(CARRIED)
    carried = {name: value for name, value in row.columns.items() if name in names}
    folder = work / step.stage / str(row.columns["stem"])
    return [
        replace(
            row,
            name=f"{row.name}#{each.name}" if each.name else row.name,
            path=folder / each.name if each.name else row.path,
            digest=each.digest or row.digest,
            columns={**carried, **each.columns},
        )
        for each in made
    ]


def _with_model(row: Row, label: str, model: str) -> Row:
    """The row with one more model that had a part in it."""
    before = row.columns.get("models")
    return row.known({"models": f"{before}; {label}: {model}" if before else f"{label}: {model}"})


def _without_folder(problem: str, row: Row) -> str:
    """The same words wherever the files lie, so that the same files give the same report."""
    return problem.replace(str(row.path), row.name)
