"""Model names to directories, and the models that these are.

A model directory holds `transformer/`, `vae/`, `text_encoder/` and `scheduler/` in the released layouts, or
Open-Sora's files, which have names of their own. Ours also have `model.json`, whose fields are those of
`ModelInfo`, and `model_card.md`. A directory without `model.json` gets the defaults of its generation, see
`ea_dit.pipelines.generations`. A directory that holds only what differs from a model beside it is put
together first, see `ea_app.derived`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ea_app.derived import is_derived, whole
from ea_app.fingerprint import fingerprint_of
from ea_app.hub import HUB_ID, PICKLES, snapshot
from ea_app.model_info import ModelInfo

if TYPE_CHECKING:
    from ea_dit.pipelines import Outline

DEFAULT = "default"
"""Name of the model in the box."""

PARTS = ("transformer", "vae", "text_encoder")
"""Folders that every model directory of EasyAnimate or diffusers has."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that is on this machine.

    Attributes:
        name: As the user gave it.
        directory: Where its parts are.
        info: What it says about itself.
        allow_pickle: Whether its weights may be read from pickles, which never runs code in them.
    """

    name: str
    directory: Path
    info: ModelInfo
    allow_pickle: bool = False

    def files(self) -> list[Path]:
        """Every file that decides what the model computes, in a fixed order."""
        parts = (path for part in self.directory.iterdir() if part.is_dir() for path in part.rglob("*"))
        # Open-Sora 1.0 is one loose file.
        endings = (".safetensors", *(PICKLES if self.allow_pickle else ()))
        loose = (path for path in self.directory.iterdir() if path.suffix in endings)
        files = (path for path in (*loose, *parts) if path.is_file())
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


def find(
    name: str,
    *,
    download: bool = True,
    motion_module: str | Path | None = None,
    allow_pickle: bool = False,
) -> Model:
    """Find a model by what the user calls it.

    Args:
        name: A bundled model ("default"), a directory, or an `owner/name` of the Hugging Face hub, which is
            taken from the local cache or downloaded; `owner/name@revision` stays with a version.
        download: Whether it may be downloaded.
        motion_module: File of V1's motion modules that makes a video model of an image model.
        allow_pickle: Accept weights in pickles (`.bin`, `.pt`, `.pth`, `.ckpt`), read without running code.

    Returns:
        The model; its parts are there, its weights are not read yet.

    Raises:
        ValueError: No such model, or a directory that is none, saying what is allowed.
    """
    if name in bundled_names():
        return _open(name, _bundled_root() / name)
    path = Path(name).expanduser()
    try:
        is_directory = bool(name) and path.is_dir()
    except OSError as error:
        raise ValueError(f"{name[:40]!r}...: {error.strerror}; give a directory or a hub id") from None
    if is_directory:
        return _open(name, path, motion_module, allow_pickle=allow_pickle)
    if name and path.exists():
        raise ValueError(
            f"{name} is a file; give the directory that holds {', '.join(part + '/' for part in PARTS)}"
        )
    if found := HUB_ID.fullmatch(name):
        path = snapshot(found[1], revision=found[2], offline=not download, allow_pickle=allow_pickle)
        return _open(name, path, motion_module, allow_pickle=allow_pickle)
    if name == DEFAULT:
        raise ValueError("'default' is missing in this installation; give a model directory or a hub id")
    known = ", ".join(bundled_names()) or "none"
    raise ValueError(
        f"unknown model {name!r}; give a bundled one ({known}), a directory, or a hub id owner/name"
    )


def bundled_names() -> tuple[str, ...]:
    """Names of the models in the box, those that share parts with another one too."""
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


def _open(
    name: str, directory: Path, motion_module: str | Path | None = None, *, allow_pickle: bool = False
) -> Model:
    if is_derived(directory):
        directory = whole(directory)
    missing = [part for part in PARTS if not (directory / part).is_dir()]
    # Open-Sora's files have names of their own: loading tells them by what is in them.
    if "transformer" in missing and _has_weights(directory, allow_pickle=allow_pickle):
        missing = []
    if missing:
        raise ValueError(f"{directory} is no model directory: it has no {missing[0]}/")
    card = directory / "model.json"
    if not card.is_file():
        info = _released_info(directory, motion_module, allow_pickle=allow_pickle)
        return Model(name=name, directory=directory, info=info, allow_pickle=allow_pickle)
    try:
        info = ModelInfo.from_dict(json.loads(card.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{card} is broken: {error}") from None
    return Model(name=name, directory=directory, info=info, allow_pickle=allow_pickle)


def _has_weights(directory: Path, *, allow_pickle: bool) -> bool:
    """Whether there are weights in a directory or the folders in it."""
    files = sorted(path for pattern in ("*", "*/*") for path in directory.glob(pattern))
    if any(path.suffix == ".safetensors" for path in files):
        return True
    pickles = [path for path in files if path.suffix in PICKLES]
    if pickles and not allow_pickle:
        raise ValueError(
            f"{pickles[0]}: is a pickle, and pickles can run code; allow_pickle (--allow-pickle) reads it "
            "without running any, or convert it to safetensors"
        )
    return bool(pickles)


def _loop_overlap(outline: "Outline") -> int:
    """As many frames as Open-Sora takes over, or a few more where latents can only be cut there."""
    geometry = outline.geometry
    size = geometry.round_frames_up(4 * geometry.slice_frames)
    least = ModelInfo.loop_overlap
    return next((length for length in range(least, size) if geometry.shares_tail(size, length)), least)


def _released_info(directory: Path, motion_module: str | Path | None, *, allow_pickle: bool) -> ModelInfo:
    """What a released directory is good at: what its generation was released for."""
    from ea_dit.pipelines.generations import generation_of  # noqa: PLC0415  (seconds to import)
    from ea_dit.pipelines.outline import read_outline  # noqa: PLC0415

    # Whether the weights are whole is the business of those who run the model.
    outline = read_outline(directory, motion_module=motion_module, allow_pickle=allow_pickle, weights=False)
    made = generation_of(outline.config)
    return ModelInfo(
        name=directory.name,
        description=f"{made.name}.",
        native_width=made.width,
        native_height=made.height,
        native_frames=made.frames,
        min_side=max(ModelInfo.min_side, outline.traits.size_multiple),
        size_multiple=outline.traits.size_multiple,
        max_frames=ModelInfo.max_frames if outline.traits.moves else 1,
        loop_overlap=_loop_overlap(outline),
        steps=made.steps,
        guidance=made.guidance,
        fps=made.fps,
        languages=made.languages,
    )
