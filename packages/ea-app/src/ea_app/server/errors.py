"""One shape of all errors, as OpenAI's clients read it: `{"error": {"message", "type", "param", "code"}}`."""

import difflib
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from ea_app.jobs import JobsError, NoSuchJobError, QueueFullError, StoreError
from ea_app.options import InputError

_LONGEST = 1000

RETRY_SECONDS = 5
"""What clients are told to wait where the queue is full."""

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "overloaded_error",
}


class ApiError(HTTPException):
    """Something a client is told, with a status that says whose fault it is.

    Args:
        status: HTTP status.
        message: One line: what is wrong and what is allowed.
        param: The field that it concerns.
        code: A word for programs; that of the status if None.
        headers: More headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.param = param
        self.code = code


def body_of(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The JSON of an error."""
    kind = _TYPES.get(status, "invalid_request_error")
    message, param = _printable(message, _LONGEST), param and _printable(param, 100)
    word = code or re.sub(r"[^a-z]+", "_", HTTPStatus(status).phrase.lower())
    return {"error": {"message": message, "type": kind, "param": param, "code": word}}


def _printable(text: str, most: int) -> str:
    """Text that can be sent, and not all of what a client has sent itself."""
    whole = text if len(text) <= most else f"{text[:most]}..."
    return whole.encode("utf-8", "replace").decode()


def response_of(error: HTTPException) -> JSONResponse:
    """The answer to an error."""
    param, code = getattr(error, "param", None), getattr(error, "code", None)
    message = " ".join(str(error.detail).split())
    body = body_of(error.status_code, message, param, code)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def as_api_error(error: Exception) -> ApiError:
    """What jobs and options raise, as a client is told."""
    match error:
        case InputError():
            return ApiError(422, str(error), param=error.field.replace("-", "_"), code="invalid_value")
        case NoSuchJobError():
            return ApiError(404, "there is no such video", code="no_such_video")
        case QueueFullError():
            return ApiError(429, str(error), code="queue_full", headers={"Retry-After": str(RETRY_SECONDS)})
        case ValidationError() | RequestValidationError():
            return of_validation(error)
        case StoreError():
            message = "jobs cannot be written to disk now; try again later"
            return ApiError(503, message, code="storage", headers={"Retry-After": "60"})
        case JobsError():
            return ApiError(503, str(error), code="ending", headers={"Retry-After": str(RETRY_SECONDS)})
        case _:
            raise error


def of_validation(error: ValidationError | RequestValidationError, known: Iterable[str] = ()) -> ApiError:
    """The first mistake that pydantic found.

    Args:
        error: Of a request.
        known: Names of fields, for what may have been meant by an unknown one.
    """
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return as_api_error(cause)
    places = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    field = ".".join(places) or None
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = _unknown(field or "", known)
    return ApiError(422, f"{field}: {message}" if field else message, param=field, code="invalid_value")


def _unknown(field: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(field, known, n=1)
    return f"unknown field; did you mean {close[0]}?" if close else "unknown field; GET /docs lists all"


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the one shape."""

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return response_of(error)

    async def known(_: Request, error: Exception) -> JSONResponse:
        return response_of(as_api_error(error))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ValidationError | RequestValidationError)
        return response_of(of_validation(error))

    async def defect(_: Request, error: Exception) -> JSONResponse:  # the server prints the traceback
        return response_of(ApiError(500, f"an error in the server: {type(error).__name__}", code="defect"))

    app.add_exception_handler(HTTPException, http)
    for kind in (InputError, JobsError):
        app.add_exception_handler(kind, known)
    for kind in (ValidationError, RequestValidationError):
        app.add_exception_handler(kind, invalid)
    app.add_exception_handler(Exception, defect)
