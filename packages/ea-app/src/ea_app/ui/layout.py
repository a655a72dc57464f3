"""The page: where everything stands."""

import gradio as gr

from ea_app.ui.events import connect
from ea_app.ui.page import Page, labels
from ea_app.ui.panels import inputs, numbers, result, steering, words
from ea_app.ui.studio import Studio
from ea_app.ui.text import LANGUAGES, word

_TOGGLE = "() => { document.body.classList.toggle('dark'); }"


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio."""
    page = Page()
    with gr.Blocks(title=word("title", "en"), analytics_enabled=False, fill_width=True) as blocks:
        _header(page, studio)
        with gr.Row(elem_id="ea-main"):
            with gr.Column(scale=4, min_width=340, elem_id="ea-controls"), gr.Tabs(elem_id="ea-tabs"):
                with page.say(gr.Tab(word("create", "en"), id="create"), "create"):
                    _create(page, studio)
                with page.say(gr.Tab(word("batch", "en"), id="batch"), "batch"):
                    result.build_batch(page)
                with page.say(gr.Tab(word("compare", "en"), id="compare"), "compare") as compare:
                    page.part("compare_tab", compare)
                    result.build_compare(page)
            with gr.Column(scale=7, min_width=340, elem_id="ea-result"):
                result.build(page)
        page.part("current", gr.State(""))
        page.part("seen", gr.State({}))
        page.part("timer", gr.Timer(0.6))
        connect(blocks, page, studio)
    return blocks


def _header(page: Page, studio: Studio) -> None:
    with gr.Row(elem_id="ea-header", equal_height=True):
        gr.HTML(f"<h1>{word('title', 'en')}</h1>", elem_id="ea-title", js_on_load=None)
        names = studio.shelf.models()
        page.control(
            "model",
            gr.Dropdown(
                names,
                value=names[0] if names else None,
                min_width=160,
                scale=0,
                elem_id="ea-model",
                **labels("model"),
            ),
        )
        page.part(
            "language",
            gr.Dropdown(
                list(LANGUAGES),
                value="en",
                min_width=110,
                scale=0,
                elem_id="ea-language",
                **labels("language"),
            ),
            "language",
        )
        theme = gr.Button(word("theme", "en"), size="sm", min_width=90, scale=0, elem_id="ea-theme")
        page.say(theme, "theme", "value").click(None, None, None, js=_TOGGLE)


def _create(page: Page, studio: Studio) -> None:
    words.build(page)
    inputs.build(page)
    steering.build(page)
    numbers.build(page)
    numbers.build_loras(page, studio.shelf.loras())
