"""The editors that draw: masks, trajectories, camera moves. Their behaviour is in `static/*.js`."""

import json
from importlib import resources

import gradio as gr

from ea_app.ui.page import Page
from ea_app.ui.text import word
from ea_data.control.moves import MOVES

_CANVAS = """
<div class="ea-editor" data-kind="${kind}" data-usable="${usable}">
  <p class="ea-label">${title}${note ? ` · ${note}` : ``}</p>
  <div class="ea-canvas"><img alt="" src="${background}"><canvas></canvas></div>
  <div class="ea-tools"><button type="button" data-do="undo">${undo}</button>
  <button type="button" data-do="clear">${clear}</button></div>
</div>
"""
_CAMERA = """
<div class="ea-editor ea-moves">
  <div class="ea-timeline"></div>
  <div class="ea-tools"><button type="button" data-do="add">${add}</button>
  <button type="button" data-do="clear">${clear}</button></div>
  <canvas class="ea-path" width="640" height="240"></canvas>
</div>
"""
_BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def editor(kind: str, key: str, page: Page) -> gr.HTML:
    """A canvas over a picture; its value is a PNG for "mask", JSON for "trajectory", empty without a stroke."""
    made = gr.HTML(
        value="",
        html_template=_CANVAS,
        js_on_load=static("canvas.js"),
        elem_id=f"ea-{key.replace('_', '-')}",
        kind=kind,
        background=_BLANK,
        title=word(key, "en"),
        usable=True,
        note="",
        undo=word("undo", "en"),
        clear=word("clear", "en"),
    )
    for carries, name in (("undo", "undo"), ("clear", "clear"), ("title", key)):
        page.say(made, name, carries)
    return made


def camera_editor() -> gr.HTML:
    """Moves in a row, each with its speed and share of the time; its value is the words of the camera path."""
    return gr.HTML(
        value="",
        html_template=_CAMERA,
        js_on_load=f"const MOVES = {json.dumps(MOVES)};\n{static('camera.js')}",
        elem_id="ea-camera-editor",
        add=word("add_move", "en"),
        clear=word("clear", "en"),
    )


def static(name: str) -> str:
    """A file of the page."""
    return resources.files("ea_app.ui").joinpath("static", name).read_text(encoding="utf-8")
