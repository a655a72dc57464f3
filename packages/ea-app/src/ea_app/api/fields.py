"""How the fields of a request are called among the options. Imports nothing heavy."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from ea_app.options import InputError, concerning

INPUT_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "image": "image",
        "last_image": "last_image",
        "video": "video",
        "mask": "mask",
        "control": "control_video",
        "reference": "ref_image",
    }
)
"""Options that name a file, by key, and the field of `GenerationRequest` that its pixels go to."""

TEXT_FIELDS: Mapping[str, str] = MappingProxyType({"camera": "camera", "trajectory": "control_video"})
"""Options that are kept as text, words or what a file holds, by key, and the field that is drawn from it."""

OPTION_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "negative_prompt": "negative",
        "width": "size",
        "height": "size",
        "num_frames": "frames",
        "num_steps": "steps",
        "guidance_scale": "guidance",
        **{field: key.replace("_", "-") for key, field in INPUT_FIELDS.items()},
    }
)
"""Names of options by field; fields that are missing here have the names of their options or no option."""

_UNMISTAKABLE = re.compile(rf"\b({'|'.join(field for field in OPTION_NAMES if '_' in field)})\b")


def option_name(field: str, texts: Collection[str] = ()) -> str:
    """The option that gives a field.

    Args:
        field: Of a request.
        texts: Keys of the options in `TEXT_FIELDS` that were given.
    """
    drawn = [key for key in texts if TEXT_FIELDS[key] == field]
    return drawn[0] if drawn else OPTION_NAMES.get(field, field.replace("_", "-"))


@contextmanager
def concerning_fields(*, as_options: bool, texts: Collection[str] = ()) -> Iterator[None]:
    """Turn a ValueError that begins with the name of a request's field into an `InputError`.

    Args:
        as_options: Name the options instead, for requests that were made from options.
        texts: Keys of the options in `TEXT_FIELDS` among those.
    """
    try:
        with concerning(None):
            yield
    except InputError as error:
        if not as_options:
            raise
        raise _in_options(error, texts) from error.__cause__


def _in_options(error: InputError, texts: Collection[str]) -> InputError:
    # One option gives both sides, so the message has to say which.
    side = f"{error.field} " if error.field in ("width", "height") else ""
    reason = _UNMISTAKABLE.sub(lambda found: f"--{option_name(found[1])}", error.reason)
    return InputError(option_name(error.field, texts), f"{side}{reason}")
