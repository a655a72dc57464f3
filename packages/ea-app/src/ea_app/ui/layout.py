"""The page: where everything stands."""

import gradio as gr

from ea_app.ui.events import connect
from ea_app.ui.page import Page, labels
from ea_app.ui.panels import advanced, inputs, numbers, result, steering, words
from ea_app.ui.studio import Studio
from ea_app.ui.text import LANGUAGES, word

_THEME = """
<button type="button" aria-label="${label}" title="${label}">
<svg viewBox="0 0 24 24" aria-hidden="true" fill="currentColor">
<path d="M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm0 2.2v15.6a7.8 7.8 0 0 1 0-15.6Z"/></svg></button>
"""
_TOGGLE = """
element.addEventListener('click', () => {
  const dark = document.body.classList.toggle('dark');
  try { localStorage.setItem('ea-theme', dark ? 'dark' : 'light'); } catch { /* not kept */ }
});
"""


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio."""
    page = Page()
    with gr.Blocks(title=word("title", "en"), analytics_enabled=False, fill_width=True) as blocks:
        _header(page, studio)
        with gr.Row(elem_id="ea-main"):
            with gr.Column(scale=4, min_width=340, elem_id="ea-controls"), gr.Tabs(elem_id="ea-tabs"):
                with _tab(page, "create"):
                    _create(page, studio)
                with _tab(page, "batch"):
                    result.build_batch(page)
                with _tab(page, "compare") as compare:
                    page.part("compare_tab", compare)
                    result.build_compare(page)
            with gr.Column(scale=7, min_width=340, elem_id="ea-result"):
                result.build(page)
        page.part("current", gr.State(""))
        page.part("seen", gr.State({}))
        page.part("timer", gr.Timer(0.6))
        connect(blocks, page, studio)
    return blocks


def _tab(page: Page, name: str) -> gr.Tab:
    """A tab that tells the style sheet that it is open."""
    tab = page.say(gr.Tab(word(name, "en"), id=name), name)
    tab.select(
        None, None, None, js=f"() => {{ document.body.dataset.eaTab = '{name}'; }}", api_visibility="private"
    )
    return tab


def _header(page: Page, studio: Studio) -> None:
    with gr.Row(elem_id="ea-header", equal_height=True):
        page.say(gr.HTML(word("title", "en"), elem_id="ea-title", js_on_load=None), "title", "value")
        page.part("facts", gr.HTML(elem_id="ea-facts", js_on_load=None))
        family = gr.Dropdown([], value=None, visible=False, min_width=150, scale=0, elem_id="ea-family")
        page.part("family", family, "family")
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
        page.say(
            gr.HTML(html_template=_THEME, js_on_load=_TOGGLE, elem_id="ea-theme", label=word("theme", "en")),
            "theme",
        )


def _create(page: Page, studio: Studio) -> None:
    words.build(page)
    inputs.build(page)
    steering.build(page)
    numbers.build(page)
    numbers.build_loras(page, studio.shelf.loras())
    numbers.build_machine(page)
    advanced.build(page, studio.shelf)
