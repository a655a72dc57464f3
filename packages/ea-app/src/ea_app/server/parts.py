"""What handlers share, made once for an application."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from ea_app.jobs import Supervisor
from ea_app.server.catalogue import Catalogue
from ea_app.server.events import Watching
from ea_app.server.settings import ServerSettings
from ea_app.server.submitting import Submitter
from ea_app.server.uploads import Uploads
from ea_app.server.views import Presenter
from ea_app.web.reader import Reader


@dataclass(kw_only=True)
class Parts:
    """What handlers share.

    Attributes:
        jobs: Queue, workers, history.
        settings: See `ServerSettings`.
        catalogue: Models and LoRAs by id.
        uploads: Files that were sent.
        submitter: Makes jobs.
        presenter: Shows them.
        watching: Counts who waits.
        asked: Ids of jobs by Idempotency-Key, with a hash of what was asked.
        one_at_a_time: Held by requests with such a key.
        chosen: Id of the model that EasyAnimate's routes use.
    """

    jobs: Supervisor
    settings: ServerSettings
    catalogue: Catalogue
    uploads: Uploads
    submitter: Submitter
    presenter: Presenter
    watching: Watching
    asked: OrderedDict[str, tuple[str, str]] = field(default_factory=OrderedDict)
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    chosen: str = ""

    @classmethod
    def of(cls, jobs: Supervisor, catalogue: Catalogue, settings: ServerSettings, reader: Reader) -> "Parts":
        """Make them over a supervisor."""
        uploads = Uploads(jobs.folder, reader, max_bytes=settings.max_uploads, max_pixels=settings.max_pixels)
        submitter = Submitter(jobs, catalogue, uploads, settings)
        return cls(
            jobs=jobs,
            settings=settings,
            catalogue=catalogue,
            uploads=uploads,
            submitter=submitter,
            presenter=Presenter(catalogue, submitter),
            watching=Watching(jobs, settings.max_streams),
            chosen=catalogue.default,
        )


def parts_of(request: Request) -> Parts:
    """Those of the application that has a request."""
    return cast(Parts, request.app.state.parts)
