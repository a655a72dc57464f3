"""The REST server: jobs over HTTP, on `ea_app.jobs.Supervisor`.

`create_app` makes an ASGI application over a supervisor; `serve` runs it until it is told to end. See
docs/server.md.
"""

from ea_app.server.app import create_app
from ea_app.server.catalogue import Catalogue
from ea_app.server.run import serve
from ea_app.server.settings import ServerSettings

__all__ = ["Catalogue", "ServerSettings", "create_app", "serve"]
