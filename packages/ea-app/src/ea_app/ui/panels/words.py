"""What to make, and the button that makes it."""

import gradio as gr

from ea_app.ui.page import Page
from ea_app.ui.text import word


def build(page: Page) -> None:
    """Prompt, negative prompt, the inferred mode, Generate."""
    page.control(
        "prompt",
        gr.Textbox(
            label=word("prompt", "en"), placeholder=word("prompt.hint", "en"), lines=3, max_lines=8,
            elem_id="ea-prompt", autofocus=True,
        ),
    )  # fmt: skip
    page.control(
        "negative",
        gr.Textbox(
            label=word("negative", "en"), placeholder=word("negative.hint", "en"), lines=1, max_lines=4,
            elem_id="ea-negative",
        ),
    )  # fmt: skip
    with gr.Row(elem_id="ea-go"):
        with gr.Column(elem_id="ea-told", min_width=0):
            page.part("mode", gr.HTML(elem_id="ea-mode", js_on_load=None))
            page.part("forecast", gr.HTML(elem_id="ea-forecast", js_on_load=None))
        page.part(
            "generate",
            gr.Button(word("generate", "en"), variant="primary", elem_id="ea-generate"),
            "generate",
            "value",
        )
