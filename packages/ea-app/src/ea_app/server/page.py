"""The page at `/docs`: the OpenAPI description as plain HTML, which needs no other server and no script."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff }
code { font: 14px ui-monospace, monospace } table { font-size: .9rem }
td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }
h2 { font-size: 1.1rem; margin-top: 2rem; border-top: 1px solid #8884; padding-top: 1rem }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #16181c } a { color: #8ab4f8 } }
"""


def page_of(description: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    routes = "".join(
        _route(method, path, entry)
        for path, methods in description["paths"].items()
        for method, entry in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{routes}</html>"
    )


def _route(method: str, path: str, entry: Mapping[str, Any]) -> str:
    head = (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(entry.get('description', ''))}</p>"
    )
    rows = "".join(_rows(entry))
    return head + (f"<table>{rows}</table>" if rows else "")


def _rows(entry: Mapping[str, Any]) -> Iterator[str]:
    for one in entry.get("parameters", []):
        yield _row(one["name"], one["schema"], required=one.get("required", False))
    for kind in list(entry.get("requestBody", {}).get("content", {}).values())[:1]:
        schema = kind["schema"]
        for name, one in schema.get("properties", {}).items():
            yield _row(name, one, required=name in schema.get("required", []))


def _row(name: str, schema: Mapping[str, Any], *, required: bool) -> str:
    plain = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"] or [schema]
    kind = plain[0].get("type", "")
    text = schema.get("description") or plain[0].get("description", "")
    if (default := schema.get("default")) is not None:
        text = f"{text} [default: {default}]".strip()
    needed = ", needed" if required else ""
    cells = (f"<code>{escape(name)}</code>", escape(f"{kind}{needed}"), escape(text))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
