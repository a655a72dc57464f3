"""What may have been meant by a name that is not known."""

import difflib
from collections.abc import Iterable

_LISTED = 12


def known_names(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the one that was probably meant, or a few that are known.

    Args:
        name: As given.
        known: All that are allowed.
    """
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=1, cutoff=0.75):
        return f"did you mean {close[0]!r}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"known: {', '.join(names[:_LISTED])}{more}"
