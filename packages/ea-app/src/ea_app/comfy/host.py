"""What nodes need of ComfyUI, asked for when they run: importing this package needs no ComfyUI."""

import importlib
import io
from pathlib import Path
from typing import Any

from PIL import Image

from ea_app.api.job import CancelToken
from ea_app.api.progress import Progress

FOLDER = "EasyAnimate"
"""Where models lie, in ComfyUI's folder of models."""

_PREVIEW_SIDE = 512


def models_folder() -> Path:
    """Where EasyAnimate's model directories lie; it need not exist."""
    return Path(_module("folder_paths").models_dir) / FOLDER


def lora_names() -> list[str]:
    """LoRA files that ComfyUI knows."""
    return list(_module("folder_paths").get_filename_list("loras"))


def lora_path(name: str) -> Path:
    """The file of such a name.

    Raises:
        ValueError: There is none.
    """
    found = _module("folder_paths").get_full_path("loras", name)
    if found is None:
        raise ValueError(f"lora_name: ComfyUI knows no LoRA {name!r}; it has to lie in models/loras")
    return Path(found)


def device() -> str:
    """The device that ComfyUI computes on."""
    return str(_module("comfy.model_management").get_torch_device())


def make_room() -> None:
    """Have ComfyUI give back what memory it keeps for later."""
    _module("comfy.model_management").soft_empty_cache()


class Watch(CancelToken):
    """Stops a job when ComfyUI's user presses the button."""

    def __init__(self) -> None:
        super().__init__()
        self._management = _module("comfy.model_management")

    @property
    def cancelled(self) -> bool:
        """Whether the workflow was interrupted."""
        return super().cancelled or self._management.processing_interrupted()

    def raise_if_interrupted(self) -> None:
        """Raise ComfyUI's own exception, which also takes the request to stop back."""
        self._management.throw_exception_if_processing_interrupted()


class Bar:
    """ComfyUI's progress bar, moved by the events of a job; with a picture where the model has previews."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, event: Progress) -> None:
        """Move it."""
        if event.stage != "denoise":
            return
        if self._bar is None:
            self._bar = _module("comfy.utils").ProgressBar(event.total)
        preview = None
        if event.preview is not None:
            preview = ("JPEG", Image.open(io.BytesIO(event.preview)), _PREVIEW_SIDE)
        self._bar.update_absolute(event.step, event.total, preview)


def _module(name: str) -> Any:
    """A module of ComfyUI.

    Raises:
        RuntimeError: This is not running inside ComfyUI.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RuntimeError(f"{name} is missing: these nodes run inside ComfyUI only") from error
