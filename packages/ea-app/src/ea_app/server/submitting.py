"""From the fields of a request to a job: ids become models, files paths of ours, and sizes are bounded."""

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ea_app.api.extraction import KINDS_WITHOUT_WEIGHTS
from ea_app.api.intake import is_plain_video
from ea_app.api.steering import check_moves
from ea_app.jobs import JobView, Supervisor
from ea_app.model_info import ModelInfo
from ea_app.options import InputError
from ea_app.server.catalogue import Catalogue
from ea_app.server.errors import ApiError
from ea_app.server.schema import REFERENCE, UPLOADS
from ea_app.server.settings import ServerSettings
from ea_app.server.uploads import Uploads, content_of

_AT_ONCE = 2


class Submitter:
    """Makes jobs of checked fields.

    Args:
        jobs: Where they are queued.
        catalogue: Models and LoRAs by id.
        uploads: Where files go.
        settings: See `ServerSettings`.
    """

    def __init__(
        self, jobs: Supervisor, catalogue: Catalogue, uploads: Uploads, settings: ServerSettings
    ) -> None:
        self._jobs, self._catalogue, self._uploads, self._settings = jobs, catalogue, uploads, settings
        # Files are decoded to be checked: a few at a time, so that memory is bounded too.
        self._gate = threading.BoundedSemaphore(_AT_ONCE)

    def submit(self, fields: Mapping[str, Any]) -> JobView:
        """Queue a job.

        Args:
            fields: Result of `ea_app.server.schema.validated`.

        Raises:
            InputError: The first mistake.
            ApiError: There is no room.
            JobsError: The queue is full or ending.
        """
        with self._gate:
            place = self._uploads.new()
            try:
                view = self._jobs.submit(**self._options(dict(fields), place))
            except InputError as error:
                self._uploads.remove(place)
                raise InputError(error.field, self.hide(error.reason)) from None
            except BaseException:
                self._uploads.remove(place)
                raise
            if not any(place.iterdir()):
                self._uploads.remove(place)
            return view

    def hide(self, text: str) -> str:
        """A message without names of folders of this machine."""
        for identity, model in self._catalogue.models.items():
            text = text.replace(str(model.directory), identity)
        for identity, path in self._catalogue.loras.items():
            text = text.replace(str(path), identity)
        uploads, state = (
            rf"{re.escape(str(place))}[\w./-]*" for place in (self._uploads.folder, self._jobs.folder)
        )
        text = re.sub(state, "the server's folder", re.sub(uploads, "the file", text))
        return re.sub(r"--(?=[a-z])", "", text)  # clients have fields, no flags

    def _options(self, fields: dict[str, Any], place: Path) -> dict[str, Any]:
        model = self._catalogue.model(fields.pop("model", self._catalogue.default))
        if "lora" in fields:
            fields["lora"] = [self._catalogue.lora(text) for text in fields["lora"]]
        _seconds_to_frames(fields, model.info)
        self._check_volume(fields, model.info)
        self._check_words(fields, place)
        self._place_files(fields, place)
        return {**fields, "model": model.name, "allow_pickle": model.allow_pickle}

    def _check_volume(self, fields: Mapping[str, Any], info: ModelInfo) -> None:
        width, height = fields.get("size", (info.native_width, info.native_height))
        frames = fields.get("frames", info.native_frames) * fields.get("loops", 1)
        if width * height * frames > self._settings.max_pixels:
            message = f"{width}x{height} pixels in {frames} frames are too many for this server"
            raise InputError("size", f"{message}; allowed: at most {self._settings.max_pixels} in all")

    def _check_words(self, fields: dict[str, Any], place: Path) -> None:
        """Options that are words or the name of a file: only the words, and contents of files."""
        camera = fields.get("camera")
        if camera is not None and "\n" in camera:
            path = self._uploads.keep_text("camera", camera, ".txt", place)
            fields["camera"] = str(path)
        elif camera is not None:
            check_moves(camera)
        if "control_from" in fields and fields.get("control") not in (None, *KINDS_WITHOUT_WEIGHTS):
            raise InputError(
                "control", f"must be one of {', '.join(KINDS_WITHOUT_WEIGHTS)} with control_from"
            )

    def _place_files(self, fields: dict[str, Any], place: Path) -> None:
        for key in (*UPLOADS, REFERENCE):
            if key not in fields or (key == "control" and "control_from" in fields):
                continue
            value = fields.pop(key)
            if key == "trajectory":
                fields[key] = str(self._uploads.keep_text(key, value, ".json", place))
            elif key == "references":
                fields[key] = [self._keep(key, one, place) for one in value]
            elif key == "keyframe":
                fields[key] = {at: self._keep(key, one, place) for at, one in value.items()}
            elif key == REFERENCE:
                self._place_reference(fields, self._keep(key, value, place))
            else:
                fields[key] = self._keep(key, value, place)

    def _keep(self, field: str, raw: Any, place: Path) -> str:
        return str(self._uploads.keep(field, content_of(field, raw), place))

    @staticmethod
    def _place_reference(fields: dict[str, Any], path: str) -> None:
        target = "video" if is_plain_video(Path(path)) else "image"
        if target in fields:
            raise InputError(REFERENCE, f"is another name for {target}; give one of them")
        fields[target] = path


def _seconds_to_frames(fields: dict[str, Any], info: ModelInfo) -> None:
    seconds = fields.pop("seconds", None)
    if seconds is None:
        return
    if "frames" in fields:
        raise InputError("seconds", "cannot be combined with frames")
    fields["frames"] = max(1, round(seconds * fields.get("fps", info.fps)))


def check_key(key: str | None) -> None:
    """Refuse an Idempotency-Key that is none.

    Raises:
        ApiError: 400.
    """
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ApiError(400, "Idempotency-Key must be 1 to 255 printable ASCII characters")
