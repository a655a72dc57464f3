"""What is made: the large picture, the queue, the history, batches and comparisons."""

import gradio as gr

from ea_app.ui.page import Page, labels
from ea_app.ui.panels.editors import static
from ea_app.ui.studio import VARIES
from ea_app.ui.text import word

_CLICKS = """
element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-action]');
  const data = found && element.contains(found) && found.dataset;
  if (data) trigger('select', {action: data.action, job: data.job});
});
"""


def build(page: Page) -> None:
    """The large picture with its buttons, and the queue below."""
    page.part("stage", gr.HTML(elem_id="ea-stage", js_on_load=None))
    page.part("comparison", gr.HTML(elem_id="ea-comparison", js_on_load=static("together.js")))
    with gr.Row(elem_id="ea-actions"):
        for name in ("cancel", "reuse", "resume", "delete"):
            button = gr.Button(word(name, "en"), size="sm", visible=False, elem_id=f"ea-{name}", min_width=90)
            page.part(name, button, name, "value")
    page.part("queue", gr.HTML(elem_id="ea-queue", js_on_load=_CLICKS))
    page.part("history", gr.HTML(elem_id="ea-history", js_on_load=_CLICKS))
    page.part(
        "restore",
        gr.File(label=word("restore", "en"), elem_id="ea-restore", height=90, file_types=_RESULTS),
        "restore",
    )


_RESULTS = [".mp4", ".webm", ".gif", ".webp", ".png", ".zip", ".json"]


def build_batch(page: Page) -> None:
    """Many prompts at once."""
    page.part(
        "prompts", gr.Textbox(lines=10, max_lines=20, elem_id="ea-prompts", **labels("prompts")), "prompts"
    )
    page.part(
        "queue_all",
        gr.Button(word("queue_all", "en"), variant="primary", elem_id="ea-queue-all"),
        "queue_all",
        "value",
    )


def build_compare(page: Page) -> None:
    """Two results side by side, and making such a pair."""
    for side in ("side_a", "side_b"):
        elem_id = f"ea-{side.replace('_', '-')}"
        page.part(side, gr.Dropdown([], value=None, elem_id=elem_id, **labels(side)), side)
    with page.say(gr.Accordion(word("vary_new", "en"), open=True, elem_id="ea-vary"), "vary_new"):
        vary = gr.Dropdown(_varies("en"), value="seed", **labels("vary"))
        page.chosen[page.part("vary", vary, "vary")] = _varies
        page.part("other_sampler", gr.Dropdown([], value=None, visible=False, **labels("sampler")), "sampler")
        button = gr.Button(word("vary_run", "en"), variant="primary", elem_id="ea-vary-run")
        page.part("vary_run", button, "vary_run", "value")


def _varies(language: str) -> list[tuple[str, str]]:
    return [(word(f"vary.{name}", language), name) for name in VARIES]
