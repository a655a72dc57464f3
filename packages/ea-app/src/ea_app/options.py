"""The options of a generation job, written once: command line, interface and server read this table.

An option's value arrives as text or as a Python value, is parsed and checked here, and leaves as keyword
arguments of `ea_app.api.make_job`. Limits and defaults that depend on the model come as a `Limits` made from
the model's catalogue entry.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["text", "int", "float", "size", "file", "files", "keyframes", "choice", "url"]

SIDE_MULTIPLE = 16
"""Of most models; what a model really wants is in its `Limits`."""
MAX_SEED = 2**63 - 1
MAX_FRAMES = 36_000
FROM_MODEL = "of the model"
KEYFRAME = "keyframe"


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


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        name: Its flag without dashes.
        kind: What its value is.
        help: One line.
        group: Heading in help and interface.
        default: Value when it is not given; `FROM_MODEL` when the model decides, None when there is none.
        minimum: Smallest number.
        maximum: Largest number.
        above: The minimum itself is not allowed.
        choices: Allowed words.
        many: It may be given several times; its value is a list.
        metavar: Placeholder in help.
    """

    name: str
    kind: Kind
    help: str
    group: str
    default: str | float | None = None
    minimum: float = 0
    maximum: float = 0
    above: bool = False
    choices: tuple[str, ...] = ()
    many: bool = False
    metavar: str | None = None

    @property
    def key(self) -> str:
        """Its name as a Python identifier."""
        return self.name.replace("-", "_")

    def allowed(self) -> str:
        """What is allowed, in words; empty for texts and files."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in ("int", "float"):
            return ""
        kind = "a whole number" if self.kind == "int" else "a number"
        end = str(MAX_SEED) if self.maximum == MAX_SEED else f"{self.maximum:g}"
        return f"{kind} from {'above ' if self.above else ''}{self.minimum:g} to {end}"

    def describe(self) -> str:
        """The help line with what is allowed and the default."""
        notes = [self.allowed()] if self.allowed() else []
        if self.default not in (None, ""):
            notes.append(f"default: {'the model decides' if self.default == FROM_MODEL else self.default}")
        return f"{self.help} [{'; '.join(notes)}]" if notes else self.help


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one model allows and prefers.

    Attributes:
        width: Default width, pixels.
        height: Default height, pixels.
        frames: Default number of frames.
        steps: Default number of steps.
        guidance: Default guidance scale.
        fps: Default frames per second.
        min_side: Smallest width or height.
        max_side: Largest width or height.
        side_multiple: Width and height are multiples of this.
        max_frames: Largest number of frames.
        max_prompt_bytes: Longest prompt in UTF-8 bytes, None when there is no hard limit.
    """

    width: int
    height: int
    frames: int
    steps: int
    guidance: float
    fps: int
    min_side: int
    max_side: int
    side_multiple: int = SIDE_MULTIPLE
    max_frames: int
    max_prompt_bytes: int | None


