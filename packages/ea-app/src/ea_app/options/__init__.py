"""The options of a generation job, written once: command line, interface and server read this table.

An option's value arrives as text or as a Python value, is parsed and checked here, and leaves as keyword
arguments of `ea_app.api.make_job`. Limits and defaults that depend on the model come as a `Limits` made from
the model's catalogue entry.
"""

from ea_app.options.errors import InputError, concerning
from ea_app.options.option import FROM_MODEL, KEYFRAME, MAX_FRAMES, MAX_SEED, SIDE_MULTIPLE, Limits, Option
from ea_app.options.rules import complete
from ea_app.options.table import OPTIONS, PLANNED, option
from ea_app.options.values import parse

__all__ = [
    "FROM_MODEL",
    "KEYFRAME",
    "MAX_FRAMES",
    "MAX_SEED",
    "OPTIONS",
    "PLANNED",
    "SIDE_MULTIPLE",
    "InputError",
    "Limits",
    "Option",
    "complete",
    "concerning",
    "option",
    "parse",
]
