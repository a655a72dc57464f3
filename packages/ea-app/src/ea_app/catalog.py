"""Model names to directories, and what a model directory says about itself.

A model directory holds `transformer/`, `vae/`, `text_encoder/` and `scheduler/` in the released layouts, or
Open-Sora's files, which have names of their own. Ours also have `model.json`, whose fields are those of
`ModelInfo`, and `model_card.md`. A directory without `model.json` gets the defaults of its generation, see
`ea_dit.pipelines.generations`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Self

DEFAULT = "default"
"""Name of the model in the box."""

PARTS = ("transformer", "vae", "text_encoder")
"""Folders that every model directory of EasyAnimate or diffusers has."""

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NOT_FETCHED = tuple(
    f"*.{ending}"
    for ending in (
        "bin",
        "pt",
        "pth",
        "ckpt",
        "msgpack",
        "h5",
        "onnx",
        "gguf",
        "mp4",
        "gif",
        "png",
        "jpg",
        "zip",
    )
)
_SAMPLES = 64
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model is good at: the content of `model.json`.

    Attributes:
        name: For lists and records.
        description: One sentence.
        native_width: Pixels; the default width.
        native_height: Pixels; the default height.
        native_frames: The default number of frames.
        min_side: Smallest width or height, pixels.
        max_side: Largest width or height, pixels.
        size_multiple: Width and height are multiples of this; 1 where the model makes any size.
        max_frames: Largest number of frames.
        steps: Default number of denoising steps.
        guidance: Default guidance scale.
        strength: Default strength for a video without a mask, above 0 and below 1.
        fps: Default frames per second of files.
        max_prompt_bytes: Longest prompt in UTF-8 bytes; None when the text encoder has no hard limit.
        languages: Languages of prompts.
    """

    name: str
    description: str = ""
    native_width: int = 672
    native_height: int = 384
    native_frames: int = 49
    min_side: int = 16
    max_side: int = 4096
    size_multiple: int = 16
    max_frames: int = 1025
    steps: int = 50
    guidance: float = 6.0
    strength: float = 0.7
    fps: int = 8
    max_prompt_bytes: int | None = None
    languages: tuple[str, ...] = ("en", "zh")

    def __post_init__(self) -> None:
        """Refuse values of the wrong kind, which would only show much later."""
        whole = (
            "native_width",
            "native_height",
            "native_frames",
            "min_side",
            "max_side",
            "size_multiple",
            "max_frames",
            "steps",
            "fps",
        )
        for name in whole:
            _check_whole(name, getattr(self, name))
        if self.max_prompt_bytes is not None:
            _check_whole("max_prompt_bytes", self.max_prompt_bytes)
        if not 0 < float(self.strength) < 1:
            raise ValueError(f"strength must be above 0 and below 1, got {self.strength}")
        if not 0 <= float(self.guidance) <= 100:
            raise ValueError(f"guidance must be from 0 to 100, got {self.guidance}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the content of `model.json`; unknown keys are refused.

        Raises:
            ValueError: A key is unknown or missing, or a value is of the wrong kind.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "name" not in values:
            raise ValueError("name is missing")
        return cls(**{**values, "languages": tuple(values.get("languages", ("en", "zh")))})

    def to_dict(self) -> dict[str, Any]:
        """The content of `model.json`."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "languages": list(self.languages)
        }


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched from the hub.

    Attributes:
        name: `owner/name`.
        directory: Where it is.
        commit: The version, if it is known.
    """

    name: str
    directory: Path
    commit: str | None


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is on this machine.

    Attributes:
        name: As the user gave it.
        directory: Where its parts are.
        info: What it says about itself.
    """

    name: str
    directory: Path
    info: ModelInfo

    def files(self) -> list[Path]:
        """Every file that decides what the model computes, in a fixed order."""
        parts = (path for part in self.directory.iterdir() if part.is_dir() for path in part.rglob("*"))
        # Open-Sora 1.0 is one loose file.
        files = (path for path in (*self.directory.glob("*.safetensors"), *parts) if path.is_file())
        return sorted(path for path in files if not path.name.startswith("."))

    def size(self) -> int:
        """Bytes of all its files."""
        return sum(path.stat().st_size for path in self.files())

    def fingerprint(self) -> str:
        """A hash of names and contents of its files (xxh3, 32 hex digits).

        Files above 64 MiB are sampled at 64 evenly spaced places of 1 MiB, so that it takes a blink for any
        model.
        """
        return fingerprint_of(self.directory, self.files())


def fingerprint_of(directory: Path, files: Iterable[Path]) -> str:
    """A hash of names and contents of files in a directory, see `Model.fingerprint`."""
    import xxhash  # noqa: PLC0415  (only records need it)

    digest = xxhash.xxh3_128()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(directory).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            for start in _sample_starts(size):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _sample_starts(size: int) -> list[int]:
    if size <= _SAMPLES * _BLOCK:
        return list(range(0, size, _BLOCK))
    return [index * (size - _BLOCK) // (_SAMPLES - 1) for index in range(_SAMPLES)]


def find(name: str, *, download: bool = True, motion_module: str | Path | None = None) -> Model:
    """Find a model by what the user calls it.

    Args:
        name: A bundled model ("default"), a directory, or an `owner/name` of the Hugging Face hub, which is
            taken from the local cache or downloaded; `owner/name@revision` stays with a version.
        download: Whether it may be downloaded.
        motion_module: File of V1's motion modules that makes a video model of an image model.

    Returns:
        The model; its parts are there, its weights are not read yet.

    Raises:
        ValueError: No such model, or a directory that is none, saying what is allowed.
    """
    if name in bundled_names():
        return _open(name, _bundled_root() / name)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _open(name, path, motion_module)
    if name and path.exists():
        raise ValueError(
            f"{name} is a file; give the directory that holds {', '.join(part + '/' for part in PARTS)}"
        )
    if found := _HUB_ID.fullmatch(name):
        return _open(name, _from_hub(found[1], revision=found[2], offline=not download), motion_module)
    if name == DEFAULT:
        raise ValueError("'default' is missing in this installation; give a model directory or a hub id")
    known = ", ".join(bundled_names()) or "none"
    raise ValueError(
        f"unknown model {name!r}; give a bundled one ({known}), a directory, or a hub id owner/name"
    )


def bundled_names() -> tuple[str, ...]:
    """Names of the models in the box."""
    root = _bundled_root()
    if not root.is_dir():
        return ()
    return tuple(sorted(path.name for path in root.iterdir() if (path / "model.json").is_file()))


def bundled() -> Iterator[Model]:
    """The models in the box."""
    for name in bundled_names():
        yield find(name)


def _bundled_root() -> Path:
    # Wheels are installed unpacked, so a resource of ours is a path on disk.
    return Path(str(resources.files("ea_app") / "assets"))


def fetch(
    name: str, *, revision: str | None = None, directory: str | None = None, offline: bool = False
) -> Fetched:
    """Fetch a repository of the Hugging Face hub: safetensors, configs and tokenizers, no pickles.

    What is there already is not fetched again, and what was interrupted goes on where it stopped. Without a
    connection, or with HF_HUB_OFFLINE=1, the local copy is used.

    Args:
        name: `owner/name` or `owner/name@revision`.
        revision: Commit, tag or branch; None for the one in the name, or else the newest.
        directory: Where to put the files; None for the cache of the hub's library.
        offline: Do not ask the hub.

    Raises:
        ValueError: Not such a name, or it can neither be fetched nor found.
    """
    found = _HUB_ID.fullmatch(name)
    if not found:
        raise ValueError(f"must be owner/name of the hub, got {name!r}")
    if revision is not None and found[2] is not None and revision != found[2]:
        raise ValueError(f"{name!r} names a revision already, got {revision!r} as well")
    path = _from_hub(found[1], revision=revision or found[2], directory=directory, offline=offline)
    # The cache has a folder for every commit.
    commit = path.name if _COMMIT.fullmatch(path.name) else None
    return Fetched(name=found[1], directory=path, commit=commit)


def _open(name: str, directory: Path, motion_module: str | Path | None = None) -> Model:
    missing = [part for part in PARTS if not (directory / part).is_dir()]
    # Open-Sora's files have names of their own: loading tells them by what is in them.
    if "transformer" in missing and any(
        path for pattern in ("*.safetensors", "*/*.safetensors") for path in directory.glob(pattern)
    ):
        missing = []
    if missing:
        raise ValueError(f"{directory} is no model directory: it has no {missing[0]}/")
    card = directory / "model.json"
    if not card.is_file():
        return Model(name=name, directory=directory, info=_released_info(directory, motion_module))
    try:
        info = ModelInfo.from_dict(json.loads(card.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{card} is broken: {error}") from None
    return Model(name=name, directory=directory, info=info)


def _released_info(directory: Path, motion_module: str | Path | None) -> ModelInfo:
    """What a released directory is good at: what its generation was released for."""
    from ea_dit.pipelines.generations import generation_of  # noqa: PLC0415  (seconds to import)
    from ea_dit.pipelines.outline import read_outline  # noqa: PLC0415

    outline = read_outline(directory, motion_module=motion_module)
    made = generation_of(outline.config)
    return ModelInfo(
        name=directory.name,
        description=f"{made.name}.",
        native_width=made.width,
        native_height=made.height,
        native_frames=made.frames,
        size_multiple=outline.traits.size_multiple,
        max_frames=ModelInfo.max_frames if outline.traits.moves else 1,
        steps=made.steps,
        guidance=made.guidance,
        fps=made.fps,
        languages=made.languages,
    )


def _from_hub(name: str, *, revision: str | None, offline: bool, directory: str | None = None) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (slow to import, rarely needed)
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        path = snapshot_download(
            name,
            revision=revision,
            local_dir=directory,
            ignore_patterns=list(_NOT_FETCHED),
            local_files_only=offline,
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = "is not downloaded unasked" if offline else f"cannot be downloaded ({type(error).__name__})"
        what = name if revision is None else f"{name}@{revision}"
        raise ValueError(f"{what!r} is neither a directory nor in the local cache, and it {why}") from None
    return Path(path)
