"""A mistake of the user, named by its option."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A mistake of the user.

    Attributes:
        field: The option it concerns.
        reason: What is wrong and what is allowed, one line.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@contextmanager
def concerning(field: str | None) -> Iterator[None]:
    """Turn any ValueError of the block into an `InputError`.

    Args:
        field: The option it is about; None when the message starts with the name of the field.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if field is None:
            field, _, reason = reason.partition(" ")
        name = field.rstrip(":")
        raise InputError(name, reason.removeprefix(f"{name}: ").removeprefix(f"{name} ")) from error
