"""Where a model directory has its parts.

EasyAnimate's layout, which is also that of diffusers, has a folder of a fixed name for every part. Open-Sora
published weights in one file or one folder, its autoencoder and T5 in folders of any name; those are told by
what is in them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ea_dit.registry import family_of
from ea_dit.text.t5 import T5_KINDS
from ea_kernels.runtime.files import CONFIG_NAME, read_config, stored_shapes
from ea_kernels.runtime.pickles import is_pickle

TRANSFORMER = "transformer"
VAE = "vae"
TEXT_ENCODER, TOKENIZER = "text_encoder", "tokenizer"
SECOND_TEXT_ENCODER, SECOND_TOKENIZER = "text_encoder_2", "tokenizer_2"
IMAGE_ENCODER = "image_encoder"
SCHEDULER = "scheduler/scheduler_config.json"

_OPEN_SORA_SIGN = "x_embedder.proj.weight"
_MOTION_SIGN = ".attn_temporal."
# What a part of Open-Sora's, which may be anywhere, is told by.
_SIGNS = {
    TRANSFORMER: f"no transformer (weights with {_OPEN_SORA_SIGN}, or a folder with its config.json)",
    VAE: "no autoencoder (config.json with down_block_types)",
    TEXT_ENCODER: "no T5 encoder (config.json with model_type t5)",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Parts of a model directory; what is optional and missing is None.

    Attributes:
        directory: The model directory.
        transformer: Folder, or one weight file.
        vae: Folder.
        text_encoder: Folder.
        tokenizer: Folder; that of the text encoder if it has none of its own.
        second_text_encoder: Folder.
        image_encoder: Folder.
        scheduler: File.
    """

    directory: Path
    transformer: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    second_text_encoder: Path | None = None
    image_encoder: Path | None = None
    scheduler: Path | None = None

    @property
    def second_tokenizer(self) -> Path:
        """Folder of the tokenizer of the second text encoder."""
        return self.directory / SECOND_TOKENIZER


def find_layout(directory: str | Path, *, allow_pickle: bool = False) -> Layout:
    """Finds the parts of a model directory.

    Args:
        directory: It.
        allow_pickle: Look into files such as `.pth` too.

    Raises:
        ValueError: If there is no such directory, or a part that every model has is missing.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"{directory}: no such directory")
    names = (TRANSFORMER, VAE, TEXT_ENCODER)
    transformer, vae, text_encoder = (_part(directory, name, allow_pickle=allow_pickle) for name in names)
    tokenizer = directory / TOKENIZER
    return Layout(
        directory=directory,
        transformer=transformer,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer if tokenizer.is_dir() else text_encoder,
        second_text_encoder=_optional(directory / SECOND_TEXT_ENCODER),
        image_encoder=_optional(directory / IMAGE_ENCODER),
        scheduler=directory / SCHEDULER if (directory / SCHEDULER).is_file() else None,
    )


def find_motion_module(directory: Path, *, allow_pickle: bool = False) -> Path | None:
    """The file of V1's motion modules in a model directory, None if there is none; see `find_layout`.

    Raises:
        ValueError: If there are several.
    """
    loose = _loose_files(directory, allow_pickle=allow_pickle)
    found = sorted(path for path, names in loose if any(_MOTION_SIGN in name for name in names))
    if len(found) > 1:
        names = ", ".join(path.relative_to(directory).as_posix() for path in found)
        raise ValueError(f"{directory} has several files of motion modules, name one of them: {names}")
    return found[0] if found else None


def _optional(folder: Path) -> Path | None:
    return folder if (folder / CONFIG_NAME).is_file() else None


def _part(directory: Path, name: str, *, allow_pickle: bool) -> Path:
    """A part by its name, or else the only one that is told by its content."""
    if (directory / name / CONFIG_NAME).is_file():
        return directory / name
    told = list(_told_by_content(directory, allow_pickle=allow_pickle))
    found = sorted(path for path, kind in told if kind == name)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.relative_to(directory).as_posix() for path in found)
        raise ValueError(f"{directory} has several parts that could be its {name}: {names}")
    hint = ""
    pickles = sorted(filter(is_pickle, directory.iterdir()))
    if name == TRANSFORMER and pickles and not allow_pickle:
        hint = (
            f" ({pickles[0].name} is a pickle; allow_pickle (--allow-pickle) reads it without running code)"
        )
    missing = f"{name}/{CONFIG_NAME} is missing"
    if any(path != directory for path, _ in told) and not any((directory / part).is_dir() for part in _SIGNS):
        missing = f"{_SIGNS[name]} was found in any folder"  # the parts of Open-Sora have no fixed names
    raise ValueError(f"{directory} is no model directory: {missing}{hint}")


def _told_by_content(directory: Path, *, allow_pickle: bool) -> Iterator[tuple[Path, str]]:
    """Folders with a config and files without one, with the name of the part that each is."""
    for config in sorted(directory.rglob(CONFIG_NAME)):
        if config.parent == directory / SECOND_TEXT_ENCODER:
            continue  # it never stands in for the first
        kind = _kind_of_folder(config.parent)
        if kind is not None:
            yield config.parent, kind
    for file, names in _loose_files(directory, allow_pickle=allow_pickle):
        if _OPEN_SORA_SIGN in names:
            yield file, TRANSFORMER


def _kind_of_folder(folder: Path) -> str | None:
    values = read_config(folder)
    if "down_block_types" in values:
        return VAE
    if values.get("model_type") in T5_KINDS:
        return TEXT_ENCODER
    try:
        family_of(values)
    except ValueError:
        return None
    return TRANSFORMER


def _loose_files(directory: Path, *, allow_pickle: bool) -> Iterator[tuple[Path, Collection[str]]]:
    """Weight files that no config describes, with the names of their tensors."""
    for path in sorted(directory.rglob("*")):
        weights = path.suffix == ".safetensors" or (allow_pickle and is_pickle(path))
        if weights and path.is_file() and not (path.parent / CONFIG_NAME).is_file():
            yield path, stored_shapes(path, allow_pickle=allow_pickle)
