"""What happens when something is pressed: gradio's side of `ea_app.ui.studio`."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from ea_app.jobs import JobsError, JobView, State
from ea_app.options import InputError
from ea_app.ui.examples import gallery
from ea_app.ui.form import DECIDING, FIELDS, LORA_SLOTS
from ea_app.ui.modes import mode_of
from ea_app.ui.page import Page
from ea_app.ui.studio import HISTORY, Screen, Studio
from ea_app.ui.text import Language, field_label, word
from ea_app.ui.updates import backdrop, on_language, on_model, on_shelf

_FRAGMENTS = ("stage", "queue", "history", "comparison")
_BUTTONS = {"cancel": "can_cancel", "resume": "can_resume", "reuse": "is_over", "delete": "is_over"}
_SHOWN = (*_FRAGMENTS, *_BUTTONS, "current", "seen")
_LIGHT: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
_SPOKEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
"""Of handlers that say something: gradio brings messages through its queue alone."""
_SCROLL = "() => { if (innerWidth < 900) document.querySelector('#ea-stage').scrollIntoView(); }"
_MODE_FIELDS: tuple[str, ...] = (
    "image",
    "last_image",
    "video",
    "mask",
    "mask_drawn",
    "control",
    "camera",
    "trajectory",
    "frames",
)


@contextlib.contextmanager
def toasts(language: str) -> Iterator[None]:
    """What went wrong as a message that names the control."""
    try:
        yield
    except InputError as error:
        # In the text: gradio's queue does not bring titles.
        message = f"{field_label(error.field, language)}: {error.reason}"
        raise gr.Error(message, print_exception=False) from None
    except JobsError as error:
        raise gr.Error(str(error), print_exception=False) from None


class Events:
    """Connects a page with a studio.

    Args:
        page: Its parts.
        studio: What it does.
    """

    def __init__(self, page: Page, studio: Studio) -> None:
        self.page, self.studio = page, studio
        self.controls = [page.controls[name] for name in FIELDS]
        self.shown = [page.parts[name] for name in _SHOWN]
        self.state = [page.parts[name] for name in ("current", "seen", "language", "side_a", "side_b")]

    def connect(self, blocks: gr.Blocks) -> None:
        """All of it."""
        parts, everything = self.page.parts, [*self.controls, *self.state]
        parts["timer"].tick(self.tick, self.state, self.shown, **_LIGHT)
        for trigger in (parts["generate"].click, self.page.controls["prompt"].submit):
            trigger(self.generate, everything, self.shown, **_SPOKEN)
        parts["generate"].click(None, None, None, js=_SCROLL, api_visibility="private")
        parts["queue_all"].click(self.queue_all, [parts["prompts"], *everything], self.shown, **_SPOKEN)
        for name, action in (
            ("cancel", self.studio.cancel),
            ("resume", self.studio.resume),
            ("delete", self.studio.delete),
        ):
            parts[name].click(self.doing(action), self.state, self.shown, **_SPOKEN)
        for name in ("queue", "history"):
            parts[name].select(self.select, self.state, self.shown, **_LIGHT)
        parts["reuse"].click(self.reuse, [parts["current"], parts["language"]], self.controls, **_SPOKEN)
        parts["restore"].upload(
            self.restore, [parts["restore"], parts["language"]], [*self.controls, parts["restore"]], **_SPOKEN
        )
        parts["dice"].click(lambda: str(self.studio.draw_seed()), None, self.page.controls["seed"], **_LIGHT)
        examples, filled = parts["examples"], [self.page.controls[name] for name in ("prompt", "image")]
        examples.select(self.example, [self.page.controls["model"], parts["language"]], filled, **_SPOKEN)
        parts["language"].change(gallery, parts["language"], examples, **_LIGHT)
        self._connect_model(blocks)
        self._connect_forecast(blocks)
        self._connect_compare()

    def _connect_model(self, blocks: gr.Blocks) -> None:
        """What follows from the model, the language and the inputs."""
        parts, controls = self.page.parts, self.page.controls
        fields = list(controls.values())
        worded = [component for component, _, _ in self.page.worded]
        model = [controls["model"], parts["language"], controls["motion_module"]]
        targets = [*fields, parts["other_sampler"], parts["camera_editor"], parts["facts"]]
        blocks.load(self.on_load, model[:2], [parts["language"], *self.shown], **_LIGHT).then(
            on_model(self.page, self.studio), model, targets, **_LIGHT
        )
        # Settings that come back may bring another model; its own defaults are not wanted then.
        for name in ("model", "motion_module"):
            controls[name].change(on_model(self.page, self.studio, defaults=False), model, targets, **_LIGHT)
        controls["model"].input(on_model(self.page, self.studio), model, targets, **_LIGHT)
        shelf = [controls["model"], parts["family"], parts["language"]]
        shelved = [controls["model"], parts["family"], *self._lora_controls()]
        blocks.load(on_shelf(self.studio), shelf, shelved, **_LIGHT)
        parts["family"].input(on_shelf(self.studio), shelf, shelved, **_LIGHT).then(
            on_model(self.page, self.studio), model, targets, **_LIGHT
        )
        parts["language"].change(on_shelf(self.studio), shelf, shelved, **_LIGHT)
        parts["language"].change(
            on_language(self.page), parts["language"], list(dict.fromkeys(worded)), **_LIGHT
        ).then(on_model(self.page, self.studio, defaults=False), model, targets, **_LIGHT)
        watched = [controls[name] for name in _MODE_FIELDS]
        parts["language"].change(self.mode, [*watched, parts["language"]], parts["mode"], **_LIGHT)
        gr.on(
            [component.change for component in watched],
            self.mode,
            [*watched, parts["language"]],
            parts["mode"],
            **_LIGHT,
        )
        blocks.load(self.mode, [*watched, parts["language"]], parts["mode"], **_LIGHT)
        for source, target in (
            ("image", "below_trajectory"),
            ("reference", "below_trajectory"),
            ("video", "below_mask"),
        ):
            controls[source].change(
                backdrop(self.studio, source), [controls[source], parts["language"]], parts[target], **_LIGHT
            )
        gr.on(
            [controls["control"].change, controls["control_kind"].change],
            backdrop(self.studio, "control"),
            [controls["control"], parts["language"], controls["control_kind"]],
            parts["control_preview"],
            **_LIGHT,
        )
        parts["camera_editor"].change(
            lambda words: words, parts["camera_editor"], controls["camera"], **_LIGHT
        )

    def _lora_controls(self) -> list[Any]:
        return [self.page.controls[f"lora_{slot}"] for slot in range(1, LORA_SLOTS + 1)]

    def _connect_forecast(self, blocks: gr.Blocks) -> None:
        """What a job will need follows what it is made of."""
        language, target = self.page.parts["language"], self.page.parts["forecast"]
        watched = [self.page.controls[name] for name in DECIDING]
        told = [*watched, language]
        changes_of = [component.change for component in (*watched, language)]
        gr.on([blocks.load, *changes_of], self.tell, told, target, trigger_mode="always_last", **_LIGHT)

    def _connect_compare(self) -> None:
        parts = self.page.parts
        sides = [parts["side_a"], parts["side_b"]]
        parts["compare_tab"].select(self.choices, sides, sides, **_LIGHT)
        gr.on(
            [side.change for side in sides],
            self.tick,
            self.state,
            self.shown,
            **_LIGHT,
        )
        parts["vary"].change(
            lambda vary: gr.update(visible=vary == "sampler"), parts["vary"], parts["other_sampler"], **_LIGHT
        )
        parts["vary_run"].click(
            self.pair,
            [parts["vary"], parts["other_sampler"], *self.controls, *self.state],
            [*sides, *self.shown],
            **_SPOKEN,
        )

    def refresh(self, current: str, seen: Mapping[str, str], language: str, *sides: str | None) -> list[Any]:
        """What changed on the page since it was last told."""
        with toasts(language):
            return changes(self.studio.screen(current, language, sides), seen)

    def tick(self, current: str, *state: Any) -> list[Any]:
        """What changed, asked for by nobody: a job that is chosen before this arrives stays chosen."""
        told = self.refresh(current, *state)
        chosen = _SHOWN.index("current")
        return [*told[:chosen], gr.skip() if told[chosen] == current else told[chosen], *told[chosen + 1 :]]

    def generate(self, *given: Any) -> list[Any]:
        """Queue what the controls say."""
        values, (_, seen, language, *sides) = self._values(given)
        with toasts(language):
            view = self.studio.submit(values)
        return self.refresh(view.id, seen, language, *sides)

    def queue_all(self, prompts: str, *given: Any) -> list[Any]:
        """Queue every line."""
        values, (_, seen, language, *sides) = self._values(given)
        with toasts(language):
            made = self.studio.submit_lines(prompts, values)
        gr.Info(word("queued_many", language).format(len(made)))
        return self.refresh(made[0].id, seen, language, *sides)

    def doing(self, action: Callable[[str], None]) -> Callable[..., list[Any]]:
        """A handler that does something with the shown job."""

        def handler(current: str, seen: Mapping[str, str], language: str, *sides: str | None) -> list[Any]:
            with toasts(language):
                action(current)
            return self.refresh(current, seen, language, *sides)

        return handler

    def select(
        self,
        current: str,
        seen: Mapping[str, str],
        language: str,
        left: str | None,
        right: str | None,
        event: gr.EventData,
    ) -> list[Any]:
        """A click into queue or history."""
        job_id = str(getattr(event, "job", ""))
        if getattr(event, "action", "") == "cancel":
            with toasts(language):
                self.studio.cancel(job_id)
            return self.refresh(current, seen, language, left, right)
        return self.refresh(job_id, seen, language, left, right)

    def reuse(self, current: str, language: str) -> list[Any]:
        """The settings of the shown job."""
        with toasts(language):
            values, missing = self.studio.reuse(current)
        return self._fill(values, missing, language)

    def restore(self, path: str, language: str) -> list[Any]:
        """The settings of a dropped file."""
        with toasts(language):
            values, missing = self.studio.restore(path)
        return [*self._fill(values, missing, language), None]

    def mode(self, *given: Any) -> str:
        """What the inputs make of the job."""
        values = dict(zip(_MODE_FIELDS, given[:-1], strict=True))
        return f"<span>{word(f'mode.{mode_of(values)}', given[-1])}</span>"

    def tell(self, *given: Any) -> str:
        """What the controls ask for will need."""
        return self.studio.forecast.tell(dict(zip(DECIDING, given[:-1], strict=True)), given[-1])

    def example(self, model: str, language: Language, event: gr.EventData) -> list[Any]:
        """A click on an example."""
        with toasts(language):
            prompt, picture = self.studio.example(getattr(event, "example", None), model, language)
        return [prompt, gr.skip() if picture is None else picture]

    def choices(self, left: str | None, right: str | None) -> list[Any]:
        """What can be compared: what is chosen already, else the newest."""
        told = self._comparable()
        ids = [identity for _, identity in told]
        first, second = left if left in ids else None, right if right in ids else None
        unused = [identity for identity in ids if identity not in (first, second)]
        first, second = (side or (unused.pop(0) if unused else None) for side in (first, second))
        return [gr.update(choices=told, value=first), gr.update(choices=told, value=second)]

    def pair(self, vary: str, sampler: str | None, *given: Any) -> list[Any]:
        """Queue two jobs that differ in one thing."""
        values, (_, seen, language, *_) = self._values(given)
        with toasts(language):
            made = self.studio.submit_pair(values, vary, sampler)
        told = [*map(_choice, made), *self._comparable()]
        sides = [gr.update(choices=told, value=view.id) for view in made]
        return [*sides, *self.refresh(made[0].id, seen, language, *(view.id for view in made))]

    def _comparable(self) -> list[tuple[str, str]]:
        return [_choice(view) for view in self.studio.jobs.recent(HISTORY) if view.state is State.DONE]

    def on_load(self, _model: str, language: str, request: gr.Request) -> list[Any]:
        """A page that opens: in the language of its browser."""
        asked = str(request.headers.get("accept-language", "")) if request else ""
        language = "zh" if asked.lower().startswith("zh") else language
        return [language, *self.refresh("", {}, language)]

    def _values(self, given: tuple[Any, ...]) -> tuple[dict[str, Any], tuple[Any, ...]]:
        return dict(zip(FIELDS, given[: len(FIELDS)], strict=True)), given[len(FIELDS) :]

    def _fill(self, values: Mapping[str, Any], missing: list[str], language: str) -> list[Any]:
        gr.Info(word("restored", language))
        if missing:
            gr.Warning(
                word("not_restored", language).format(
                    ", ".join(field_label(name, language) for name in missing)
                )
            )
        return [gr.skip() if _keeps(name, values) else gr.update(value=values[name]) for name in FIELDS]


def _choice(view: JobView) -> tuple[str, str]:
    return f"{view.seed} · {view.prompt[:60]}", view.id


def _keeps(name: str, values: Mapping[str, Any]) -> bool:
    """Sliders cannot be empty."""
    return values[name] is None and (
        name in ("steps", "guidance", "strength") or name.startswith("lora_weight")
    )


def changes(screen: Screen, seen: Mapping[str, str]) -> list[Any]:
    """Values of the shown parts; what a page has already is left alone, so that videos go on playing."""
    now = {
        name: hashlib.sha1(getattr(screen, name).encode(), usedforsecurity=False).hexdigest()
        for name in _FRAGMENTS
    }
    now |= {name: str(getattr(screen, flag)) for name, flag in _BUTTONS.items()}
    told: list[Any] = [
        gr.skip() if now[name] == seen.get(name) else gr.update(value=getattr(screen, name))
        for name in _FRAGMENTS
    ]
    told += [
        gr.skip() if now[name] == seen.get(name) else gr.update(visible=getattr(screen, flag))
        for name, flag in _BUTTONS.items()
    ]
    return [*told, screen.current, now]


def connect(blocks: gr.Blocks, page: Page, studio: Studio) -> None:
    """Connect a page with a studio."""
    Events(page, studio).connect(blocks)
