"""The studio as a server: the page, the files of jobs, and who may see them."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from ea_app.jobs import Supervisor
from ea_app.ui.access import Access
from ea_app.ui.media import add_media
from ea_app.ui.models import Shelf
from ea_app.ui.settings import UiSettings
from ea_app.ui.stubs import without_stubs
from ea_app.ui.studio import Studio
from ea_app.ui.uploads import Uploads
from ea_app.web.access import Door
from ea_app.web.reader import Reader
from ea_app.web.running import address_of, run

UPLOADS = "uploads"
_CLEAN_SECONDS = 600.0
_FORM_BYTES = 2**16
_THEME = """() => {
  document.body.dataset.eaTab = 'create';
  try {
    const kept = localStorage.getItem('ea-theme');
    if (kept) document.body.classList.toggle('dark', kept === 'dark');
  } catch { /* that of the system */ }
}"""


def make_app(jobs: Supervisor, settings: UiSettings) -> FastAPI:
    """The server's application.

    Args:
        jobs: Runs them; stays open while the application is used.
        settings: How it is run.
    """
    uploads = Uploads(jobs.folder / UPLOADS, Reader())
    # Where gradio puts uploads and what it shows; read when gradio is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with without_stubs():
        import gradio as gr  # noqa: PLC0415  (seconds to import, and the settings above come first)

    from ea_app.ui.layout import build  # noqa: PLC0415
    from ea_app.ui.panels.editors import static  # noqa: PLC0415
    from ea_app.ui.theme import theme  # noqa: PLC0415

    shelf = Shelf(
        settings.models,
        settings.loras,
        motion_modules=settings.motion_modules,
        checkpoints=settings.checkpoints,
    )
    studio = Studio(jobs, shelf, uploads, settings.device)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Not before: a second process would take time from the start.
        threading.Thread(target=_warm, args=(studio,), daemon=True).start()
        cleaning = asyncio.create_task(_clean(studio, settings.keep_uploads))
        yield
        cleaning.cancel()
        uploads.reader.close()

    app = FastAPI(title="EA Studio", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_media(app, jobs)
    made = gr.mount_gradio_app(
        app,
        build(studio),
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=True,
        max_file_size=settings.upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=theme(),
        css=static("studio.css"),
        js=_THEME,
    )
    made.add_middleware(
        Access,
        door=Door(settings.token),
        upload_bytes=settings.upload_bytes + _FORM_BYTES,
        has_room=lambda: uploads.measure() < settings.max_uploads,
    )
    return made


def serve(
    jobs: Supervisor, settings: UiSettings, listener: socket.socket, announce: Callable[[str], None]
) -> None:
    """Answer until the process is told to end.

    Args:
        jobs: Runs them.
        settings: How it is run.
        listener: Where, see `ea_app.web.running.listen`.
        announce: Is told the address once it answers there.
    """
    address = address_of(listener, settings.host)
    app = make_app(jobs, settings)
    run(app, listener, on_start=lambda: announce(address), timeout_graceful_shutdown=2)


def _warm(studio: Studio) -> None:
    """Ask about the models before anybody waits for it."""
    studio.shelf.families()
    studio.uploads.reader.warm()


async def _clean(studio: Studio, age: float) -> None:
    while True:
        await asyncio.to_thread(studio.clean, age)
        await asyncio.sleep(_CLEAN_SECONDS)
