"""The models and LoRA files that visitors may choose: names, never paths."""

import threading
from pathlib import Path

from ea_app.api.abilities import Abilities, ask
from ea_app.catalog import bundled_loras, bundled_names
from ea_app.model_info import ModelInfo
from ea_app.options import InputError

_PARTS = ("transformer", "vae", "model.json", "model_index.json")


class Shelf:
    """What the operator allows.

    Args:
        models: Folder of model directories, None for the models in the box alone.
        loras: Folder of LoRA files, None for those in the box alone.
    """

    def __init__(self, models: Path | None = None, loras: Path | None = None) -> None:
        self._models = models
        self._loras = loras
        self._known: dict[str, tuple[ModelInfo, Abilities]] = {}
        self._lock = threading.Lock()

    def models(self) -> list[str]:
        """Names of the models, those in the box first."""
        names = list(bundled_names())
        if self._models is not None:
            names += sorted(path.name for path in self._models.iterdir() if _is_model(path))
        return list(dict.fromkeys(names))

    def loras(self) -> list[str]:
        """Names of the LoRA files, those in the box first."""
        return list(self._lora_files())

    def _lora_files(self) -> dict[str, Path]:
        files = bundled_loras()
        if (root := self._loras) is not None:
            found = sorted(path for path in root.rglob("*.safetensors") if path.is_file())
            files |= {path.relative_to(root).as_posix(): path for path in found}
        return files

    def model(self, name: object) -> str:
        """What the option `model` is for a name.

        Raises:
            InputError: It is not among the names.
        """
        if not isinstance(name, str) or name not in self.models():
            raise InputError("model", f"must be one of {', '.join(self.models())}; got {str(name)[:80]!r}")
        if name in bundled_names() or self._models is None:
            return name
        return str(self._models / name)

    def lora(self, name: object) -> Path:
        """The file for a name.

        Raises:
            InputError: It is not among the names.
        """
        files = self._lora_files()
        if not isinstance(name, str) or name not in files:
            raise InputError("lora", f"must be one of {', '.join(files) or 'none'}; got {str(name)[:80]!r}")
        return files[name]

    def name_of(self, model: str) -> str | None:
        """The name of an option's value, None when it is not among the names."""
        return next((name for name in self.models() if self.model(name) == model), None)

    def lora_name(self, path: str) -> str | None:
        """The name of a LoRA file, None when it is not among the names."""
        return next((name for name in self.loras() if str(self.lora(name)) == path), None)

    def describe(self, name: object) -> tuple[ModelInfo, Abilities]:
        """A model's defaults and what it can do; asked once.

        Raises:
            InputError: It is not among the names, or cannot be understood.
        """
        option = self.model(name)
        with self._lock:
            if option not in self._known:
                try:
                    self._known[option] = ask(option)
                except ValueError as error:
                    raise InputError("model", str(error)) from None
            return self._known[option]


def _is_model(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and any((path / part).exists() for part in _PARTS)
