"""Bodies of requests to plain values: strict JSON, and forms with files."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.requests import Request

from ea_app.server.errors import ApiError
from ea_app.server.schema import UPLOADS

_FIELD_BYTES = 1 << 20
_MAX_FILES, _MAX_FIELDS = 100, 200
_KEYED = re.compile(r"(?P<name>[a-z_]+)\[(?P<key>[^\]]{0,20})\]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LISTS = ("references", "lora")


async def read_values(request: Request, seconds: float, *, lenient: bool = False) -> dict[str, Any]:
    """The fields of a request by name; files are bytes.

    Args:
        request: Whose body is not read yet.
        seconds: In which all of it has to be here.
        lenient: Take a body without a content type for JSON, as released clients send it.

    Raises:
        ApiError: 400 no JSON, 408 too slow, 413 too large, 415 another kind of body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(seconds):
            if kind == "application/json" or (lenient and kind in ("", "text/plain")):
                return parse_json(await request.body())
            if kind == "multipart/form-data" and not lenient:
                return await _read_form(request)
    except TimeoutError:
        raise ApiError(408, f"the request took longer than {seconds:g} s to arrive") from None
    allowed = "application/json" if lenient else "application/json or multipart/form-data"
    raise ApiError(415, f"Content-Type must be {allowed}, got {kind[:100] or 'none'}")


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object, without what is no JSON or says two things at once.

    Raises:
        ApiError: 400, saying what is wrong.
    """
    try:
        text = data.decode("utf-8")
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
        if _SURROGATE.search(text):  # half of a character is no text; both halves together are
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ApiError(400, "the JSON is nested too deeply") from None
    except ValueError as error:
        raise ApiError(400, f"the body is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise ApiError(400, "the body must be a JSON object")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found


async def _read_form(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = {}
    async with request.form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_FIELD_BYTES) as form:
        for name, part in form.multi_items():
            value = await part.read() if isinstance(part, UploadFile) else part
            if isinstance(value, bytes) and not _takes_files(name):
                raise ApiError(422, f"{name[:100]}: is no file; send it as text", param=name[:100])
            _add(values, name, value)
    return values


def _takes_files(name: str) -> bool:
    found = _KEYED.fullmatch(name)
    return (found["name"] if found else name) in (*UPLOADS, "input_reference")


def _add(values: dict[str, Any], name: str, value: Any) -> None:
    """`references` and `lora` may come several times, `keyframe[24]` says its place."""
    found = _KEYED.fullmatch(name)
    name, key = (found["name"], found["key"]) if found else (name, "")
    if name in _LISTS:
        values.setdefault(name, []).append(value)
    elif key:
        places: Mapping[str, Any] | Any = values.setdefault(name, {})
        if not isinstance(places, dict) or key in places:
            raise ApiError(422, f"{name}: is given twice", param=name)
        places[key] = value
    elif name in values:
        raise ApiError(422, f"{name[:100]}: is given twice; give it once", param=name[:100])
    else:
        values[name] = value
