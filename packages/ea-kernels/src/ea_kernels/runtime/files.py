"""Files of a checkpoint directory: finding, reading headers, writing without a half-written state."""

import glob
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ea_kernels.runtime.pickles import is_pickle, read_pickle

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: If the file is missing, unreadable or not a JSON object.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise ValueError(f"{path}: not valid JSON (nested too deeply)") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold a JSON object, got {type(content).__name__}")  # noqa: TRY004
    return content


def read_config(directory: str | Path) -> dict[str, Any]:
    """Read the config.json of a checkpoint directory; ValueError as in `read_json`."""
    return read_json(Path(directory) / CONFIG_NAME)


def weight_files(path: str | Path, *, allow_pickle: bool = False) -> list[Path]:
    """The files that hold the weights of a checkpoint.

    Args:
        path: A weight file, or a directory with `diffusion_pytorch_model` or `model` as one safetensors file
            or as shards with an index, or with a single other safetensors file.
        allow_pickle: Where there are no safetensors, accept `.bin`, `.pt`, `.pth` and `.ckpt` files of the
            same names (and `pytorch_model`), or a single other one.

    Returns:
        One or more existing files.

    Raises:
        ValueError: If there is none, or only a pickle that is not allowed.
    """
    path = Path(path)
    if path.is_file():
        return _allowed([path], allow_pickle=allow_pickle)
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or directory")
    for stem in _STEMS:
        if (single := path / f"{stem}.safetensors").is_file():
            return [single]
        if (index := path / f"{stem}.safetensors.index.json").is_file():
            return _shards(index)
    others = sorted(path.glob("*.safetensors"))
    if len(others) == 1:
        return others
    if others:
        raise ValueError(f"{path}: several safetensors files and no index; name one of them")
    if any(is_pickle(file) for file in path.iterdir()):
        return _pickle_files(path, allow_pickle=allow_pickle)
    raise ValueError(f"{path}: no weights; expected {WEIGHTS_NAME}, model.safetensors or an index of shards")


def _pickle_files(directory: Path, *, allow_pickle: bool) -> list[Path]:
    """The pickles of a directory that has no safetensors."""
    pickles = sorted(file for file in directory.iterdir() if is_pickle(file))
    for stem in _STEMS:
        if named := [file for file in pickles if file.stem == stem]:
            return _allowed(named[:1], allow_pickle=allow_pickle)
        if (index := directory / f"{stem}.bin.index.json").is_file():
            return _allowed(_shards(index), allow_pickle=allow_pickle)
    if len(pickles) > 1 and allow_pickle:
        names = ", ".join(file.name for file in pickles)
        raise ValueError(f"{directory}: several pickles and no index; name one of {names}")
    return _allowed(pickles[:1], allow_pickle=allow_pickle)


def _allowed(files: list[Path], *, allow_pickle: bool) -> list[Path]:
    for file in files:
        if is_pickle(file) and not allow_pickle:
            raise ValueError(
                f"{file}: is a pickle, and pickles can run code; allow_pickle (--allow-pickle) reads it "
                "without running any, or convert it to safetensors"
            )
    return files


def _shards(index: Path) -> list[Path]:
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ValueError(f"{index}: has no weight_map")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        # An index must not point out of its directory.
        if name != PurePath(name).name or "\\" in name:
            raise ValueError(f"{index}: weight_map must hold names of files beside it, got the path {name!r}")
    shards = [index.parent / name for name in names]
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"{index}: shard {shard.name!r} is missing")
    return shards


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file for reading on the CPU; ValueError if it is broken."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None


def stored_shapes(path: str | Path, *, allow_pickle: bool = False) -> dict[str, tuple[int, ...]]:
    """Released names and shapes of all tensors of a checkpoint, from the headers only.

    Pickles have none, but those of today's format are not read through either; arguments as in
    `weight_files`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for weights in weight_files(path, allow_pickle=allow_pickle):
        if is_pickle(weights):
            shapes |= {name: tuple(tensor.shape) for name, tensor in read_pickle(weights).items()}
            continue
        with open_safetensors(weights) as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The temporary file is removed on an error: a reader sees the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A draft folder beside `path` that becomes `path` when the block ends without an error.

    The draft is removed on an error: there is a whole folder or none. So are drafts of processes that were
    killed.

    Raises:
        ValueError: If there is something at `path` already, other than an empty folder.
    """
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise ValueError(f"{path} exists already; name a new directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    draft.mkdir()
    try:
        yield draft
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_orphans(path: Path) -> None:
    """Removes drafts of `path` whose processes are gone."""
    for found in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):  # passes over what it may not read
        named = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.partial", found.name)
        if named and found.is_dir() and not found.is_symlink() and not _runs(int(named[1])):
            shutil.rmtree(found, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether there is a process of this number, as far as can be told."""
    if process == os.getpid():
        return False  # a number that was given again: this process has no draft of that name yet
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors atomically; they are brought to the CPU and made contiguous, shared ones are copied."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in storages:
            plain = plain.clone()
        storages.add(plain.untyped_storage().data_ptr())
        tensors[name] = plain
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", **metadata})
