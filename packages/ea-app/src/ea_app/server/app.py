"""The ASGI application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from importlib import metadata

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from ea_app.jobs import Supervisor
from ea_app.server.catalogue import Catalogue
from ea_app.server.easyanimate import router as easyanimate
from ea_app.server.errors import add_handlers
from ea_app.server.guard import Guard
from ea_app.server.page import page_of
from ea_app.server.parts import Parts
from ea_app.server.settings import ServerSettings
from ea_app.server.status import router as status
from ea_app.server.videos import router as videos
from ea_app.web.reader import Reader

_SWEEP_SECONDS = 60.0
_ALL = 1 << 31


def create_app(
    jobs: Supervisor,
    catalogue: Catalogue | None = None,
    settings: ServerSettings | None = None,
    reader: Reader | None = None,
) -> FastAPI:
    """Make the application.

    Args:
        jobs: Who runs jobs; who called closes it.
        catalogue: Models and LoRAs that may be named; the bundled model if None.
        settings: See `ServerSettings`.
        reader: Looks at files that are sent; who called closes it. One of its own if None.
    """
    settings = settings or ServerSettings()
    own = None if reader is not None else (reader := Reader())
    parts = Parts.of(jobs, catalogue or Catalogue.of(), settings, reader)
    app = FastAPI(
        title="ea-app",
        version=metadata.version("ea-app"),
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_lifespan, own),
        redirect_slashes=False,
    )
    app.state.parts = parts
    add_handlers(app)
    for router in (videos, status, easyanimate):
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    def first() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()))

    app.add_middleware(Guard, settings=settings)
    return app


@contextlib.asynccontextmanager
async def _lifespan(own: Reader | None, app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    await run_in_threadpool(_sweep, parts)
    sweeping = asyncio.create_task(_sweep_often(parts))
    try:
        yield
    finally:
        parts.watching.ending = True
        sweeping.cancel()
        if own is not None:
            own.close()


async def _sweep_often(parts: Parts) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await run_in_threadpool(_sweep, parts)


def _sweep(parts: Parts) -> None:
    parts.uploads.sweep(parts.jobs.recent(_ALL))
