"""A job as clients see it: the fields of OpenAI's video object, and ours beside them. No path goes out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ea_app.jobs import JobView, State
from ea_app.server.catalogue import Catalogue
from ea_app.server.schema import UPLOADS
from ea_app.server.submitting import Submitter

STATUS: Mapping[State, str] = {
    State.QUEUED: "queued",
    State.LOADING: "in_progress",
    State.RUNNING: "in_progress",
    State.DECODING: "in_progress",
    State.SAVING: "in_progress",
    State.DONE: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.INTERRUPTED: "failed",
}

_DENOISED, _DECODED = 90, 97
_TYPES: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".zip": "application/zip",
}
_PRIVATE = ("model", "seed", "lora", "camera", "size")


class Presenter:
    """Shows jobs.

    Args:
        catalogue: Turns models and LoRAs back to ids.
        submitter: Hides names of folders in messages.
    """

    def __init__(self, catalogue: Catalogue, submitter: Submitter) -> None:
        self._catalogue, self._hide = catalogue, submitter.hide

    def show(self, view: JobView) -> dict[str, Any]:
        """A job as a JSON object."""
        request = self._request(view)
        width, height, frames, fps = (request[name] for name in ("width", "height", "num_frames", "fps"))
        return {
            "id": view.id,
            "object": "video",
            "model": self._catalogue.id_of_model(view.model),
            "status": STATUS[view.state],
            "progress": progress_of(view),
            "created_at": int(view.created),
            "completed_at": int(view.ended) if view.ended and view.state is State.DONE else None,
            "expires_at": None,
            "prompt": view.prompt,
            "size": f"{width}x{height}" if width else None,
            "seconds": f"{frames / fps:.3g}" if frames and fps else None,
            "error": self._error(view),
            "state": str(view.state),
            "frames": frames,
            "fps": fps,
            "seed": view.seed,
            "ahead": view.ahead,
            "stage": view.stage,
            "step": view.step,
            "total": view.total,
            "remaining": view.remaining,
            "started_at": view.started,
            "ended_at": view.ended,
            "notices": [self._hide(text) for text in view.notices],
            "options": self._options(view),
            "timings": dict(view.timings),
            "content_type": content_type(view.output),
        }

    def _error(self, view: JobView) -> dict[str, Any] | None:
        if view.error is None:
            return None
        param = None if view.error_field is None else view.error_field.replace("-", "_")
        code = str(view.reason or view.state)
        return {"code": code, "message": self._hide(view.error), "param": param}

    def _request(self, view: JobView) -> dict[str, Any]:
        """Size, length and rate: of the record when there is one, else as far as they are known."""
        if view.record is not None:
            made = view.record["request"]
            return {name: made[name] for name in ("width", "height", "num_frames", "fps")}
        model = self._catalogue.models.get(self._catalogue.id_of_model(view.model))
        size = view.options.get("size") or (model and (model.info.native_width, model.info.native_height))
        by_file = bool({"video", "control", "loops"} & set(view.options))
        frames = view.options.get("frames") or (model.info.native_frames if model and not by_file else None)
        fps = view.options.get("fps") or (model.info.fps if model and not by_file else None)
        width, height = size or (None, None)
        return {"width": width, "height": height, "num_frames": frames, "fps": fps}

    def _options(self, view: JobView) -> dict[str, Any]:
        """What was given, without files and what is told elsewhere."""
        given = {key: value for key, value in view.options.items() if key not in (*UPLOADS, *_PRIVATE)}
        if "lora" in view.options:
            given["lora"] = [self._catalogue.id_of_lora(text) for text in view.options["lora"]]
        camera = view.options.get("camera")
        if camera is not None and not Path(camera).is_absolute():
            given["camera"] = camera
        return given


def progress_of(view: JobView) -> int:
    """About how much is done, in percent."""
    if view.state is State.DONE:
        return 100
    if view.stage == "save":
        return _DECODED
    if view.stage == "decode":
        return _DENOISED
    if view.stage == "denoise" and view.total:
        return int(_DENOISED * view.step / view.total)
    return 0


def content_type(path: Path | None) -> str | None:
    """The media type of a result."""
    return None if path is None else _TYPES.get(path.suffix, "application/octet-stream")
