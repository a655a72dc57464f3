"""How the studio is run."""

from dataclasses import dataclass
from pathlib import Path

from ea_app.options import InputError
from ea_app.web.access import check_listening


@dataclass(frozen=True, kw_only=True)
class UiSettings:
    """How the studio is run.

    Attributes:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        token: What visitors have to know; needed beyond this machine.
        device: What jobs are computed on, for what is told of them: auto, cpu, cuda or cuda:N.
        models: Folder whose model directories may be chosen, beside the models in the box.
        loras: Folder whose LoRA files may be chosen.
        motion_modules: Folder whose motion modules of V1 may be chosen.
        checkpoints: Folder whose personalised checkpoints may be chosen.
        upload_bytes: Largest file that may be uploaded.
        max_uploads: Bytes of all files that were uploaded and are still kept.
        keep_uploads: Seconds after which an uploaded file is removed that no job uses.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    device: str = "auto"
    models: Path | None = None
    loras: Path | None = None
    motion_modules: Path | None = None
    checkpoints: Path | None = None
    upload_bytes: int = 200 * 2**20
    max_uploads: int = 4_000_000_000
    keep_uploads: float = 86_400.0

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            InputError: Naming the flag.
        """
        check_listening(self.host, self.port, self.token)
        for name in ("models", "loras", "motion_modules", "checkpoints"):
            folder = getattr(self, name)
            if folder is not None and not folder.is_dir():
                raise InputError(f"{name.replace('_', '-')}-dir", f"{folder} is no folder")
