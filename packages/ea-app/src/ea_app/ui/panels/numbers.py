"""Size, length, sampling and LoRAs."""

from typing import Any

import gradio as gr

from ea_app.options import option
from ea_app.ui.form import AUTO, LORA_SLOTS
from ea_app.ui.page import Page, labels
from ea_app.ui.text import word


def build(page: Page) -> None:
    """What has a number, and the sampler. An empty number is the model's own, which stands in it in grey."""
    with page.say(gr.Accordion(word("shape", "en"), open=True), "shape"):
        with gr.Row():
            for name in ("width", "height", "frames", "fps"):
                page.control(
                    name, gr.Textbox(max_lines=1, min_width=60, elem_id=f"ea-{name}", **_label(name))
                )
        page.control("size_mode", gr.Checkbox(value=False, **labels("size_mode")))
        with gr.Row():
            for name in ("window", "overlap"):
                page.control(
                    name, gr.Textbox(max_lines=1, min_width=60, elem_id=f"ea-{name}", **_label(name))
                )
            join = gr.Dropdown(
                _joins("en"), value="latents", min_width=100, elem_id="ea-join", **labels("join")
            )
            page.chosen[page.control("join", join)] = _joins
    with page.say(gr.Accordion(word("sampling", "en"), open=True), "sampling"):
        with gr.Row():
            page.control("sampler", gr.Dropdown([], value=None, min_width=120, **labels("sampler")))
            page.control("seed", gr.Textbox(max_lines=1, min_width=120, elem_id="ea-seed", **_hinted("seed")))
            page.part(
                "dice",
                gr.Button(word("dice", "en"), size="sm", min_width=60, scale=0, elem_id="ea-dice"),
                "dice",
                "value",
            )
        page.control("steps", gr.Slider(1, 100, value=25, step=1, elem_id="ea-steps", **labels("steps")))
        page.control(
            "guidance", gr.Slider(0, 20, value=6, step=0.1, elem_id="ea-guidance", **labels("guidance"))
        )


def build_machine(page: Page) -> None:
    """Where weights are while they are not used, and the kind of file."""
    with (
        page.say(gr.Accordion(word("machine", "en"), open=False, elem_id="ea-machine"), "machine"),
        gr.Row(),
    ):
        for name, choices in (("memory", _memory), ("format", _formats)):
            dropdown = gr.Dropdown(choices("en"), value=AUTO, elem_id=f"ea-{name}", **labels(name))
            page.chosen[page.control(name, dropdown)] = choices


def _joins(language: str) -> list[tuple[str, str]]:
    return [(word(f"join.{name}", language), name) for name in option("join").choices]


def _memory(language: str) -> list[tuple[str, str]]:
    return [(word(f"memory.{name}", language), name) for name in option("memory").choices]


def _formats(language: str) -> list[tuple[str, str]]:
    named = [(name.upper(), name) for name in option("format").choices if name != "png"]
    return [(word("format.auto", language), AUTO), *named, (word("format.png", language), "png")]


def build_loras(page: Page, names: list[str]) -> None:
    """Several LoRA files with their strengths."""
    with page.say(gr.Accordion(word("lora_panel", "en"), open=False), "lora_panel"):
        if not names:
            page.say(gr.Markdown(word("lora.none", "en")), "lora.none", "value")
        for slot in range(1, LORA_SLOTS + 1):
            with gr.Row(visible=bool(names)):
                page.control(
                    f"lora_{slot}",
                    gr.Dropdown(
                        [("–", ""), *names], value="", elem_id=f"ea-lora-{slot}", **labels(f"lora_{slot}")
                    ),
                )
                page.control(
                    f"lora_weight_{slot}",
                    gr.Slider(
                        -2, 2, value=1, step=0.05, elem_id=f"ea-lora-weight-{slot}", **labels("lora_weight")
                    ),
                    "lora_weight",
                )


def _label(name: str) -> dict[str, Any]:
    """Words without the hint, which would make a narrow control uneven."""
    return {"label": word(name, "en")}


def _hinted(name: str) -> dict[str, Any]:
    return {"label": word(name, "en"), "placeholder": word(f"{name}.hint", "en")}
