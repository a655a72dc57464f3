"""The report of a run as a folder: a page with counts that add up, charts, contact sheets, and the JSON."""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from ea_data.curation.contact import SHEETS, Sheet, sheets_of
from ea_data.curation.row import Row
from ea_data.curation.run import StageCount
from ea_data.lint.charts import bars_of_names, bars_of_values, draw_bars
from ea_data.lint.style import PAGE_STYLE, standalone_chart
from ea_data.media.folders import replaced_folder

__all__ = ["RunReport", "table_lines", "write_report"]

_PAGE: Final = "index.html"
_MOST_ROWS: Final = 2000
_NO_CHART: Final = (
    "print",
    "blank",
    "stem",
    "text",
    "caption",
    "class",
    "models",
    "source",
    "start",
    "tokens",
    "codec",
    "container",
    "width",
    "height",
)
_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "seconds": ("Length", "seconds"),
    "fps": ("Frame rate", "frames per second"),
    "motion_score": ("Motion", "score"),
    "text_score": ("Text", "share of the picture"),
    "frozen": ("Standing still", "seconds"),
    "edge_width": ("Width of the sharpest edges", "pixels, 40 for all above"),
    "light": ("Light", "mean luma"),
    "contrast": ("Contrast", "range of luma"),
    "consistency": ("Likeness of neighbouring frames", ""),
    "camera": ("Camera", ""),
    "unmixed": ("Share of a frame that is no mixture", ""),
}
_OF_VIDEOS: Final = ("seconds", "fps", "frames")
_MOST_SHOWN: Final[Mapping[str, float]] = {"edge_width": 40}
"""A picture without any edge would leave no room for the others."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes:
        plan: As plain values.
        name: Of the plan.
        source: What it read.
        rows: All rows at its end.
        counts: Of each stage.
        settings: Of the run: engine, workers.
    """

    plan: Mapping[str, Any]
    name: str
    source: str
    rows: Sequence[Row]
    counts: Sequence[StageCount]
    settings: Mapping[str, Any]

    @property
    def kept(self) -> int:
        """Rows in the manifest."""
        return sum(row.fate is None for row in self.rows)

    def reasons(self) -> dict[str, Counter[str]]:
        """For each stage, how often which reason; numbers are left out of reasons."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            if row.fate is not None:
                reason = _without_numbers(row.fate.reason)
                words = "could not be judged: see the list below" if row.fate.failed else reason
                found.setdefault(row.fate.stage, Counter())[words] += 1
        order = {count.label: number for number, count in enumerate(self.counts)}
        return dict(sorted(found.items(), key=lambda each: order[each[0]]))

    def models(self) -> list[str]:
        """Stages and the models that judged rows for them, with what always means the same weights."""
        found = (str(row.columns.get("models") or "").split("; ") for row in self.rows)
        return list(dict.fromkeys(model for models in found for model in models if model))

    def json_text(self) -> str:
        """The same for programs."""
        values = {
            "plan": {"name": self.name, **self.plan},
            "source": self.source,
            "settings": dict(self.settings),
            "models": self.models(),
            "kept": self.kept,
            "ended": len(self.rows) - self.kept,
            "reasons": {stage: dict(counts) for stage, counts in self.reasons().items()},
            "stages": [
                {**asdict(count), "tokens_per_second": _rate(count)} if count.tokens else asdict(count)
                for count in self.counts
            ],
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def table_lines(report: RunReport) -> Iterator[str]:
    """What each stage did, as a table of text."""
    heads = ("came", "kept", "dropped", "failed", "files", "new", "seconds")
    yield f"{'stage':<20}" + "".join(f"{head:>9}" for head in heads)
    for count in report.counts:
        made = str(count.made) if count.made else ""
        kept = count.kept + count.passed
        yield (
            f"{count.label:<20}{count.came:>9}{kept:>9}{count.dropped:>9}{count.failed:>9}{made:>9}"
            f"{count.measured:>9}{count.seconds:>9.1f}"
        )
    yield from _token_lines(report.counts)
    yield f"{report.kept} kept, {len(report.rows) - report.kept} left out"


def write_report(folder: Path, report: RunReport, *, samples: int) -> Path:
    """Write a report, whole or not at all; an earlier one is replaced.

    Args:
        folder: Its parent has to exist.
        report: What the run did.
        samples: Pictures on each contact sheet; 0 for no sheets.

    Returns:
        The page.

    Raises:
        MediaError: The disk is full.
    """
    with replaced_folder(folder) as new:
        order = [count.label for count in report.counts]
        sheets = list(sheets_of(report.rows, samples, order)) if samples else []
        for sheet in sheets:
            sheet.picture.save(new / sheet.file, quality=88)
        charts = _charts(report.rows)
        for name, svg in charts.items():
            (new / f"{name}.svg").write_text(standalone_chart(svg), encoding="utf-8")
        (new / "report.json").write_text(report.json_text(), encoding="utf-8", errors="backslashreplace")
        page = "\n".join(_page(report, list(charts.values()), sheets))
        (new / _PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
    return folder / _PAGE


def _page(report: RunReport, charts: Sequence[str], sheets: Sequence[Sheet]) -> Iterator[str]:
    title = html.escape(f"Curation of {Path(report.source).name} with {report.name}")
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f"<title>{title}</title>\n<style>{PAGE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield f"<p>{report.kept} rows kept, {len(report.rows) - report.kept} left out</p>"
    if report.models():
        yield f"<p>Models: {html.escape('; '.join(report.models()))}</p>"
    yield from _stages(report.counts)
    yield from _reasons(report.reasons())
    if charts:
        yield '<h2>Distributions</h2>\n<p class="key"><i style="background:var(--kept)"></i>kept'
        yield '<i style="background:var(--dropped)"></i>left out; of rows that a stage saw</p>'
        yield f'<div class="charts">{"".join(charts)}</div>'
    for sheet in sheets:
        yield f"<h2>{html.escape(sheet.title)}</h2>\n<p>{html.escape(SHEETS)}</p>"
        yield f'<img src="{sheet.file}" alt="contact sheet">'
    yield from _ended(report.rows)
    yield "</body>\n</html>\n"


def _stages(counts: Sequence[StageCount]) -> Iterator[str]:
    yield "<h2>Stages</h2>\n<table><tr><th>stage<th>came<th>kept<th>dropped<th>failed<th>files made"
    yield "<th>measured now<th>seconds</tr>"
    for count in counts:
        cells = (
            count.label, count.came, count.kept + count.passed, count.dropped, count.failed, count.made or "",
            count.measured, f"{count.seconds:.1f}",
        )  # fmt: skip
        yield "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells) + "</tr>"
    yield "</table>"
    yield from (f"<p>{html.escape(line)}</p>" for line in _token_lines(counts))


def _reasons(found: Mapping[str, Counter[str]]) -> Iterator[str]:
    if not found:
        return
    yield "<h2>Reasons</h2>\n<table><tr><th>stage<th>rows<th>reason</tr>"
    for stage, reasons in found.items():
        for words, count in reasons.most_common():
            yield f"<tr><td>{html.escape(stage)}<td>{count}<td>{html.escape(words)}</tr>"
    yield "</table>"


def _token_lines(counts: Sequence[StageCount]) -> Iterator[str]:
    """How fast models wrote."""
    for count in counts:
        if count.tokens:
            what = f"{count.tokens} tokens in {count.measured} answers"
            yield f"{count.label}: {what}, {_rate(count):g} a second"


def _rate(count: StageCount) -> float:
    """Tokens a second, over all questions that were on their way at once."""
    return round(count.tokens / max(count.seconds, 1e-3), 1)


def _ended(rows: Sequence[Row]) -> Iterator[str]:
    ended = [row for row in rows if row.fate is not None]
    if not ended:
        return
    yield "<h2>Left out</h2>\n<table><tr><th>file<th>stage<th>reason</tr>"
    for row in ended[:_MOST_ROWS]:
        assert row.fate is not None
        mark = ' class="error"' if row.fate.failed else ""
        yield (
            f"<tr><td>{html.escape(row.name)}<td{mark}>{html.escape(row.fate.stage)}"
            f"<td>{html.escape(row.fate.reason)}</tr>"
        )
    yield "</table>"
    if len(ended) > _MOST_ROWS:
        yield f"<p>and {len(ended) - _MOST_ROWS} more in excluded.jsonl</p>"


def _charts(rows: Sequence[Row]) -> dict[str, str]:
    """The distribution of every column of numbers, and of labels."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.columns))
    charts = {}
    for name in names:
        title, unit = _TITLES.get(name, (name.replace("_", " ").capitalize(), ""))
        values: tuple[list[Any], list[Any]] = ([], [])
        for row in rows:
            value = row.columns.get(name)
            if row.kind == "image" and name in _OF_VIDEOS:
                continue
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                shown = min(value, _MOST_SHOWN[name]) if name in _MOST_SHOWN else value
                values[row.fate is not None].append(shown)
        kept, ended = values
        if name in _NO_CHART or not (kept or ended):
            continue
        if isinstance((kept or ended)[0], str):
            charts[name] = draw_bars(bars_of_names(title, kept, ended))
        else:
            charts[name] = draw_bars(bars_of_values(title, unit, kept, ended))
    return charts


def _without_numbers(reason: str) -> str:
    """Reasons that differ only in a number or a name are one."""
    without = re.sub(r"(?<![\w.])-?[0-9][\w.+-]*(?= is )", "...", reason)
    return re.sub(r"\A((?:has|looks) the same(?: bytes| words)?) as .*", r"\1 as an earlier row", without)
