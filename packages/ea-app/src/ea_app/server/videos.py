"""`/v1/videos`: jobs are made, watched, fetched, stopped and forgotten."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from ea_app.jobs import JobsError, JobView, NoSuchJobError, State
from ea_app.server.bodies import read_values
from ea_app.server.errors import ApiError
from ea_app.server.events import stream
from ea_app.server.parts import Parts, parts_of
from ea_app.server.schema import request_body, validated
from ea_app.server.submitting import check_key
from ea_app.server.views import content_type

router = APIRouter(prefix="/v1/videos", tags=["videos"])

_KEYS = 1000
_ALL = 1 << 31


@router.post("", status_code=202, openapi_extra=request_body())
async def create(request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> JSONResponse:
    """Queue a video; the answer says where to ask for it. The same Idempotency-Key gives the same video."""
    parts = parts_of(request)
    check_key(idempotency_key)
    values = await read_values(request, parts.settings.body_seconds)
    if idempotency_key is None:
        return await _created(parts, values)
    async with parts.one_at_a_time:
        return await _created_once(parts, values, idempotency_key)


async def _created_once(parts: Parts, values: Mapping[str, Any], key: str) -> JSONResponse:
    asked = hashlib.sha256(repr(sorted(values.items())).encode("utf-8", "surrogatepass")).hexdigest()
    before = parts.asked.get(key)
    if before is not None and before[0] != asked:
        raise ApiError(
            409, "this Idempotency-Key was used for another request", code="idempotency_key_reused"
        )
    if before is not None:
        try:
            return _accepted(parts, await run_in_threadpool(parts.jobs.get, before[1]))
        except NoSuchJobError:  # deleted since
            del parts.asked[key]
    answer = await _created(parts, values)
    parts.asked[key] = (asked, answer.headers["location"].rpartition("/")[2])
    while len(parts.asked) > _KEYS:
        parts.asked.popitem(last=False)
    return answer


async def _created(parts: Parts, values: Mapping[str, Any]) -> JSONResponse:
    fields = validated(values)
    return _accepted(parts, await run_in_threadpool(parts.submitter.submit, fields))


def _accepted(parts: Parts, view: JobView) -> JSONResponse:
    place = {"Location": f"/v1/videos/{view.id}"}
    return JSONResponse(parts.presenter.show(view), status_code=202, headers=place)


@router.get("")
def find(
    request: Request,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """Videos of any state, page by page: `after` is the last id of the page before."""
    parts = parts_of(request)
    views = parts.jobs.recent(_ALL)
    if order == "asc":
        views.reverse()
    if after is not None:
        places = [place for place, view in enumerate(views) if view.id == after]
        if not places:
            raise ApiError(404, "after: there is no such video", param="after", code="no_such_video")
        views = views[places[0] + 1 :]
    page = views[:limit]
    return {
        "object": "list",
        "data": [parts.presenter.show(view) for view in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": len(views) > limit,
    }


@router.get("/{video_id}")
def get(request: Request, video_id: str) -> dict[str, Any]:
    """One video."""
    parts = parts_of(request)
    return parts.presenter.show(parts.jobs.get(video_id))


@router.get("/{video_id}/events", response_class=StreamingResponse)
async def events(request: Request, video_id: str, previews: bool = True) -> StreamingResponse:  # noqa: FBT001, FBT002
    """Server-sent events: `progress` with stage, step, seconds that remain and preview; the last one is
    `completed`, `failed` or `cancelled`.
    """  # noqa: D205
    parts = parts_of(request)
    await run_in_threadpool(parts.jobs.get, video_id)
    with parts.watching.place():  # refused before the answer begins
        pass
    body = stream(parts.watching, parts.presenter, video_id, previews=previews)
    return StreamingResponse(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/{video_id}/content", response_class=FileResponse)
def content(
    request: Request,
    video_id: str,
    variant: Literal["video", "thumbnail", "preview", "record"] = "video",
) -> FileResponse:
    """The result (ranges are understood), a small picture of it, the last preview, or its record as JSON."""
    view = parts_of(request).jobs.get(video_id)
    if view.state is not State.DONE and variant != "preview":
        raise ApiError(409, f"the video is {view.state}: there is no {variant} yet", code="not_ready")
    record = None if view.output is None else Path(f"{view.output}.json")
    files = {"video": view.output, "thumbnail": view.thumbnail, "preview": view.preview, "record": record}
    path = files[variant]
    if path is None or not path.is_file():
        raise ApiError(404, f"the video has no {variant}", code="no_content")
    types = {"video": content_type(path), "record": "application/json"}
    name = f"{view.id}{path.suffix}"
    kind = "attachment" if variant == "record" else "inline"
    media_type = types.get(variant) or "image/jpeg"
    return FileResponse(path, media_type=media_type, filename=name, content_disposition_type=kind)


@router.post("/{video_id}/cancel", status_code=202)
def cancel(request: Request, video_id: str) -> dict[str, Any]:
    """Stop a video that waits or is made; one that is over stays as it is."""
    parts = parts_of(request)
    parts.jobs.cancel(video_id)
    return parts.presenter.show(parts.jobs.wait(video_id, 0.2))


@router.post("/{video_id}/resume", status_code=202)
def resume(request: Request, video_id: str) -> dict[str, Any]:
    """Queue a video again that was cancelled, failed or interrupted; it goes on where it was."""
    parts = parts_of(request)
    view = parts.jobs.get(video_id)
    try:
        return parts.presenter.show(parts.jobs.resume(video_id))
    except NoSuchJobError:
        raise
    except JobsError as error:
        raise ApiError(409, str(error), code=f"is_{view.state}") from None


@router.delete("/{video_id}")
def delete(request: Request, video_id: str) -> dict[str, Any]:
    """Forget a video with its files. One that is being made has to be cancelled first."""
    parts = parts_of(request)
    view = parts.jobs.get(video_id)
    try:
        parts.jobs.delete(video_id)
    except NoSuchJobError:
        raise
    except JobsError as error:
        raise ApiError(409, f"{error}; cancel it first", code=f"is_{view.state}") from None
    parts.uploads.remove_of(view)
    return {"id": video_id, "object": "video.deleted", "deleted": True}
