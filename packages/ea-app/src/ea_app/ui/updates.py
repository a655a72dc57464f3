"""Controls that follow the model, the language or an uploaded file."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from ea_app.model_info import ModelInfo
from ea_app.options import InputError
from ea_app.ui.form import AS_IS, FINER, LORA_SLOTS, STEPPING
from ea_app.ui.models import WEIGHTS
from ea_app.ui.modes import reason, unusable
from ea_app.ui.page import Page
from ea_app.ui.panels.advanced import choices_of
from ea_app.ui.panels.editors import camera_props, editor_props
from ea_app.ui.studio import Studio
from ea_app.ui.text import field_label, has, word

_BACKDROP_SIDE = 640


def on_model(page: Page, studio: Studio, *, defaults: bool = True) -> Callable[[str, str], list[Any]]:
    """A handler that fits the controls to a model.

    Args:
        page: Its parts.
        studio: Knows the models.
        defaults: Also fill in what the model prefers.

    Returns:
        Of the model's name, the language and the motion module, updates for every control, the second
        sampler, the camera editor and what is told of the model.
    """

    def handler(model: str, language: str, motion_module: str | None = None) -> list[Any]:
        try:
            info, abilities = studio.shelf.describe(model, motion_module)
        except InputError as error:
            message = f"{field_label(error.field, language)}: {error.reason}"
            raise gr.Error(message, print_exception=False) from None
        greyed = unusable(abilities)
        placeholders = {
            "width": info.native_width,
            "height": info.native_height,
            "frames": info.native_frames,
            "fps": info.fps,
            "window": info.max_frames,
            "overlap": info.overlap_frames or "",
            **{name: f"{usual:g}" for name, usual in FINER.items()},
        }
        preferred = {"steps": info.steps, "guidance": info.guidance, "strength": info.strength}
        updates: list[Any] = []
        for name in page.controls:
            update: dict[str, Any] = (
                {} if name in ("model", "prompt") else _usable(name, greyed, info, language)
            )
            if name in placeholders:
                update["placeholder"] = str(placeholders[name])
            if name in WEIGHTS:
                update |= _weights(name, studio, language, usable=name not in greyed)
            if name in greyed and name not in _NEVER_EMPTY:
                update["value"] = _EMPTY.get(name)  # what is greyed cannot be taken out by hand
            if defaults and name in preferred:
                update["value"] = preferred[name]
            if name == "sampler":
                update |= {"choices": list(abilities.samplers)}
                update |= {"value": abilities.sampler} if defaults else {}
            updates.append(gr.update(**update) if update else gr.skip())
        others = [name for name in abilities.samplers if name != abilities.sampler]
        camera = gr.update(**camera_props(language=language, usable="camera" not in greyed))
        told = word("facts", language).format(
            f"{info.native_width}×{info.native_height}", info.native_frames, info.fps
        )
        return [*updates, gr.update(choices=others, value=others[0] if others else None), camera, told]

    return handler


def on_shelf(studio: Studio) -> Callable[[str | None, str | None, str], list[Any]]:
    """A handler that fits what can be chosen to what is there, and the models to a family.

    Returns:
        Of the model, the family and the language, updates for the model, the family and every LoRA.
    """

    def handler(model: str | None, family: str | None, language: str) -> list[Any]:
        families = studio.shelf.families()
        every = list(dict.fromkeys(families.values()))
        chosen = next((known for known in every if _family_key(known) == family), None)
        models = [name for name in studio.shelf.models() if chosen is None or families.get(name) == chosen]
        choices = [(word("family.all", language), "")]
        choices += [(_family(one, language), _family_key(one)) for one in every]
        value = model if model in models else models[0]
        loras = gr.update(choices=[("–", ""), *studio.shelf.loras()])
        return [
            gr.update(choices=models, value=value),
            gr.update(choices=choices, value=family if chosen else "", visible=len(every) > 1),
            *([loras] * LORA_SLOTS),
        ]

    return handler


def _family_key(family: tuple[str, str]) -> str:
    return "/".join(family)


def _family(family: tuple[str, str], language: str) -> str:
    generation, variant = family
    kind = word(f"family.{variant}", language) if has(f"family.{variant}") else variant
    return f"{generation.removeprefix('EasyAnimate ')} · {kind}"


def on_language(page: Page) -> Callable[[str], list[Any]]:
    """A handler that gives every block its words in a language."""
    blocks: dict[Any, list[tuple[str, str]]] = {}
    for component, key, carries in page.worded:
        blocks.setdefault(component, []).append((key, carries))

    def handler(language: str) -> list[Any]:
        told = {component: _words(component, pairs, language) for component, pairs in blocks.items()}
        for component, choices in page.chosen.items():
            told[component]["choices"] = choices(language)
        return [gr.update(**words) for words in told.values()]

    return handler


def backdrop(studio: Studio, field: str) -> Callable[..., str]:
    """A handler that shows a picture, or the first frame of a video, or the control signal of either.

    Args:
        studio: Has the files.
        field: Of the control that the file is given to.

    Returns:
        Of the file, the language and a kind of signal if there is one: HTML.
    """

    def handler(path: str | None, language: str, signal: str | None = None) -> str:
        if path is None:
            return ""
        try:
            address = studio.uploads.picture(field, path, side=_BACKDROP_SIDE, signal=signal or "")
        except InputError as error:
            message = f"{field_label(error.field, language)}: {error.reason}"
            raise gr.Error(message, print_exception=False) from None
        return f'<img alt="{word(field, language)}" src="{address}">'

    return handler


def _usable(name: str, greyed: set[str], info: ModelInfo, language: str) -> dict[str, Any]:
    usable, model = name not in greyed, info.name
    if name in _EDITORS:
        note = "" if usable else reason(model, language)
        aspect = f"{info.native_width} / {info.native_height}"
        return editor_props(_EDITORS[name], name, language=language, note=note, aspect=aspect)
    told: dict[str, Any] = {"interactive": usable}
    if name in _WITHOUT_INFO:
        return told | {
            "label": word(name, language) if usable else f"{word(name, language)} · {reason(model, language)}"
        }
    if name in _WITH_INFO:
        hint = word(f"{name}.hint", language) if has(f"{name}.hint") else ""  # None would leave the reason
        told["info"] = hint if usable else reason(model, language)
    return told


def _weights(name: str, studio: Studio, language: str, *, usable: bool) -> dict[str, Any]:
    """The files that are there now; none is a reason too."""
    choices = choices_of(studio.shelf, name)
    if usable and len(choices) == 1:
        return {"choices": choices, "interactive": False, "info": word(f"{name}.none", language)}
    return {"choices": choices}


_NEVER_EMPTY = ("strength", "join")
_EMPTY = {"control_kind": AS_IS, "motion_module": "", "mask_drawn": "", "trajectory": ""}
_EDITORS = {"mask_drawn": "mask", "trajectory": "trajectory"}
_WITHOUT_INFO = ("image", "last_image", "clip_image", "reference", "video", "mask", "control")
_WITH_INFO = ("strength", "control_kind", "camera", "join", *WEIGHTS, *FINER, *STEPPING)


def _words(component: Any, pairs: list[tuple[str, str]], language: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, carries in pairs:
        told[carries] = word(key, language)
        if carries == "label" and has(f"{key}.hint"):
            name = "placeholder" if getattr(component, "placeholder", None) else "info"
            if hasattr(component, name):
                told[name] = word(f"{key}.hint", language)
    return told
