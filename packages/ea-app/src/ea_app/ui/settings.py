"""How the studio is run."""

from dataclasses import dataclass
from pathlib import Path

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")
MIN_TOKEN = 8
"""Least letters of a token."""


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """How the studio is run.

    Attributes:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        token: What visitors have to know; needed beyond this machine.
        models: Folder whose model directories may be chosen, beside the models in the box.
        loras: Folder whose LoRA files may be chosen.
        upload_bytes: Largest file that may be uploaded.
        keep_uploads: Seconds after which an uploaded file is removed that no job uses.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    models: Path | None = None
    loras: Path | None = None
    upload_bytes: int = 200 * 2**20
    keep_uploads: float = 86_400.0

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ValueError: Beginning with the flag.
        """
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
        if self.host not in LOCAL_HOSTS and not self.token:
            raise ValueError(
                f"token is needed to listen on {self.host}: others can reach it; give --token TEXT"
            )
        if self.token is not None and (len(self.token) < MIN_TOKEN or not self.token.isascii()):
            raise ValueError(f"token must be at least {MIN_TOKEN} letters or digits")
        for name in ("models", "loras"):
            folder = getattr(self, name)
            if folder is not None and not folder.is_dir():
                raise ValueError(f"{name}-dir {folder} is no folder")
