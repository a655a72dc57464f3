"""How pages of reports look."""

from typing import Final

__all__ = ["PAGE_STYLE", "standalone_chart"]

PAGE_STYLE: Final = """
:root { --kept: #2f6f9f; --dropped: #d08a3c; --line: #e2e2e2; --text: #333; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --kept: #6ba5d0; --dropped: #d9a05b; --line: #3a3a3a; --text: #ddd; --paper: #1b1b1b; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper);
  max-width: 1120px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2.2em; }
pre { overflow-x: auto; font-size: 13px; line-height: 1.4; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--line); }
td.place, th.place { white-space: nowrap; }
.error { color: #c0392b; } .warning { color: #b9770e; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1.2em; }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; }
img { max-width: 100%; border: 1px solid var(--line); }
svg { width: 100%; font-family: system-ui, sans-serif; }
"""
"""Of a page with tables, charts and contact sheets; the charts take their colours from it."""


def standalone_chart(svg: str) -> str:
    """A chart as a file of its own, with its colours."""
    return svg.replace(
        "<svg ",
        '<svg xmlns="http://www.w3.org/2000/svg" style="--kept:#2f6f9f;--dropped:#d08a3c;--line:#e2e2e2;'
        '--text:#333;font-family:sans-serif;background:#fff" ',
        1,
    )
