"""Camera and trajectory."""

import gradio as gr

from ea_app.ui.page import Page, labels
from ea_app.ui.panels.editors import backdrop, camera_editor, editor
from ea_app.ui.text import word


def build(page: Page) -> None:
    """Moves on a time line, with a picture of the path; a path that is drawn on the first frame."""
    with page.say(gr.Accordion(word("camera_panel", "en"), open=False), "camera_panel"):
        page.control("camera", gr.Textbox(elem_id="ea-camera", **labels("camera")))
        page.part("camera_editor", camera_editor())
    with page.say(gr.Accordion(word("trajectory_panel", "en"), open=False), "trajectory_panel"):
        page.controls["trajectory"] = editor("trajectory", "trajectory")
        page.part("below_trajectory", backdrop("trajectory"))
