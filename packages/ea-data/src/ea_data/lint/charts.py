"""Distributions as small SVG charts of bars, in two parts: what is kept, and what is dropped.

Bars of counts are all that a report shows; a plotting library would be a heavy dependency for that.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["Bars", "bars_of_names", "bars_of_values", "draw_bars"]

_WIDTH, _HEIGHT = 520, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 34, 38
_LABEL_PIXELS: Final = 6.2
"""Width of a letter of an axis, about."""
_MOST_BARS: Final = 24
_MOST_VALUES: Final = 6
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A chart.

    Attributes:
        title: Above it.
        unit: Below the axis; "" for names.
        labels: Of bars, or of the edges between them, of which there is one more.
        kept: Height of each bar.
        dropped: What stands on top of each.
    """

    title: str
    unit: str
    labels: tuple[str, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]


def bars_of_values(title: str, unit: str, kept: Sequence[float], dropped: Sequence[float]) -> Bars:
    """A histogram with round edges; one bar for each value where there are few different ones."""
    values = np.array([*kept, *dropped], np.float64)
    distinct = np.unique(values)
    if len(distinct) <= _MOST_VALUES:
        names = {value: f"{value:.6g}" for value in distinct.tolist()}
        return bars_of_names(
            title, [names[v] for v in map(float, kept)], [names[v] for v in map(float, dropped)], unit=unit,
            order=list(names.values()),
        )  # fmt: skip
    edges = _edges(float(distinct[0]), float(distinct[-1]))
    return Bars(
        title=title,
        unit=unit,
        labels=tuple(f"{edge:g}" for edge in edges),
        kept=tuple(np.histogram(np.array(kept), edges)[0].tolist()),
        dropped=tuple(np.histogram(np.array(dropped), edges)[0].tolist()),
    )


def bars_of_names(
    title: str,
    kept: Sequence[str],
    dropped: Sequence[str],
    *,
    unit: str = "",
    order: Sequence[str] | None = None,
) -> Bars:
    """A bar for each name, in an order or alphabetically; the rarest of too many in one, "others"."""
    names = list(order) if order is not None else sorted({*kept, *dropped})
    of_kept, of_dropped = Counter(kept), Counter(dropped)
    counts = [(of_kept[name], of_dropped[name]) for name in names]
    if len(names) > _MOST_BARS:
        ranked = sorted(range(len(names)), key=lambda place: -sum(counts[place]))
        shown = sorted(ranked[: _MOST_BARS - 1])
        others = [counts[place] for place in ranked[_MOST_BARS - 1 :]]
        names = [names[place] for place in shown] + ["others"]
        counts = [counts[place] for place in shown]
        counts.append((sum(k for k, _ in others), sum(d for _, d in others)))
    return Bars(
        title=title,
        unit=unit,
        labels=tuple(names),
        kept=tuple(k for k, _ in counts),
        dropped=tuple(d for _, d in counts),
    )


def draw_bars(bars: Bars) -> str:
    """The chart as an `<svg>` element; its colours are the CSS variables kept, dropped, line and text."""
    total = [k + d for k, d in zip(bars.kept, bars.dropped, strict=True)]
    top = _edges(0, max(total, default=0) or 1, most=5)
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = plot_width / max(1, len(total))
    scale = plot_height / top[-1]
    parts = [_text(_LEFT, 18, bars.title, "start", size=14)]
    for level in top:
        y = _HEIGHT - _BOTTOM - level * scale
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, f"{level:g}", "end"))
    width = min(step - 2 if step > 6 else step, 48)
    for place, (kept, dropped) in enumerate(zip(bars.kept, bars.dropped, strict=True)):
        x = _LEFT + place * step + (step - width) / 2
        y = float(_HEIGHT - _BOTTOM)
        for count, colour in ((kept, "kept"), (dropped, "dropped")):
            y -= count * scale
            if count:
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{count * scale:.1f}" '
                    f'fill="var(--{colour})"><title>{_hint(bars, place, kept, dropped)}</title></rect>'
                )
    parts += _labels(bars, step)
    if bars.unit:
        parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 6, bars.unit, "end"))
    body = "\n".join(parts)
    label = html.escape(bars.title)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">\n{body}\n</svg>'


def _labels(bars: Bars, step: float) -> list[str]:
    """Names below bars or edges, as many as have room."""
    on_edges = len(bars.labels) > len(bars.kept)
    longest = max((len(label) for label in bars.labels), default=0) * _LABEL_PIXELS
    every = max(1, math.ceil((longest + 8) / step))
    return [
        _text(_LEFT + (place + (0 if on_edges else 0.5)) * step, _HEIGHT - _BOTTOM + 15, label, "middle")
        for place, label in enumerate(bars.labels)
        if place % every == 0
    ]


def _hint(bars: Bars, place: int, kept: int, dropped: int) -> str:
    label = bars.labels[place]
    if len(bars.labels) > len(bars.kept):
        label += f" to {bars.labels[place + 1]}"
    return html.escape(
        f"{label} {bars.unit}".strip() + f": {kept} kept" + (f", {dropped} dropped" if dropped else "")
    )


def _edges(low: float, high: float, most: int = _MOST_BARS) -> list[float]:
    """Round numbers that enclose a range, at most so many steps."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    if most < _MOST_BARS:
        step = max(step, 1.0)  # counts
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


def _text(x: float, y: float, text: str, anchor: str, size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="var(--text)">'
        f"{html.escape(text)}</text>"
    )
