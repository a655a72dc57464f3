"""How inputs and the fields of a request are called among the options. Imports nothing heavy.

An input of a job has the name of the option that gave it; a keyframe also has its place: "keyframe 24".
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from ea_app.options import KEYFRAME, InputError, concerning

FILE_INPUTS = ("image", "last-image", "clip-image", "video", "mask", "control", "reference")
"""Inputs that are files of pixels; keyframes and the references of a mask strategy are too."""

REFERENCES, STRATEGY = "references", "mask-strategy"

TEXT_INPUTS = ("camera", "trajectory", STRATEGY)
"""Inputs that are kept as text, words or what a file holds."""

OPTION_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "negative_prompt": "negative",
        "width": "size",
        "height": "size",
        "num_frames": "frames",
        "num_steps": "steps",
        "teacache_threshold": "teacache",
        "window_frames": "window",
        "overlap_frames": "overlap",
        "guidance_scale": "guidance",
    }
)
"""Names of options by field; fields that are missing here have the names of their options or no option."""

_UNMISTAKABLE = re.compile(rf"\b({'|'.join(field for field in OPTION_NAMES if '_' in field)})\b")

_SUPPORTS = "this model supports "
_MODE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "text_to_image": "a prompt for pictures",
        "text_to_video": "a prompt for videos",
        "image_to_video": "--image and other frames",
        "video_to_video": "--video",
        "masked_video": "--video with --mask",
        "control": "--control or --camera",
    }
)
_LAST = re.compile(r"^-1\b")  # as people write it, see `ea_app.options.values`


def keyframe_input(at: int) -> str:
    """Name of the input that is a keyframe."""
    return f"{KEYFRAME} {at}"


def numbered(name: str, option: str) -> int | None:
    """The number in the name of an input of which there may be several, None for other inputs."""
    found = re.fullmatch(rf"{option} (-?[0-9]{{1,9}})", name)
    return None if found is None else int(found[1])


def keyframe_place(name: str) -> int | None:
    """The place of a keyframe, None for other inputs."""
    return numbered(name, KEYFRAME)


def option_of(name: str) -> str:
    """The option that gives an input or a field of a request; names of the environment, in capitals, stay."""
    if name.isupper():
        return name
    several = [option for option in (KEYFRAME, REFERENCES) if numbered(name, option) is not None]
    return several[0] if several else OPTION_NAMES.get(name, name.replace("_", "-"))


def is_file_input(name: str) -> bool:
    """Whether an input is a file of pixels."""
    return name in FILE_INPUTS or any(numbered(name, option) is not None for option in (KEYFRAME, REFERENCES))


@contextmanager
def concerning_fields(*, as_options: bool) -> Iterator[None]:
    """Turn a ValueError that begins with the name of an input or a request's field into an `InputError`.

    Args:
        as_options: Name the options instead of the fields, for requests that were made from options.
    """
    try:
        with concerning(None):
            yield
    except InputError as error:
        if not as_options:
            raise
        raise _in_options(error) from error.__cause__


def _in_options(error: InputError) -> InputError:
    # One option gives both sides, so the message has to say which.
    side = f"{error.field} " if error.field in ("width", "height") else ""
    reason, supports, modes = error.reason.partition(_SUPPORTS)
    if supports:
        words = [text for mode, text in _MODE_WORDS.items() if mode in modes.split(", ")]
        return InputError(option_of(error.field), f"{reason}{supports}{', '.join(words)}")
    reason = _LAST.sub("last", error.reason) if error.field == KEYFRAME else error.reason
    reason = reason.replace(f"{KEYFRAME} -1 ", f"{KEYFRAME} last ")
    reason = _UNMISTAKABLE.sub(lambda found: f"--{OPTION_NAMES[found[1]]}", reason)
    return InputError(option_of(error.field), f"{side}{reason}")