_DTYPES = ("auto", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16")
# The names of ea_kernels.runtime.placement, which this module cannot import: it would load torch.
_MEMORY = (
    "auto",
    "model_full_load",
    "model_cpu_offload",
    "model_cpu_offload_and_qfloat8",
    "sequential_cpu_offload",
    "low_gpu_memory_mode",
)

_NEEDS = (
    ("references", "mask_strategy"),
    ("enhance_prompt", "enhance_model"),
    ("enhance_model", "enhance_prompt"),
    ("control_from", "control"),
    ("control_options", "control_from"),
)
_GUIDES = ("control", "camera", "trajectory")
_PICTURES = ("image", "last_image", KEYFRAME)

OPTIONS: tuple[Option, ...] = (
    Option(name="negative", kind="text", group="what", default="", metavar="TEXT", help="what to avoid"),
    Option(name="seed", kind="int", group="what", maximum=MAX_SEED, metavar="N",
           help="the same seed gives the same result; drawn and printed if not given"),
    Option(name="size", kind="size", group="what", default=FROM_MODEL, metavar="WxH",
           help="width x height in pixels, 128x96 or 128 for a square; for most models multiples of "
                f"{SIDE_MULTIPLE}"),
    Option(name="frames", kind="int", group="what", default=FROM_MODEL, minimum=1, maximum=MAX_FRAMES,
    metavar="N",
           help="number of frames; 1 makes an image"),
    Option(name="window", kind="int", group="what", default=FROM_MODEL, minimum=2, maximum=1025, metavar="N",
           help="frames that are made at once; longer videos are made in windows that overlap"),
    Option(name="overlap", kind="int", group="what", minimum=1, maximum=1024, metavar="N",
           help="frames that a window shares with the one before [default: about a quarter]"),
    Option(name="join", kind="choice", group="what", default="latents", choices=("latents", "pixels"),
           metavar="HOW", help="what windows hand over: latents, or only frames as EasyAnimate does"),
    Option(name="steps", kind="int", group="what", default=FROM_MODEL, minimum=1, maximum=1000, metavar="N",
           help="denoising steps"),
    Option(name="guidance", kind="float", group="what", default=FROM_MODEL, maximum=100, metavar="G",
           help="how closely to follow the prompt; 1 and below switch guidance off"),
    Option(name="sampler", kind="text", group="what", default=FROM_MODEL, metavar="NAME",
           help="how noise is removed, such as Euler or Flow_DPM++; a wrong name lists those of the model"),
    Option(name="image", kind="file", group="inputs", metavar="FILE", help="picture of the first frame"),
    Option(name="last-image", kind="file", group="inputs", metavar="FILE", help="picture of the last frame"),
    Option(name=KEYFRAME, kind="keyframes", group="inputs", metavar="N:FILE,...",
           help="pictures of frames by number, such as 0:a.png,24:b.png,last:c.png; the first is 0"),
    Option(name="clip-image", kind="file", group="inputs", metavar="FILE",
           help="picture that models with CLIP (V3, V4) see in the place of the first frame"),
    Option(name="video", kind="file", group="inputs", metavar="FILE",
           help="video to change, see --strength and --mask"),
    Option(name="mask", kind="file", group="inputs", metavar="FILE",
           help="picture or video for --video: white is made anew, black is kept"),
    Option(name="strength", kind="float", group="inputs", default=FROM_MODEL, maximum=1, above=True,
           metavar="S", help="how much of --video is changed"),
    Option(name="control", kind="file", group="inputs", metavar="FILE_OR_KIND",
           help="video or picture of edges, depth, poses or the like to follow; for Control models. With "
           "--control-from the kind of signal to make, such as canny"),
    Option(name="control-from", kind="file", group="inputs", metavar="FILE",
           help="video or picture that the signal named by --control is made of"),
    Option(name="control-options", kind="text", group="inputs", metavar="NAME=VALUE,...",
           help="options of that kind, such as low=50,high=150; see ea-data control KIND --help"),
    Option(name="reference", kind="file", group="inputs", metavar="FILE",
           help="picture of what is to be seen; for Control and Camera models that read one"),
    Option(name="camera", kind="text", group="inputs", metavar="FILE_OR_MOVES",
           help='camera text file, or words such as "pan left + zoom in, then clockwise"; for Camera models'),
    Option(name="trajectory", kind="file", group="inputs", metavar="FILE",
           help="JSON file with points that move through the picture; for Control models"),
    Option(name="references", kind="files", group="inputs", metavar="FILE;...",
           help="pictures and videos of which --mask-strategy speaks"),
    Option(name="mask-strategy", kind="text", group="inputs", metavar="TEXT",
           help='which frames of --references go where, such as "0;0,1,0,-1": the language of Open-Sora'),
    Option(name="loops", kind="int", group="inputs", minimum=1, maximum=1000, metavar="N",
           help="clips of --frames each that go on from each other; a prompt may have a text for each"),
    Option(name="output", kind="file", group="output", metavar="FILE",
           help=".mp4, .gif, .webp, or .png for one frame [default: out.mp4, or out.png for one frame]"),
    Option(name="fps", kind="int", group="output", default=FROM_MODEL, minimum=1, maximum=120, metavar="N",
           help="frames per second of the file; with --video or --control that video's own unless given"),
    Option(name="enhance-prompt", kind="url", group="words", metavar="URL",
           help="chat server that speaks OpenAI's protocol, such as http://localhost:8000/v1; its key is "
           "read from EA_PROMPT_API_KEY"),
    Option(name="enhance-model", kind="text", group="words", metavar="NAME",
           help="language model that the server is asked for"),
    Option(name="model", kind="text", group="machine", default="default", metavar="NAME",
           help="bundled model, model directory, or owner/name of the hub"),
    Option(name="motion-module", kind="file", group="machine", metavar="FILE",
           help="motion modules of EasyAnimate V1, where they are not in the model's directory"),
    Option(name="transformer-weights", kind="file", group="machine", metavar="FILE",
           help="personalised checkpoint in the place of the model's own denoiser (V1: of its image model)"),
    Option(name="lora", kind="file", group="machine", many=True, metavar="FILE[:WEIGHT]",
           help="LoRA over the denoiser, at a weight from -100 to 100, 1 if not given; may be given several "
                "times"),
    Option(name="lora-unmatched", kind="choice", group="machine", default="refuse",
           choices=("refuse", "skip"), metavar="WORD",
           help="what becomes of a LoRA's layers that the denoiser has no place for"),
    Option(name="device", kind="text", group="machine", default="auto", metavar="NAME",
           help="auto, cpu, cuda or cuda:N"),
    Option(name="dtype", kind="choice", group="machine", default="auto", choices=_DTYPES, metavar="NAME",
           help="number type of the computation"),
    Option(name="memory", kind="choice", group="machine", default="auto", choices=_MEMORY, metavar="MODE",
           help="where weights are while they are not used; all modes but the one with qfloat8, which rounds "
                "weights, make the same frames"),
)  # fmt: skip
"""Everything but the prompt."""


def option(key: str) -> Option:
    """The option with this key.

    Raises:
        KeyError: There is none.
    """
    return {entry.key: entry for entry in OPTIONS}[key]


def parse(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn texts into values and check what needs no model.

    Args:
        given: Values by key, the prompt among them; None means not given.

    Returns:
        The values that were given; a size as (width, height).

    Raises:
        InputError: An unknown key, or a value that is not allowed.
    """
    known = {entry.key: entry for entry in OPTIONS}
    if unknown := sorted(set(given) - set(known) - {"prompt"}):
        raise InputError(unknown[0], f"unknown option; known: {', '.join(known)}")
    values = {key: _values(known[key], raw) for key, raw in given.items() if raw is not None and key in known}
    if given.get("prompt") is not None:
        values["prompt"] = given["prompt"]
    for name in ("prompt", "negative"):
        _check_text(name, values.get(name, "-"))
    return values


def complete(values: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Fill in what was not given and check everything against one model.

    Args:
        values: Result of `parse`.
        limits: Of the model.

    Returns:
        All options by key. Where a video or control was given without `frames` or `fps`, these stay out: the
        file decides. So does `strength` when it was not given.

    Raises:
        InputError: A value that the model does not allow, or values that do not go together.
    """
    filled: dict[str, Any] = {"prompt": "", "negative": ""}
    filled |= {"size": (limits.width, limits.height), "steps": limits.steps, "guidance": limits.guidance}
    if not {"video", "control"} & set(values):
        filled |= {"frames": limits.frames, "fps": limits.fps}
    filled |= values
    for name in ("prompt", "negative"):
        _check_length(name, _check_text(name, filled[name]), limits)
    _check_size(filled["size"], limits)
    _check_window(filled, limits)
    _check_combination(values)
    return filled


def _check_window(values: dict[str, Any], limits: Limits) -> None:
    """What a model makes at once is limited; more is made in windows, except by a model of pictures."""
    frames, most = values.get("frames", 1), limits.max_frames
    if values.get("loops", 1) > 1:
        _check_loops(values, limits)
        return
    if values.get("window", 1) > most:
        raise InputError("window", f"must be from 2 to {most} for this model, got {values['window']}")
    if frames > most and most == 1:
        raise InputError("frames", f"must be 1: this model makes pictures, got {frames}")
    if frames > most:
        values.setdefault("window", most)
    for name in ("overlap", "join"):
        if name in values and "window" not in values:
            raise InputError(name, "needs --window")
    if values.get("overlap", 0) >= values.get("window", 1 << 30):
        raise InputError(
            "overlap", f"must be below the {values['window']} frames of a window, got {values['overlap']}"
        )


def _check_loops(values: Mapping[str, Any], limits: Limits) -> None:
    """Every loop makes a clip of so many frames as a model makes at once."""
    for name in ("window", "video", "control", "camera", "trajectory"):
        if name in values:
            raise InputError("loops", f"cannot be combined with --{name}")
    if not 2 <= values["frames"] <= limits.max_frames:
        raise InputError(
            "frames", f"must be from 2 to {limits.max_frames} for a loop, got {values['frames']}"
        )


def _values(entry: Option, raw: Any) -> Any:
    if not entry.many:
        return _value(entry, raw)
    return [_value(entry, one) for one in (raw if isinstance(raw, list | tuple) else [raw])]


def _value(entry: Option, raw: Any) -> Any:
    if entry.kind in ("int", "float"):
        return _number(entry, raw)
    if entry.kind == "size":
        return _size(raw)
    if entry.kind == "keyframes":
        return _keyframes(entry.name, raw)
    if entry.kind == "files":
        return _files(entry.name, raw)
    text = str(raw)
    if entry.kind == "file" and not text:
        raise InputError(entry.name, "must be a file name, got nothing")
    if entry.kind == "url":
        _check_address(entry.name, text)
    if entry.choices and text not in entry.choices:
        raise InputError(entry.name, f"must be {entry.allowed()}; got {text!r}")
    return text


def _files(field: str, raw: Any) -> tuple[str, ...]:
    """File names, from "a.png;b.mp4" or a list."""
    names = [name.strip() for name in raw.split(";")] if isinstance(raw, str) else [str(name) for name in raw]
    if not names or not all(names):
        raise InputError(field, f"must be file names, several with ; between them, got {raw!r}")
    return tuple(names)


def _keyframes(field: str, raw: Any) -> dict[int, str]:
    """Files by number of the frame, from "0:a.png,24:b.png" or a mapping. Commas in names are fine."""
    if isinstance(raw, Mapping):
        pairs = list(raw.items())
    else:
        pieces = re.split(r"(?:^|,)\s*(-?\d+|last):", str(raw))
        pairs = [] if pieces[0].strip() else list(zip(pieces[1::2], pieces[2::2], strict=True))
    if not pairs or not all(str(path).strip() for _, path in pairs):
        raise InputError(
            field, f"must be NUMBER:FILE, several with commas, such as 0:a.png,24:b.png; got {raw!r}"
        )
    found: dict[int, str] = {}
    for written, path in pairs:
        at = -1 if written == "last" else int(written)
        if at in found:
            raise InputError(field, f"frame {written} is given twice")
        found[at] = str(path)
    return found


def _check_address(field: str, text: str) -> None:
    rule = "an address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        raise InputError(field, f"must be {rule}") from None
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(field, f"must be {rule}")
    if parts.username is not None or parts.password is not None:
        raise InputError(field, f"must be {rule}; a key belongs into EA_PROMPT_API_KEY, not into the address")


def _number(entry: Option, raw: Any) -> int | float:
    try:
        value = int(raw) if entry.kind == "int" and not isinstance(raw, float) else float(raw)
    except (TypeError, ValueError):
        value = math.nan
    whole = entry.kind != "int" or isinstance(value, int)
    inside = entry.minimum <= value <= entry.maximum and not (entry.above and value == entry.minimum)
    if isinstance(raw, bool) or not whole or not inside:
        raise InputError(entry.name, f"must be {entry.allowed()}, got {raw!r}")
    return value


def _size(raw: Any) -> tuple[int, int]:
    parts = raw.lower().replace("×", "x").split("x") if isinstance(raw, str) else raw
    try:
        sides = [int(parts)] if isinstance(parts, int) else [int(part) for part in parts]
    except (TypeError, ValueError):
        sides = []
    if len(sides) == 1:
        sides *= 2
    if len(sides) != 2:
        raise InputError(
            "size", f"must be WIDTHxHEIGHT such as 128x96, or one number for a square, got {raw!r}"
        )
    return sides[0], sides[1]


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    step, low, high = limits.side_multiple, limits.min_side, limits.max_side
    if not any(side % step or not low <= side <= high for side in size):
        return
    rule = "whole numbers" if step == 1 else f"multiples of {step}"
    nearest = dict.fromkeys(_written(_nearest(side, limits)[end] for side in size) for end in (0, 1))
    raise InputError(
        "size",
        f"width and height must be {rule} from {low} to {high} for this model, got {_written(size)}; "
        f"nearest: {' or '.join(nearest)}",
    )


def _nearest(side: int, limits: Limits) -> tuple[int, int]:
    """The allowed sides below and above."""
    step = limits.side_multiple
    lowest, highest = -(-limits.min_side // step) * step, limits.max_side // step * step
    below, above = side // step * step, -(-side // step) * step
    return min(max(below, lowest), highest), min(max(above, lowest), highest)


def _written(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))


def _check_text(field: str, text: object) -> str:
    if not isinstance(text, str):
        raise InputError(field, f"must be text, got {type(text).__name__}")
    if field == "prompt" and not text.strip():
        raise InputError(field, "must not be empty; say what the video shows")
    if "\0" in text:
        raise InputError(field, "must not contain NUL characters")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(field, "must be valid Unicode text")
    return text


def _check_length(field: str, text: str, limits: Limits) -> None:
    size, most = len(text.encode("utf-8")), limits.max_prompt_bytes
    if most is not None and size > most:
        raise InputError(field, f"is too long: {size} bytes of UTF-8, this model reads at most {most}")


def _check_needs(values: Mapping[str, Any]) -> None:
    """What is of no use without another option."""
    pairs = [*_NEEDS, *([] if "loops" in values else [("mask_strategy", "references")])]
    for one, other in pairs:
        if one in values and other not in values:
            raise InputError(one.replace("_", "-"), f"needs --{other.replace('_', '-')}")


def _check_combination(values: Mapping[str, Any]) -> None:
    _check_needs(values)
    pictures = [key.replace("_", "-") for key in _PICTURES if key in values]
    for name, more in (("control", ()), ("reference", ()), ("camera", _GUIDES), ("trajectory", _GUIDES)):
        others = pictures + [key for key in ("video", *more) if key in values and key != name]
        if name in values and others:
            raise InputError(name, f"cannot be combined with --{others[0]}")
    if "video" in values:
        if pictures:
            raise InputError(pictures[0], "cannot be combined with --video; keep frames with --mask instead")
        if values.get("strength") == 1 and "mask" not in values:
            raise InputError(
                "strength", "must be below 1 for --video without --mask; 1 would ignore the video"
            )
        return
    for name in ("mask", "strength"):
        if name in values:
            raise InputError(name, "needs --video")
    count = len([name for name in pictures if name != KEYFRAME]) + len(values.get(KEYFRAME, ()))
    if pictures and values.get("frames", count + 1) <= count:
        given = " and ".join(f"--{name}" for name in pictures)
        raise InputError("frames", f"must be at least {count + 1} with {given}, got {values['frames']}")
