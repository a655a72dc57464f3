"""From what stands in the controls to the options of a job, and back."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ea_app.options import InputError, parse
from ea_app.ui.models import WEIGHTS, Shelf
from ea_app.ui.sizes import size_like
from ea_app.ui.uploads import Uploads

LORA_SLOTS = 4
_WHOLE = re.compile(r"\s*[0-9]{1,6}\s*")
_WORDS = re.compile(r"[A-Za-z0-9 +,.\-]{1,2000}")
AS_IS = ""
"""Of `control_kind`: the control video as it is."""
AUTO = "auto"
"""Of `memory` and `format`: as the option does when it is not given."""

FINER = MappingProxyType({"guidance_rescale": 0.0, "noise_aug_strength": 0.0563, "clip_apply_ratio": 0.4})
"""Numbers that few change, with what they are when they are not given."""
STEPPING = ("timesteps", "teacache")
"""Which steps there are, and which of them may be left out; empty when they are not given."""

_PLAIN = (
    *("negative", "frames", "window", "overlap", "sampler", "steps", "guidance", "seed", "fps", "camera"),
    *FINER, *STEPPING,
)  # fmt: skip
_CHOSEN = ("memory", "format")
_SHAPES = ("image", "last_image", "video", "control", "reference")
FILES = ("image", "last_image", "clip_image", "video", "mask", "reference")
FIELDS = (
    "prompt", "model", *_PLAIN, *FILES, "mask_drawn", "strength", "control", "control_kind", "trajectory",
    "width", "height", "size_mode", "join", *_CHOSEN, *WEIGHTS,
    *(f"{name}_{slot}" for slot in range(1, LORA_SLOTS + 1) for name in ("lora", "lora_weight")),
)  # fmt: skip
"""Every control whose value decides a job."""
_COSTS = ("frames", "window", "overlap", "steps", "guidance", "memory")
DECIDING = ("model", "motion_module", *_COSTS, "width", "height", "size_mode", *_SHAPES)
"""Every control whose value decides what a job needs."""


def options_of(values: Mapping[str, Any], shelf: Shelf, uploads: Uploads) -> tuple[str, dict[str, Any]]:
    """The prompt and the options that the controls ask for.

    Args:
        values: By the names of `FIELDS`; None and "" mean not given.
        shelf: Which models and LoRAs there are.
        uploads: Where uploaded and drawn files are.

    Returns:
        What `Supervisor.submit` takes.

    Raises:
        InputError: Naming the control.
    """
    given = {key: values.get(key) for key in FIELDS if values.get(key) not in (None, "")}
    options: dict[str, Any] = {key: given[key] for key in _PLAIN if key in given}
    options["model"] = shelf.model(given.get("model", "default"))
    if "camera" in options:
        options["camera"] = _camera_words(options["camera"])
    options |= {key: given[key] for key in _CHOSEN if given.get(key, AUTO) != AUTO}
    if "timesteps" in options:
        options.pop("steps", None)  # each of them is a step
    if "teacache" in options:
        options["teacache_curve"] = shelf.describe(given.get("model", "default"))[1].step_curve or "released"
    options |= {key: str(shelf.weight(key, given[key])) for key in WEIGHTS if key in given}
    options |= {key: uploads.media(key, given[key]).path for key in FILES if key in given}
    if "mask_drawn" in given and "video" in given and "mask" not in given:
        options["mask"] = uploads.keep_drawing("mask", given["mask_drawn"])
    if "trajectory" in given:
        options["trajectory"] = uploads.keep_text("trajectory", given["trajectory"], ".json")
    if "video" in given and given.get("strength") is not None and "mask" not in options:
        options["strength"] = given["strength"]
    if "control" in given:
        options |= _control(uploads.media("control", given["control"]).path, given.get("control_kind", AS_IS))
    if "window" in given:
        options["join"] = given.get("join", "latents")
    options |= _size(values, given, shelf, uploads)
    if loras := _loras(given, shelf):
        options["lora"] = loras
    prompt = values.get("prompt")
    parse({"prompt": "" if prompt is None else prompt, **options})
    assert isinstance(prompt, str)
    return prompt, options


def deciding_options(values: Mapping[str, Any], shelf: Shelf, uploads: Uploads) -> dict[str, Any]:
    """The options of `options_of` that decide what a job needs, as `ea_app.planning.plan` takes them.

    Raises:
        InputError: Naming the control.
    """
    given = {key: values.get(key) for key in DECIDING if values.get(key) not in (None, "", AUTO)}
    return {key: given[key] for key in _COSTS if key in given} | _size(values, given, shelf, uploads)


def _camera_words(given: object) -> str:
    """Words only: the option also takes names of files, which are not for visitors."""
    if not isinstance(given, str) or not _WORDS.fullmatch(given) or given.rstrip().lower().endswith(".txt"):
        raise InputError("camera", 'must be moves such as "pan left + zoom in, then clockwise"')
    return given


def _control(path: str, kind: object) -> dict[str, Any]:
    return {"control": path} if kind == AS_IS else {"control": str(kind), "control_from": path}


def _size(
    values: Mapping[str, Any], given: Mapping[str, Any], shelf: Shelf, uploads: Uploads
) -> dict[str, Any]:
    if values.get("size_mode"):
        name = next((name for name in _SHAPES if name in given), None)
        if name is None:
            raise InputError("size_mode", "needs a picture or a video whose shape is taken")
        info, _ = shelf.describe(given.get("model", "default"))
        return {"size": size_like(uploads.media(name, given[name]), info)}
    if "width" not in given and "height" not in given:
        return {}
    info, _ = shelf.describe(given.get("model", "default"))
    natives = (("width", info.native_width), ("height", info.native_height))
    return {"size": tuple(_side(name, given.get(name, native)) for name, native in natives)}


def _side(name: str, given: object) -> int:
    if (isinstance(given, int) and not isinstance(given, bool)) or (
        isinstance(given, str) and _WHOLE.fullmatch(given)
    ):
        return int(given)
    raise InputError(name, f"must be a whole number, got {str(given)[:40]!r}")


def _loras(given: Mapping[str, Any], shelf: Shelf) -> list[str]:
    found: list[str] = []
    for slot in range(1, LORA_SLOTS + 1):
        name, weight = given.get(f"lora_{slot}"), given.get(f"lora_weight_{slot}", 1.0)
        if name is None:
            continue
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InputError("lora_weight", f"must be a number from -100 to 100, got {str(weight)[:40]!r}")
        found.append(f"{shelf.lora(name)}:{weight:g}")
    return found


def values_of(
    prompt: str, options: Mapping[str, Any], shelf: Shelf, uploads: Uploads
) -> tuple[dict[str, Any], list[str]]:
    """The reverse: what the controls show for the options of a job.

    Args:
        prompt: Of the job.
        options: Of the job, as `JobView.options` has them.
        shelf: Which models and LoRAs there are.
        uploads: Where uploaded files are.

    Returns:
        Values by the names of `FIELDS`, and the options that cannot be shown because their file is gone.
    """
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    values |= {"prompt": prompt, "size_mode": False, "control_kind": AS_IS, "join": "latents"}
    values |= dict.fromkeys(_CHOSEN, AUTO)
    missing: list[str] = []
    values |= {key: options[key] for key in (*_PLAIN, *_CHOSEN, "strength", "join") if key in options}
    values["seed"] = str(options["seed"]) if "seed" in options else None
    if "timesteps" in options:
        values["timesteps"] = ", ".join(f"{step:g}" for step in options["timesteps"])
        values["steps"] = len(options["timesteps"])
    if (model := shelf.name_of(str(options.get("model", "default")))) is None:
        missing.append("model")
    values["model"] = model or "default"
    if "size" in options:
        values["width"], values["height"] = (str(side) for side in options["size"])
    numbers = ("frames", "window", "overlap", "fps", "teacache", *FINER)
    values |= {key: str(options[key]) for key in numbers if key in options}
    for key in WEIGHTS:
        if key in options:
            values[key] = shelf.weight_name(key, str(options[key]))
            missing += [] if values[key] else [key]
    files = {key: options[key] for key in FILES if key in options}
    if "control" in options:
        files["control"] = options.get("control_from", options["control"])
        values["control_kind"] = options["control"] if "control_from" in options else AS_IS
    for key, path in files.items():
        values[key] = uploads.known(path)
        missing += [] if values[key] else [key]
    if "trajectory" in options:
        values["trajectory"] = uploads.text(options["trajectory"])
        missing += [] if values["trajectory"] else ["trajectory"]
    for slot, entry in enumerate(options.get("lora", ())[:LORA_SLOTS], start=1):
        path, _, weight = str(entry).rpartition(":")
        values[f"lora_{slot}"], values[f"lora_weight_{slot}"] = shelf.lora_name(path), _number(weight)
        missing += [] if values[f"lora_{slot}"] else ["lora"]
    return values, missing


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
