"""Jobs as server-sent events, and waiting for them without a thread for each."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from ea_app.jobs import JobView, NoSuchJobError, State, Supervisor
from ea_app.server.errors import ApiError
from ea_app.server.views import Presenter

_POLL_SECONDS = 0.1
_QUIET_SECONDS = 15.0
_MAX_PREVIEW = 1 << 18


class Watching:
    """How many clients wait for jobs, and whether the server ends.

    Args:
        jobs: What they wait for.
        most: How many may.
    """

    def __init__(self, jobs: Supervisor, most: int) -> None:
        self._jobs, self._most = jobs, most
        self.count = 0
        self.ending = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place, and give it back.

        Raises:
            ApiError: 503, all are taken.
        """
        if self.count >= self._most or self.ending:
            wait = {"Retry-After": "5"}
            raise ApiError(503, "too many clients wait for jobs; ask for the state instead", headers=wait)
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    async def changes(
        self, job_id: str, gone: Callable[[], Awaitable[bool]] | None = None
    ) -> AsyncIterator[JobView | None]:
        """A job now and at every change until it is over; None now and then when nothing happens.

        Args:
            job_id: Which.
            gone: Whether the client has left.
        """
        version, quiet_since = -1, time.monotonic()
        while not self.ending and not (gone is not None and await gone()):
            try:
                view = await run_in_threadpool(self._jobs.get, job_id)
            except NoSuchJobError:
                if version < 0:
                    raise
                return
            if view.version != version:
                version, quiet_since = view.version, time.monotonic()
                yield view
                if is_over(view):
                    return
            elif time.monotonic() - quiet_since > _QUIET_SECONDS:
                quiet_since = time.monotonic()
                yield None
            await asyncio.sleep(_POLL_SECONDS)


def is_over(view: JobView) -> bool:
    """Whether nothing more will happen by itself."""
    return view.over or view.state is State.INTERRUPTED


async def stream(
    watching: Watching, presenter: Presenter, job_id: str, *, previews: bool
) -> AsyncIterator[bytes]:
    """The events of a job as text/event-stream."""
    with watching.place():
        shown = 0.0
        async for view in watching.changes(job_id):
            if view is None:
                yield b": nothing new\n\n"
                continue
            data = presenter.show(view)
            if previews:
                picture, shown = await run_in_threadpool(_preview, view, shown)
                data |= {} if picture is None else {"preview": picture}
            name = data["status"] if is_over(view) else "progress"
            yield _event(name, view.version, data)


def _event(name: str, number: int, data: dict[str, Any]) -> bytes:
    return f"event: {name}\nid: {number}\ndata: {json.dumps(data, ensure_ascii=True)}\n\n".encode()


def _preview(view: JobView, shown: float) -> tuple[str | None, float]:
    """The picture of what is being made as a data: URL, when it is another than the last."""
    if view.preview is None or is_over(view):
        return None, shown
    try:
        changed = view.preview.stat().st_mtime
        if changed == shown or view.preview.stat().st_size > _MAX_PREVIEW:
            return None, shown
        return f"data:image/jpeg;base64,{base64.b64encode(view.preview.read_bytes()).decode()}", changed
    except OSError:
        return None, shown
