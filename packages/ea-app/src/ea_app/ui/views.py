"""Pieces of the page as HTML. Everything that comes from visitors or files is escaped."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ea_app.jobs import JobView, State
from ea_app.ui.text import field_label, has, word

_MAX_PREVIEW = 2**20
_SHOWN = (
    *("size", "frames", "steps", "guidance", "sampler", "strength", "window", "camera"),
    *("guidance_rescale", "noise_aug_strength", "clip_apply_ratio", "timesteps", "teacache"),
    *("motion_module", "transformer_weights"),
    *("memory", "format"),
)
_INPUTS = ("image", "last_image", "clip_image", "reference", "video", "mask", "control", "trajectory")
_VIDEOS = (".mp4", ".webm")


def stage(view: JobView | None, language: str) -> str:
    """The large picture: what is made, how far it is, or why there is nothing."""
    if view is None:
        return (
            f'<div class="ea-stage ea-empty"><p>{word("empty", language)}</p>'
            f"<p>{word('empty.hint', language)}</p></div>"
        )
    return f'<div class="ea-stage" data-state="{view.state}">{_screen(view)}{_status(view, language)}</div>'


def queue(views: Sequence[JobView], current: str, language: str) -> str:
    """What runs and waits, in order."""
    if not views:
        return ""
    rows = "".join(_row(view, current, language) for view in views)
    return f'<section class="ea-queue"><h3>{word("queue", language)} <b>{len(views)}</b></h3>{rows}</section>'


def history(views: Sequence[JobView], current: str, language: str) -> str:
    """What was made, the newest first."""
    cards = "".join(
        _card(view, current, language) for view in views if view.over or view.state == State.INTERRUPTED
    )
    body = f'<div class="ea-grid">{cards}</div>' if cards else f"<p>{word('history.empty', language)}</p>"
    return f'<section class="ea-history"><h3>{word("history", language)}</h3>{body}</section>'


def comparison(views: Sequence[JobView | None], language: str) -> str:
    """Two results side by side, and what their settings differ in."""
    sides = "".join(_side(view, language) for view in views)
    found = [view for view in views if view is not None]
    table = ""
    if len(found) == 2:
        told = [
            {"prompt": view.prompt, "seed": view.seed, **view.options, "model": view.model} for view in found
        ]
        keys = [key for key in dict.fromkeys([*told[0], *told[1]]) if told[0].get(key) != told[1].get(key)]
        cells = [[f"<td>{escape(_plain(side.get(key)))}</td>" for side in told] for key in keys]
        rows = "".join(
            f"<tr><th>{escape(field_label(key, language))}</th>{''.join(row)}</tr>"
            for key, row in zip(keys, cells, strict=True)
        )
        table = f"<h3>{word('difference' if keys else 'same', language)}</h3><table>{rows}</table>"
    return f'<div class="ea-compare"><div class="ea-sides">{sides}</div>{table}</div>'


def _side(view: JobView | None, language: str) -> str:
    if view is None:
        return (
            f'<figure><div class="ea-screen ea-none"><p>{word("compare.none", language)}</p></div></figure>'
        )
    line = "" if view.state is State.DONE else _running(view, language)
    screen = f'<div data-state="{view.state}">{_screen(view)}</div>'
    return f"<figure>{screen}{line}<figcaption>{_caption(view, language)}</figcaption></figure>"


def _running(view: JobView, language: str) -> str:
    if view.over or view.state is State.INTERRUPTED:
        return f'<div class="ea-line"><b>{_state(view, language)}</b></div>'
    line, share = _progress(view, language)
    return f'<div class="ea-line">{line}</div>{_bar(share)}'


def media_url(job_id: str, kind: str) -> str:
    """Where the page finds a file of a job."""
    return f"media/{job_id}/{kind}"


def seconds(value: float) -> str:
    """Seconds as people read them: 7 s, 2:05 min, 1:02 h."""
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _screen(view: JobView) -> str:
    if view.state is State.DONE and view.output is not None:
        source = media_url(view.id, "result")
        if view.output.suffix in _VIDEOS:
            return (
                f'<video class="ea-screen" src="{source}" controls autoplay loop muted playsinline '
                f'aria-label="{escape(view.prompt[:200])}"></video>'
            )
        source = media_url(view.id, "thumbnail") if view.output.suffix == ".zip" else source
        return f'<img class="ea-screen" src="{source}" alt="{escape(view.prompt[:200])}">'
    if view.active and (data := _picture(view.preview)):
        return f'<img class="ea-screen ea-preview" src="{data}" alt="">'
    return '<div class="ea-screen ea-blank"></div>'


def _status(view: JobView, language: str) -> str:
    chips = "".join(f"<span>{escape(text)}</span>" for text in _chips(view, language))
    prompt = f'<p class="ea-prompt">{escape(view.prompt)}</p><div class="ea-chips">{chips}</div>'
    if view.state is State.DONE:
        took = word("took", language).format(seconds((view.ended or 0) - (view.started or 0)))
        link = (
            f'<a href="{media_url(view.id, "result")}?download=1" download>{word("download", language)}</a>'
        )
        return _lines(f"<b>{_state(view, language)}</b><span>{took}</span>{link}", prompt)
    if view.over or view.state is State.INTERRUPTED:
        error = f'<p class="ea-error" role="alert">{escape(view.error)}</p>' if view.error else ""
        return _lines(f"<b>{_state(view, language)}</b>", f"{error}{prompt}")
    line, share = _progress(view, language)
    return _lines(line, f"{_bar(share)}{prompt}")


def _lines(line: str, below: str) -> str:
    return f'<div class="ea-status"><div class="ea-line">{line}</div>{below}</div>'


def _progress(view: JobView, language: str) -> tuple[str, float | None]:
    """What is being done, and which share of it is done, None when that is not known."""
    if view.state is State.QUEUED:
        waits = word("next", language) if view.ahead == 0 else word("ahead", language).format(view.ahead)
        return f"<b>{_state(view, language)}</b><span>{waits}</span>", None
    what = word(f"stage.{view.stage}", language) if view.stage else _state(view, language)
    count = f"{view.step}/{view.total}" if view.total > 1 else ""
    left = word("left", language).format(seconds(view.remaining)) if view.remaining else ""
    share = view.step / view.total if view.total > 1 else None
    return f'<b>{what}</b><span class="ea-count">{count}</span><span>{left}</span>', share


def _bar(share: float | None) -> str:
    if share is None:
        return '<div class="ea-bar ea-waiting" role="progressbar"><i></i></div>'
    percent = round(100 * share)
    done = f'<i style="width:{percent}%"></i>'
    return f'<div class="ea-bar" role="progressbar" aria-valuenow="{percent}">{done}</div>'


def _row(view: JobView, current: str, language: str) -> str:
    mark = " ea-current" if view.id == current else ""
    cancel = word("cancel", language)
    count = f"{view.step}/{view.total}" if view.active and view.total > 1 else _state(view, language)
    return (
        f'<div class="ea-row{mark}"><button data-action="show" data-job="{view.id}">'
        f"{escape(view.prompt[:120])}</button><span>{count}</span>"
        f'<button data-action="cancel" data-job="{view.id}">{cancel}</button></div>'
    )


def _card(view: JobView, current: str, language: str) -> str:
    mark = " ea-current" if view.id == current else ""
    image = (
        f'<img loading="lazy" src="{media_url(view.id, "thumbnail")}" alt="">'
        if view.thumbnail is not None
        else f"<em>{_state(view, language)}</em>"
    )
    return (
        f'<button class="ea-card{mark}" data-action="show" data-job="{view.id}" '
        f'title="{escape(view.prompt[:300])}">{image}'
        f"<span>{escape(view.prompt[:60])}</span></button>"
    )


def _caption(view: JobView, language: str) -> str:
    return " · ".join(escape(text) for text in (view.prompt[:120], *_chips(view, language)))


def _chips(view: JobView, language: str) -> list[str]:
    told = [f"{word('seed', language)} {view.seed}"]
    told += [field_label(key, language) for key in _INPUTS if key in view.options]
    told += [
        f"{field_label(key, language)} {_value(key, view.options[key], language)}"
        for key in _SHOWN
        if key in view.options
    ]
    told += [f"LoRA {_lora(str(entry))}" for entry in view.options.get("lora", ())]
    told += [] if view.model == "default" else [Path(view.model).name]
    return told


def _value(key: str, value: object, language: str) -> str:
    if key == "memory":
        return word(f"memory.{value}", language) if has(f"memory.{value}") else str(value)
    return str(value).upper() if key == "format" else _plain(value)


def _lora(entry: str) -> str:
    path, _, weight = entry.rpartition(":")
    return f"{Path(path or entry).stem} {weight if path else ''}".strip()


def _plain(value: object) -> str:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return f"{value[0]}×{value[1]}"
    if isinstance(value, list | tuple):
        return ", ".join(Path(str(entry)).name for entry in value)
    text = "–" if value is None else str(value)
    return Path(text).name if text.startswith("/") else text


def _state(view: JobView, language: str) -> str:
    return word(f"state.{view.state}", language)


def _picture(path: Path | None) -> str | None:
    """A small JPEG as a data address, so that it changes without flicker."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:  # replaced or removed at this moment
        return None
    return (
        f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        if len(content) <= _MAX_PREVIEW
        else None
    )
