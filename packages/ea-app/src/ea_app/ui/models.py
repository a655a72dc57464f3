"""The models and LoRA files that visitors may choose: names, never paths."""

import threading
from pathlib import Path

from ea_app.api.abilities import Abilities, ask, ask_all
from ea_app.catalog import Model, bundled_loras, bundled_names, find
from ea_app.model_info import ModelInfo
from ea_app.options import InputError

WEIGHTS = ("motion_module", "transformer_weights")
"""Kinds of weights that are chosen beside a model, by the keys of their options."""
_PARTS = ("transformer", "vae", "model.json", "model_index.json")


class Shelf:
    """What the operator allows.

    Args:
        models: Folder of model directories, None for the models in the box alone.
        loras: Folder of LoRA files, None for those in the box alone.
        motion_modules: Folder of V1's motion modules, None for none.
        checkpoints: Folder of personalised checkpoints, None for none.
    """

    def __init__(
        self,
        models: Path | None = None,
        loras: Path | None = None,
        *,
        motion_modules: Path | None = None,
        checkpoints: Path | None = None,
    ) -> None:
        self._models = models
        self._loras = loras
        self._weights = {"motion_module": motion_modules, "transformer_weights": checkpoints}
        self._known: dict[str, tuple[ModelInfo, Abilities] | str] = {}
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
        return bundled_loras() | _files_of(self._loras)

    def weights(self, kind: str) -> list[str]:
        """Names of the files of a kind of `WEIGHTS`."""
        return list(_files_of(self._weights[kind]))

    def weight(self, kind: str, name: object) -> Path:
        """The file of a kind for a name.

        Raises:
            InputError: It is not among the names.
        """
        files = _files_of(self._weights[kind])
        if not isinstance(name, str) or name not in files:
            raise InputError(
                kind.replace("_", "-"),
                f"must be one of {', '.join(files) or 'none'}; got {str(name)[:80]!r}",
            )
        return files[name]

    def weight_name(self, kind: str, path: str) -> str | None:
        """The name of such a file, None when it is not among the names."""
        files = _files_of(self._weights[kind])
        return next((name for name, file in files.items() if str(file) == path), None)

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

    def find(self, name: object, motion_module: object = None) -> Model:
        """The model for a name, without torch in this process.

        Args:
            name: Of the model.
            motion_module: As for `describe`.

        Raises:
            InputError: It is not among the names, or cannot be understood.
        """
        option = self.model(name)
        try:
            if option in bundled_names() or (Path(option) / "model.json").is_file():
                return find(option, download=False)
        except ValueError as error:
            raise InputError("model", str(error)) from None
        info, _ = self.describe(name, motion_module)  # told by what it is, which takes torch
        return Model(name=str(name), directory=Path(option), info=info)

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

    def describe(self, name: object, motion_module: object = None) -> tuple[ModelInfo, Abilities]:
        """A model's defaults and what it can do; asked once.

        Args:
            name: Of the model.
            motion_module: Name of the file of motion modules that completes it; of no account for models that
                take none.

        Raises:
            InputError: It is not among the names, or cannot be understood.
        """
        option = self.model(name)
        alone = self._ask(option)
        if not motion_module or not alone[1].motion_modules:
            return alone
        return self._ask(option, str(self.weight("motion_module", motion_module)))

    def _ask(self, *asked: str) -> tuple[ModelInfo, Abilities]:
        option = "\n".join(asked)
        with self._lock:
            found = self._known.get(option)
            if found is None or isinstance(found, str):
                try:
                    self._known[option] = found = ask(*asked)
                except ValueError as error:
                    field = "model" if len(asked) == 1 else "motion-module"
                    raise InputError(field, str(error)) from None
            return found

    def families(self) -> dict[str, tuple[str, str]]:
        """Generation and variant of every model by its name; those that are not understood are left out."""
        options = {name: self.model(name) for name in self.models()}
        with self._lock:
            if unknown := [option for option in options.values() if option not in self._known]:
                self._known |= ask_all(unknown)
            found = {name: self._known[option] for name, option in options.items()}
        return {
            name: (told[1].generation, told[1].variant)
            for name, told in found.items()
            if not isinstance(told, str)
        }


def _files_of(root: Path | None) -> dict[str, Path]:
    if root is None:
        return {}
    found = sorted(path for path in root.rglob("*.safetensors") if path.is_file())
    return {path.relative_to(root).as_posix(): path for path in found}


def _is_model(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and any((path / part).exists() for part in _PARTS)
