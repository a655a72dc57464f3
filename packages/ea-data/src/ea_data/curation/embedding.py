"""Pictures as vectors, by networks of transformers: CLIP, SigLIP, DINOv2."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.networks.pretrained import load_pretrained, placed
from ea_data.control.networks.source import Source, fetch_files
from ea_data.curation.reading import Pixels

__all__ = ["FAMILIES", "MODULES", "Embedder", "Family", "download_line"]

Family = Literal["clip", "siglip", "dinov2"]

MODULES: Final = ("torch", "transformers", "safetensors", "huggingface_hub")
FAMILIES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "clip": (("clip",), "CLIPModel"),
    "siglip": (("siglip", "siglip2"), "SiglipModel"),
    "dinov2": (("dinov2",), "Dinov2Model"),
}
"""Of each family the types that a config may name, and the class of transformers."""

_TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json")


class Embedder:
    """A network that is loaded.

    Args:
        family: Which networks are allowed.
        weights: A directory, or OWNER/NAME[@REVISION] of the hub.
        device: Of torch.
        offline: Download nothing.

    Raises:
        ValueError: They cannot be had, or are those of another network; or there is no such device.
        MissingExtraError: A library is not installed.
    """

    def __init__(self, family: Family, weights: str, *, device: str, offline: bool) -> None:
        types, name = FAMILIES[family]
        self._family, self._weights, self._offline = family, weights, offline
        model, self._processor = load_pretrained(
            "weights", weights, types, name, offline=offline, notify=_silent
        )
        self._model = placed(model, device)
        self._tokenizer: Any = None

    def pictures(self, frames: Sequence[Pixels]) -> NDArray[np.float32]:
        """Vectors (N, D) of frames, each (H, W, 3); of DINOv2 the mean over its tokens."""
        torch = load("torch")
        pixels = self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            pixels = pixels.to(self._model.device)
            if self._family == "dinov2":
                found = self._model(pixel_values=pixels).last_hidden_state.mean(dim=1)
            else:
                found = _pooled(self._model.get_image_features(pixel_values=pixels))
        return found.float().cpu().numpy()

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of texts, comparable with those of pictures; not of DINOv2."""
        torch = load("torch")
        if self._tokenizer is None:
            self._tokenizer = self._open_tokenizer()
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        with torch.inference_mode():
            tokens = {name: value.to(self._model.device) for name, value in tokens.items()}
            wanted = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
            return _pooled(self._model.get_text_features(**wanted)).float().cpu().numpy()

    def _open_tokenizer(self) -> Any:
        source = Source.of("weights", self._weights)
        folder = source.path or fetch_files(source, _TOKENIZER, offline=self._offline, notify=_silent)
        options = {"local_files_only": True, "trust_remote_code": False}
        return load("transformers").AutoTokenizer.from_pretrained(folder, **options)


def download_line(stage: str, weights: str, *, offline: bool, texts: bool = False) -> str:
    """What opening a network fetches, for the beginning of a run; "" for what is on disk.

    Args:
        stage: Its name.
        weights: See `Embedder`.
        offline: Download nothing.
        texts: Whether texts are shown to it too.
    """
    source = Source.of(f"{stage}.weights", weights)
    if offline or source.path is not None:
        return ""
    told: list[str] = []
    files = ("config.json", "preprocessor_config.json", "model.safetensors", *(_TOKENIZER if texts else ()))
    fetch_files(source, files, offline=False, notify=told.append)
    return f"{stage}: {told[0]}" if told else ""


def _pooled(found: Any) -> Any:
    """Newer versions of transformers give the whole output, older ones the vector."""
    return getattr(found, "pooler_output", found)


def _silent(_: str) -> None:
    pass
