"""The editors that draw: masks, trajectories, camera moves. Their behaviour is in `static/*.js`."""

import json
from importlib import resources
from typing import Any

import gradio as gr

from ea_app.ui.text import word
from ea_data.control.moves import MOVES

_CANVAS = """
<div class="ea-editor" data-kind="${kind}" data-usable="${usable}">
  <p class="ea-label">${title}${note ? ` · ${note}` : ``}</p>
  <div class="ea-canvas" style="aspect-ratio:${aspect}">
  <img alt="" src="" hidden><canvas></canvas><p class="ea-hint">${hint}</p></div>
  <div class="ea-tools"><button type="button" data-do="undo">${undo}</button>
  <button type="button" data-do="clear">${clear}</button></div>
</div>
"""
_CAMERA = """
<div class="ea-editor ea-moves" data-usable="${usable}">
  <div class="ea-timeline"></div>
  <div class="ea-tools"><button type="button" data-do="add">${add}</button>
  <button type="button" data-do="clear">${clear}</button></div>
  <canvas class="ea-path" width="640" height="240"></canvas>
</div>
"""


def editor(kind: str, key: str) -> gr.HTML:
    """A canvas over a picture; its value is a PNG for "mask", JSON for "trajectory"."""
    return gr.HTML(
        value="",
        html_template=_CANVAS,
        js_on_load=f"const BELOW = '#ea-below-{kind}';\n{static('canvas.js')}",
        elem_id=f"ea-{key.replace('_', '-')}",
        **editor_props(kind, key),
    )


def backdrop(kind: str) -> gr.HTML:
    """Holds the picture under an editor, out of sight."""
    return gr.HTML(value="", elem_id=f"ea-below-{kind}", elem_classes="ea-below", js_on_load=None)


def editor_props(
    kind: str, key: str, *, language: str = "en", note: str = "", aspect: str = "16 / 9"
) -> dict[str, Any]:
    """The words of an editor; gradio replaces all of them at once.

    Args:
        kind: "mask" or "trajectory".
        key: Of its title.
        language: Of the words.
        note: Why it cannot be used, empty when it can.
        aspect: Width / height of what is drawn on while there is no picture.
    """
    return {
        "kind": kind,
        "title": word(key, language),
        "hint": word(f"{key}.hint", language),
        "undo": word("undo", language),
        "clear": word("clear", language),
        "usable": not note,
        "note": note,
        "aspect": aspect,
    }


def camera_props(*, language: str = "en", usable: bool = True) -> dict[str, Any]:
    """The words of the camera editor."""
    return {
        "add": word("add_move", language),
        "clear": word("clear", language),
        "speed": word("speed", language),
        "frames": word("frames", language),
        "also": word("also", language),
        "remove": word("remove", language),
        "moves": {name: word(f"move.{name}", language) for name in MOVES},
        "usable": usable,
    }


def camera_editor() -> gr.HTML:
    """Moves in a row, each with its speed and frames; its value is the words of the camera path."""
    return gr.HTML(
        value="",
        html_template=_CAMERA,
        js_on_load=f"const MOVES = {json.dumps(MOVES)};\n{static('camera.js')}",
        elem_id="ea-camera-editor",
        **camera_props(),
    )


def static(name: str) -> str:
    """A file of the page."""
    return resources.files("ea_app.ui").joinpath("static", name).read_text(encoding="utf-8")
