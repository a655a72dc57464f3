"""What `POST /v1/videos` takes: made from the one table of options, so that there is no second list.

Values are checked by `ea_app.options` itself; pydantic carries them, finds unknown fields and writes the
schema.
"""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from ea_app.options import OPTIONS, InputError, Option, parse
from ea_app.server.errors import of_validation

OPERATORS: Final = frozenset(
    {
        "output", "device", "dtype", "vae_dtype", "memory", "motion_module", "transformer_weights",
        "enhance_prompt", "enhance_model",
    }
)  # fmt: skip
"""Options about files and addresses of the server's machine, which clients have no say in."""

UPLOADS: Final = tuple(
    entry.key for entry in OPTIONS if entry.group == "inputs" and entry.kind in ("file", "files", "keyframes")
)
"""Options that are files: they are sent, never named."""

REFERENCE: Final = "input_reference"
"""OpenAI's name for the picture, or the video, that a video starts from."""

_UPLOAD_TEXT = "sent as a file, or in JSON as base64 or a data: URL; paths and addresses are not read"
_MAX_SECONDS = 3600
_MAX_TEXT = 100_000


def _option_type(entry: Option) -> Any:
    """The type of an option: whatever the table accepts."""

    def check(raw: Any) -> Any:
        if raw is None:
            return None
        if entry.kind == "text" and not isinstance(raw, str):
            raise InputError(entry.key, f"must be text, got {type(raw).__name__}")
        return parse({entry.key: raw}).get(entry.key)

    return Annotated[Any, BeforeValidator(check), WithJsonSchema(_schema_of(entry))]


def _schema_of(entry: Option) -> dict[str, Any]:
    if entry.kind in ("int", "float"):
        kind = "integer" if entry.kind == "int" else "number"
        low = "exclusiveMinimum" if entry.above else "minimum"
        return {"type": kind, low: entry.minimum, "maximum": entry.maximum}
    if entry.kind == "numbers":
        return {"type": "array", "items": {"type": "number"}}
    if entry.choices:
        return {"type": "string", "enum": list(entry.choices)}
    return {"type": "string"}


def _upload_type(key: str) -> Any:
    one = {"type": "string", "format": "binary"}
    if key == "references":
        return Annotated[list[bytes | str], WithJsonSchema({"type": "array", "items": one})]
    if key == "keyframe":
        return Annotated[
            dict[str, bytes | str], WithJsonSchema({"type": "object", "additionalProperties": one})
        ]
    return Annotated[bytes | str, WithJsonSchema(one)]


def _loras(raw: Any) -> Any:
    """IDs, of which JSON may also have {"id": ..., "weight": ...}."""
    several = raw if isinstance(raw, list) else [raw]
    return [_lora(one) for one in several]


def _lora(raw: Any) -> str:
    if isinstance(raw, Mapping):
        extra = sorted(set(raw) - {"id", "weight"})
        identity, weight = raw.get("id"), raw.get("weight", 1)
        if not extra and isinstance(identity, str) and isinstance(weight, int | float):
            return f"{identity}:{float(weight)!r}"
    elif isinstance(raw, str):
        return raw
    raise InputError("lora", 'must be ID, ID:WEIGHT or {"id": ID, "weight": WEIGHT}, several in a list')


def _text(raw: Any) -> Any:
    if not isinstance(raw, str):
        raise InputError("prompt", f"must be text, got {type(raw).__name__}")
    return parse({"prompt": raw})["prompt"]


def _seconds(raw: Any) -> float:
    try:
        value = float("nan") if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if not 0 < value <= _MAX_SECONDS:
        raise InputError("seconds", f"must be a number above 0, at most {_MAX_SECONDS}")
    return value


def _fields() -> dict[str, Any]:
    fields: dict[str, Any] = {
        "prompt": (
            Annotated[str, BeforeValidator(_text)],
            Field(description="what to show", examples=["a red circle moves to the right"]),
        ),
        "seconds": (
            Annotated[float | None, BeforeValidator(_optional(_seconds)), WithJsonSchema({"type": "number"})],
            Field(default=None, description="length, instead of frames"),
        ),
        REFERENCE: (
            Annotated[Any, WithJsonSchema({"type": "string", "format": "binary"})],
            Field(
                default=None,
                description=f"another name for image or, where it is a video, video; {_UPLOAD_TEXT}",
            ),
        ),
    }
    for entry in OPTIONS:
        if entry.key in OPERATORS:
            continue
        text = entry.describe()
        if entry.key in UPLOADS:
            kind, text = _upload_type(entry.key) | None, f"{entry.help}; {_UPLOAD_TEXT}"
        elif entry.key == "lora":
            schema = WithJsonSchema({"type": "array", "items": {"type": "string"}})
            kind = Annotated[list[str] | None, BeforeValidator(_optional(_loras)), schema]
            text = "id of GET /v1/models, or ID:WEIGHT with a weight from -100 to 100; several in a list"
        elif entry.key == "model":
            kind, text = Annotated[str | None, WithJsonSchema({"type": "string"})], "id of GET /v1/models"
        else:
            kind = _option_type(entry)
        fields[entry.key] = (kind, Field(default=None, description=text))
    return fields


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda raw: None if raw is None else check(raw)


VideoRequest: type[BaseModel] = create_model(
    "VideoRequest",
    __config__=ConfigDict(extra="forbid"),
    __doc__="A video or, with one frame, a picture to be made.",
    **_fields(),
)


def validated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given, checked one by one.

    Raises:
        InputError: A field that is the operator's business.
        ApiError: A field that is unknown or wrong.
    """
    for key in sorted(OPERATORS & set(values)):
        raise InputError(key, "is for the operator of this server to say; leave it out")
    try:
        found = VideoRequest.model_validate(values)
    except ValidationError as error:
        raise of_validation(error, VideoRequest.model_fields) from None
    given = {key: value for key in found.model_fields_set if (value := getattr(found, key)) is not None}
    for key, value in given.items():
        if isinstance(value, str) and key not in (*UPLOADS, REFERENCE) and len(value) > _MAX_TEXT:
            raise InputError(key, f"must be at most {_MAX_TEXT} characters, got {len(value)}")
    return given


def request_body() -> dict[str, Any]:
    """The request body of `POST /v1/videos` for the OpenAPI page."""
    schema = json.loads(json.dumps(VideoRequest.model_json_schema()))
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema}, "multipart/form-data": {"schema": schema}},
        }
    }
