"""What few change: weights in the place of a model's own, and finer numbers."""

import gradio as gr

from ea_app.ui.form import FINER, STEPPING
from ea_app.ui.models import WEIGHTS, Shelf
from ea_app.ui.page import Page, labels
from ea_app.ui.text import word


def build(page: Page, shelf: Shelf) -> None:
    """Motion module and checkpoint by name, and numbers whose usual value stands in them in grey."""
    with page.say(gr.Accordion(word("advanced", "en"), open=False, elem_id="ea-advanced"), "advanced"):
        for name in WEIGHTS:
            files = gr.Dropdown(
                choices_of(shelf, name), value="", elem_id=f"ea-{name.replace('_', '-')}", **labels(name)
            )
            page.control(name, files)
        for name in (*FINER, *STEPPING):
            page.control(
                name, gr.Textbox(max_lines=1, elem_id=f"ea-{name.replace('_', '-')}", **labels(name))
            )


def choices_of(shelf: Shelf, name: str) -> list[tuple[str, str]]:
    """What can be chosen of a kind of weights: the model's own, and the files."""
    return [("–", ""), *((file, file) for file in shelf.weights(name))]
