"""Pictures and videos to start from."""

import gradio as gr

from ea_app.ui.examples import gallery
from ea_app.ui.page import Page, labels
from ea_app.ui.panels.editors import backdrop, editor
from ea_app.ui.text import word
from ea_data.control.kinds import KINDS

_PICK = """
element.addEventListener('click', (event) => {
  const found = event.target.closest('[data-example]');
  if (found) trigger('select', {example: Number(found.dataset.example)});
});
"""
_VIDEOS = [".mp4", ".webm", ".mov", ".mkv", ".gif", ".webp"]
_MASKS = [".png", ".jpg", ".webp", ".mp4", ".webm", ".gif"]


def build(page: Page) -> None:
    """First and last frame, reference; video with mask; control video."""
    with page.say(gr.Accordion(word("pictures", "en"), open=False, elem_id="ea-pictures"), "pictures"):
        page.part("examples", gr.HTML(gallery("en"), elem_id="ea-examples", js_on_load=_PICK))
        with gr.Row():
            _picture(page, "image")
            _picture(page, "last_image")
        with gr.Row():
            _picture(page, "reference")
            _picture(page, "clip_image")
    with page.say(gr.Accordion(word("video_panel", "en"), open=False), "video_panel"):
        page.control("video", _video("video"))
        page.control("strength", gr.Slider(0.05, 1, value=0.7, step=0.05, **labels("strength")))
        page.control("mask", gr.File(file_types=_MASKS, height=90, elem_id="ea-mask", **labels("mask")))
        page.controls["mask_drawn"] = editor("mask", "mask_drawn")
        page.part("below_mask", backdrop("mask"))
    with page.say(gr.Accordion(word("control_panel", "en"), open=False), "control_panel"):
        page.control("control", _video("control"))
        kind = gr.Dropdown(_kinds("en"), value="", elem_id="ea-control-kind", **labels("control_kind"))
        page.chosen[page.control("control_kind", kind)] = _kinds
        page.part("control_preview", gr.HTML(elem_id="ea-control-preview", js_on_load=None))


def _kinds(language: str) -> list[tuple[str, str]]:
    """Kinds of signals that need no weights: visitors start no downloads."""
    made_here = [kind.name for kind in KINDS.values() if not kind.has_weights]
    return [(word("control_as_is", language), ""), *((name, name) for name in made_here)]


def _picture(page: Page, name: str) -> None:
    page.control(
        name,
        gr.Image(
            type="filepath", image_mode=None, sources=["upload", "clipboard"], height=170, buttons=[],
            elem_id=f"ea-{name.replace('_', '-')}", **labels(name),
        ),
    )  # fmt: skip


def _video(name: str) -> gr.File:
    return gr.File(file_types=_VIDEOS, height=90, elem_id=f"ea-{name}", **labels(name))
