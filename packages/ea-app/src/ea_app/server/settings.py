"""How the server listens, and what it takes."""

from dataclasses import dataclass

from ea_app.api.intake import MAX_VOLUME
from ea_app.options import InputError
from ea_app.web.access import FAILURES, LOCK_SECONDS, check_listening


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """How the server listens, and what it takes.

    Attributes:
        host: Address to listen at.
        port: 0 takes a free one.
        token: What clients have to send; None lets in who can reach a loopback address.
        max_body: Bytes of one request.
        body_seconds: In which a request has to be here.
        max_pixels: Width times height times frames of one job, and of each file that is sent.
        max_uploads: Bytes of all files that were sent and are still needed.
        max_streams: Event streams and waiting calls at once.
        failures: Wrong tokens of an address before it is locked out.
        lock_seconds: For how long.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_body: int = 64_000_000
    body_seconds: float = 60.0
    max_pixels: int = MAX_VOLUME
    max_uploads: int = 4_000_000_000
    max_streams: int = 64
    failures: int = FAILURES
    lock_seconds: float = LOCK_SECONDS

    def __post_init__(self) -> None:
        """Refuse what cannot be, and an open door.

        Raises:
            InputError: Naming the option.
        """
        check_listening(self.host, self.port, self.token)
        for name in ("max_body", "max_pixels", "max_uploads"):
            if getattr(self, name) < 1:
                raise InputError(name.replace("_", "-"), f"must be at least 1, got {getattr(self, name)}")
