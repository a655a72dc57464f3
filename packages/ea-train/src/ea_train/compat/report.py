"""What is said about a translated command line: once, and briefly."""

import textwrap
from collections.abc import Iterator

from ea_train.compat.table import SCRIPTS
from ea_train.compat.translation import Translation, renamed_flags

_WRAPPER = textwrap.TextWrapper(
    width=110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
)


def report_lines(run: Translation) -> Iterator[str]:
    """Lines for the console: what became of flags that have another name, or none.

    Args:
        run: The translated command line.
    """
    given = run.given
    yield f"{SCRIPTS[given.script]}: {len(given.written)} flags as settings of `ea-train {run.recipe}`"
    renamed = ", ".join(f"{flag} {setting}" for flag, setting in renamed_flags(given))
    if renamed:
        yield from _WRAPPER.wrap(f"named otherwise: {renamed}")
    for flag, text in run.notes:
        yield from _WRAPPER.wrap(f"{flag}: {text}")
