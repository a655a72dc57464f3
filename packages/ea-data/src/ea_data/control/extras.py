"""Libraries that only some control signals and stages of curation need: imported when one is opened."""

import importlib
from typing import Any, Final

__all__ = ["MissingExtraError", "load"]

_EXTRAS: Final = {
    "cv2": "control",
    "huggingface_hub": "control-models",
    "httpx": "curation",
    "num2words": "curation-models",
    "onnxruntime": "control-models",
    "py3langid.langid": "text",
    "ray": "ray",
    "ray.data": "ray",
    "rapidocr": "curation",
    "safetensors": "control-models",
    "safetensors.torch": "control-models",
    "scenedetect": "curation",
    "scenedetect.detectors": "curation",
    "scipy.ndimage": "control-models",
    "tokenizers": "text",
    "torch": "control-models",
    "torch.nn.functional": "control-models",
    "torchvision": "curation-models",
    "torchvision.models.optical_flow": "curation-models",
    "transformers": "control-models",
}


class MissingExtraError(ValueError):
    """A library that is not installed; the message is one line that names the extra which brings it."""


def load(module: str, *, extra: str = "") -> Any:
    """Import a module of an optional library.

    Args:
        module: Such as "cv2"; one of those that the extras of this package bring.
        extra: The one to tell of; the smallest that brings the module if empty.

    Raises:
        MissingExtraError: It is not installed, or cannot be imported on this machine.
    """
    extra = extra or _EXTRAS[module]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        how = f"pip install 'ea-data[{extra}]'"
        reason = " ".join(str(error).split())
        raise MissingExtraError(f"{module} cannot be imported ({reason}); install it with: {how}") from error
