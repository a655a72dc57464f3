"""The report as a folder: a page with numbers, charts, contact sheets and findings, and the JSON."""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ea_data.lint.charts import Bars, bars_of_names, bars_of_values, draw_bars
from ea_data.lint.findings import RULES
from ea_data.lint.inspection import FileFacts
from ea_data.lint.report import LintReport
from ea_data.lint.sheets import SheetSample, draw_sheet
from ea_data.lint.style import PAGE_STYLE, standalone_chart
from ea_data.lint.tables import counts_line, epoch_lines
from ea_data.media.folders import check_own_folder, replaced_folder

__all__ = ["check_folder", "write_folder"]

PAGE: Final = "index.html"
_MARK: Final = '<meta name="generator" content="ea-data lint">'
_NAMES: Final = re.compile(r"index\.html|report\.json|sheet-[0-9]+\.jpg|[a-z]+\.svg")
_PER_SHEET: Final = 24
_MOST_ROWS: Final = 2000


def check_folder(folder: Path) -> None:
    """Refuse a folder that a report cannot be written to, before any work is done.

    Raises:
        MediaError: See `check_own_folder`.
    """
    check_own_folder(folder, "a report", _NAMES, _is_report)


def write_folder(folder: Path, report: LintReport, samples: Sequence[SheetSample]) -> Path:
    """Write a report as a folder, whole or not at all; an earlier report of that name is replaced.

    Args:
        folder: Its parent has to exist.
        report: What was found.
        samples: What is trained, for the contact sheets; may be empty.

    Returns:
        The page.

    Raises:
        MediaError: See `check_folder`, or the disk is full.
    """
    check_folder(folder)
    with replaced_folder(folder) as new:
        _fill(new, report, samples)
    return folder / PAGE


def _fill(folder: Path, report: LintReport, samples: Sequence[SheetSample]) -> None:
    sheets = []
    for start in range(0, len(samples), _PER_SHEET):
        part = samples[start : start + _PER_SHEET]
        name = f"sheet-{start // _PER_SHEET + 1}.jpg"
        draw_sheet(part).save(folder / name, quality=88)
        sheets.append((name, part))
    charts = []
    for name, bars in _charts(report).items():
        (folder / f"{name}.svg").write_text(standalone_chart(draw_bars(bars)), encoding="utf-8")
        charts.append(draw_bars(bars))
    (folder / "report.json").write_text(report.json_text(), encoding="utf-8")
    page = "\n".join(_page(report, charts, sheets))
    (folder / PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")


def _is_report(folder: Path) -> bool:
    try:
        return _MARK in (folder / PAGE).read_text(encoding="utf-8")[:2000]
    except (OSError, UnicodeDecodeError):
        return False


def _page(
    report: LintReport, charts: Sequence[str], sheets: Sequence[tuple[str, Sequence[SheetSample]]]
) -> Iterator[str]:
    title = html.escape(f"Lint of {Path(report.manifest).name}")
    yield f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_MARK}'
    yield f"<title>{title}</title>\n<style>{PAGE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield f"<p>{html.escape(report.manifest)}: {html.escape(counts_line(report.count))}</p>"
    if report.validation is not None:
        yield f"<p>{html.escape(report.validation)}: {html.escape(counts_line(report.validation_count))}</p>"
    for severity in ("error", "warning"):
        yield f'<span class="{severity}">{report.number_of(severity)} {severity}s</span> '
    yield "<h2>Findings by rule</h2>\n<table><tr><th>rule<th>severity<th>findings<th>meaning</tr>"
    for rule, count in report.by_rule().items():
        severity = RULES[rule].severity
        yield f'<tr><td>{rule}<td class="{severity}">{severity}<td>{count}<td>{RULES[rule].text}</tr>'
    yield "</table>\n<h2>Batches</h2>"
    for number in range(len(report.epochs)):
        yield f"<pre>{html.escape(chr(10).join(epoch_lines(report, number)))}</pre>"
    yield '<h2>Distributions</h2>\n<p class="key"><i style="background:var(--kept)"></i>kept'
    yield '<i style="background:var(--dropped)"></i>dropped; files that cannot be read are in none</p>'
    yield f'<div class="charts">{"".join(charts)}</div>'
    yield from _sheets(sheets)
    yield from _findings(report)
    yield "</body>\n</html>\n"


def _sheets(sheets: Sequence[tuple[str, Sequence[SheetSample]]]) -> Iterator[str]:
    if not sheets:
        return
    yield "<h2>What is trained</h2>"
    yield "<p>First frames, cropped and scaled as in training, of samples of all buckets in turn.</p>"
    for name, samples in sheets:
        yield f'<img src="{name}" alt="contact sheet">'
        yield "<table><tr><th>number<th>line<th>file<th>bucket<th>caption</tr>"
        for sample in samples:
            cells = (sample.number, sample.line, sample.file, sample.bucket, sample.text)
            yield "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells) + "</tr>"
        yield "</table>"


def _findings(report: LintReport) -> Iterator[str]:
    yield "<h2>Findings</h2>\n<table><tr><th>rule<th class=place>line<th>file<th>message</tr>"
    for finding in report.findings[:_MOST_ROWS]:
        name = Path(finding.manifest).name
        place = f"{name}:{finding.line}" if finding.row is not None else name
        yield (
            f'<tr><td class="{finding.severity}">{finding.rule}<td class=place>{html.escape(place)}'
            f"<td>{html.escape(finding.file)}<td>{html.escape(finding.message)}</tr>"
        )
    yield "</table>"
    if len(report.findings) > _MOST_ROWS:
        yield f"<p>and {len(report.findings) - _MOST_ROWS} more in report.json</p>"


def _charts(report: LintReport) -> dict[str, Bars]:
    """The distributions of readable files, by name."""
    kept: list[tuple[str, FileFacts]] = []
    dropped: list[tuple[str, FileFacts]] = []
    for row, facts, reason in zip(report.rows, report.facts, report.reasons, strict=True):
        if facts is not None and row.entry is not None:
            (dropped if reason else kept).append((row.entry.text, facts))
    videos = [[facts for _, facts in part if facts.kind == "video"] for part in (kept, dropped)]
    charts = {}
    if any(videos):
        charts["seconds"] = bars_of_values(
            "Length of videos", "seconds", *([f.seconds for f in v] for v in videos)
        )
        charts["frames"] = bars_of_values(
            "Frames of videos", "frames", *([f.frames for f in v] for v in videos)
        )
        charts["fps"] = bars_of_values(
            "Frame rate", "frames per second", *([round(f.fps, 3) for f in v] for v in videos)
        )
    if kept or dropped:
        charts["resolution"] = bars_of_values(
            "Resolution: side of a square with as many pixels", "pixels",
            *([round((f.height * f.width) ** 0.5) for _, f in part] for part in (kept, dropped)),
        )  # fmt: skip
        charts["aspect"] = bars_of_values(
            "Aspect: height / width",
            "",
            *([round(f.height / f.width, 2) for _, f in part] for part in (kept, dropped)),
        )
        charts["captions"] = bars_of_values(
            "Length of captions",
            "characters",
            *([len(text.strip()) for text, _ in part] for part in (kept, dropped)),
        )
    if report.epochs:
        names = [name for b in report.epochs[0].buckets for name in [b.bucket] * b.samples]
        order = [b.bucket for b in report.epochs[0].buckets]
        charts["buckets"] = bars_of_names("Samples by bucket, first epoch", names, [], order=order)
    return charts
