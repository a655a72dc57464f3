"""Models that hold only what differs from another one beside them.

`model.json` of such a model names its base: `"base": "default"`, a folder beside its own. Folders that are
missing (`vae/`, `text_encoder/`) are those of the base, and `transformer/changes.safetensors` has the tensors
that replace the base's. The whole model is put together once, in the cache folder of the user, and is an
ordinary model directory there.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from ea_app.fingerprint import fingerprint_of

CHANGES: Final = "changes.safetensors"
_WEIGHTS: Final = "diffusion_pytorch_model.safetensors"
_TRANSFORMER: Final = "transformer"


def cache_folder() -> Path:
    """Where whole models are put: the platform's place for what can be made again. It is not made."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "ea-app" / "models"
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return local / "ea-app" / "cache" / "models"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else home / ".cache") / "ea-app" / "models"


def is_derived(directory: Path) -> bool:
    """Whether a directory's `model.json` names a base; a broken one names none."""
    return "base" in _card(directory)


def whole(directory: Path) -> Path:
    """The directory of the whole model, put together if it is not there yet.

    Args:
        directory: Of a model with a base.

    Raises:
        ValueError: There is no such base, its tensors are others, or the cache folder cannot be written.
    """
    base = _base_of(directory)
    parts = [*_files(base), *_files(directory)]
    target = cache_folder() / f"{directory.name}-{fingerprint_of(directory.parent, parts)[:16]}"
    if not target.is_dir():
        try:
            _put_together(directory, base, target)
        except OSError as error:
            raise ValueError(
                f"{directory.name}: cannot be put together in {target.parent}: {error.strerror or error}"
            ) from None
    return target


def _base_of(directory: Path) -> Path:
    name = _card(directory)["base"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ValueError(
            f"{directory / 'model.json'}: base must be the name of a folder beside it, got {name!r}"
        )
    base = directory.parent / name
    if not (base / _TRANSFORMER / _WEIGHTS).is_file() or is_derived(base):
        raise ValueError(
            f"{directory / 'model.json'}: base {name!r} is no whole model beside {directory.name}"
        )
    return base


def _card(directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _files(directory: Path) -> list[Path]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(path for path in found if path.suffix in (".json", ".safetensors"))


def _put_together(directory: Path, base: Path, target: Path) -> None:
    from ea_kernels.runtime.files import new_directory  # noqa: PLC0415  (imports torch)

    try:
        with new_directory(target) as draft:
            for part in (path for path in base.iterdir() if path.is_dir()):
                source = directory / part.name
                if part.name == _TRANSFORMER:
                    _merge(source, part, draft / _TRANSFORMER)
                else:
                    shutil.copytree(source if source.is_dir() else part, draft / part.name)
            for path in (path for path in directory.iterdir() if path.is_file()):
                shutil.copyfile(path, draft / path.name)
            card = {name: value for name, value in _card(directory).items() if name != "base"}
            (draft / "model.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except (ValueError, OSError):
        if not target.is_dir():  # otherwise another process was faster
            raise


def _merge(changes: Path, base: Path, target: Path) -> None:
    from safetensors import SafetensorError  # noqa: PLC0415  (only a first use needs it)
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415

    try:
        tensors, new = load_file(base / _WEIGHTS), load_file(changes / CHANGES)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{changes / CHANGES} cannot be read: {error}") from None
    if unknown := sorted(new.keys() - tensors.keys()):
        raise ValueError(f"{changes / CHANGES}: the base has no tensor {unknown[0]!r}")
    target.mkdir()
    save_file({**tensors, **new}, target / _WEIGHTS, metadata={"format": "pt"})
    shutil.copyfile(changes / "config.json", target / "config.json")
