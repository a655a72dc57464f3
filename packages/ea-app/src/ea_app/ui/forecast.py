"""What a job will need, told before anybody asks for it."""

from collections.abc import Mapping
from html import escape
from typing import Any

from ea_app.options import InputError
from ea_app.planning import Machine, Plan, find_machine, plan
from ea_app.ui.form import deciding_options
from ea_app.ui.models import Shelf
from ea_app.ui.text import field_label, word
from ea_app.ui.uploads import Uploads
from ea_app.ui.views import seconds


class Forecast:
    """Tells memory and time of a job on the machine that will make it.

    Args:
        shelf: Which models there are.
        uploads: Where uploaded files are, whose shape a job may take.
        device: As `ea_app.planning.find_machine` takes it.
    """

    def __init__(self, shelf: Shelf, uploads: Uploads, device: str = "auto") -> None:
        self._shelf, self._uploads, self._device = shelf, uploads, device

    def tell(self, values: Mapping[str, Any], language: str) -> str:
        """What the controls ask for will need, or what of them is wrong.

        Args:
            values: By the names of `ea_app.ui.form.FIELDS`.
            language: Of the words.

        Returns:
            A line of HTML with the details in its title.
        """
        try:
            machine = find_machine(self._device)
            model = self._shelf.find(values.get("model"), values.get("motion_module"))
        except InputError:
            return _line("dim", word("forecast.none", language))
        try:
            options = deciding_options(values, self._shelf, self._uploads)
            made = plan(model, machine, **options)
        except InputError as error:
            if error.field == "model":
                return _line("dim", word("forecast.none", language))
            return _line("wrong", f"{field_label(error.field, language)}: {error.reason}")
        return _told(made, machine, language)


def _told(made: Plan, machine: Machine, language: str) -> str:
    needed = _gigabytes(made.peak_gigabytes)
    weights = word("forecast.weights", language).format(made.weights_gigabytes)
    stages = [
        f"{word(f'stage.{part.name}', language)}: {_clock(part.seconds)}, {_gigabytes(part.gigabytes)}"
        for part in made.stages
    ]
    about = word("forecast.about", language).format(machine.name)
    details = "\n".join((f"{made.model}, {made.memory}", weights, *stages, about))
    if made.fits is False:
        free = _gigabytes(machine.gigabytes)
        return _line("wrong", word("forecast.over", language).format(needed, free), details)
    return _line("dim", word("forecast", language).format(needed, _clock(made.seconds)), details)


def _clock(value: float) -> str:
    return seconds(max(1.0, value))


def _gigabytes(value: float) -> str:
    return f"{value:.0f} GB" if value >= 10 else f"{value:.1f} GB"


def _line(kind: str, text: str, details: str = "") -> str:
    title = f' title="{escape(details)}"' if details else ""
    return f'<span class="ea-{kind}"{title}>{escape(text)}</span>'
