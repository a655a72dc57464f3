"""Files of jobs for the page, by the ids of the jobs: no path comes from a visitor."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from ea_app.jobs import JobView, NoSuchJobError, State, Supervisor

_FILES: dict[str, Callable[[JobView], Path | None]] = {
    "result": lambda view: view.output if view.state is State.DONE else None,
    "thumbnail": lambda view: view.thumbnail,
    "preview": lambda view: view.preview,
}
_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".zip": "application/zip",
}


def add_media(app: FastAPI, jobs: Supervisor) -> None:
    """Answer `media/ID/KIND`; requests for a part of a file are answered with it."""

    @app.get("/media/{job_id}/{kind}", include_in_schema=False)
    def media(job_id: str, kind: str, download: int = 0) -> FileResponse:
        try:
            view = jobs.get(job_id)
        except NoSuchJobError:
            raise HTTPException(404, "there is no such job") from None
        find = _FILES.get(kind)
        path = None if find is None else find(view)
        if path is None or path.suffix not in _TYPES or not path.is_file():
            raise HTTPException(404, "there is no such file")
        name = path.name if download else None
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=3600"}
        return FileResponse(path, media_type=_TYPES[path.suffix], filename=name, headers=headers)
