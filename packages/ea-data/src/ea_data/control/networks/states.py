"""Reading the weights of a network that has a table of its tensors: nothing missing, nothing left over.

Released files are pickles. Of those only tensors are read, never anything that would be run, and only when
the caller allows it.
"""

import inspect
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ea_data.control.extras import load
from ea_data.control.networks.source import Notify, Source, fetch_files

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PICKLES", "Table", "WeightOptions", "load_state"]

Table = Mapping[str, tuple[int, ...]]
"""Shapes by the names that released files have."""

PICKLES: Final = (".bin", ".ckpt", ".pt", ".pth")
"""Endings of files that need permission."""

# What bytes of a damaged file make of the readers.
_DAMAGE: Final = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    ArithmeticError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


class WeightOptions(Protocol):
    """Where weights are, and how they are read."""

    @property
    def weights(self) -> str:
        """A file or directory, or OWNER/NAME[@REVISION] of the hub."""
        ...

    @property
    def device(self) -> str:
        """Where they go."""
        ...

    @property
    def offline(self) -> bool:
        """Download nothing."""
        ...

    @property
    def allow_pickle(self) -> bool:
        """Read tensors in a pickle too."""
        ...


def load_state(options: WeightOptions, table: Table, released: str, notify: Notify) -> dict[str, "Tensor"]:
    """The weights of a network, as float32 on the device that is wanted.

    Args:
        options: Say where they are.
        table: What a file has to hold.
        released: Name of the file in the released repository.
        notify: See `fetch_files`.

    Raises:
        ValueError: They cannot be had, are in a pickle without permission, are damaged, or are those of
            another network; or there is no such device.
    """
    torch = load("torch")
    try:
        device = torch.device(options.device)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device is {options.device!r}, which cannot be used: {reason}") from None
    path = _find(options, released, notify)
    state = _read(path)
    _compare(path, state, table)
    return {name: state[name].to(device, torch.float32) for name in table}


def _find(options: WeightOptions, released: str, notify: Notify) -> Path:
    source = Source.of("weights", options.weights)
    if source.path is None:
        _check_allowed(f"{released} of {source.repository}", released, allow_pickle=options.allow_pickle)
        return fetch_files(source, [released], offline=options.offline, notify=notify) / released
    path = source.path
    if path.is_dir():
        plain = sorted(path.glob("*.safetensors"))
        if len(plain) > 1:
            names = ", ".join(file.name for file in plain)
            raise ValueError(f"weights: {path} has several safetensors files ({names}); name one of them")
        path = plain[0] if plain else path / released
        if not path.exists():
            raise ValueError(f"weights: {source.path} has neither a safetensors file nor {released}")
    _check_allowed(str(path), path.name, allow_pickle=options.allow_pickle)
    return path


def _check_allowed(what: str, name: str, *, allow_pickle: bool) -> None:
    if name.endswith(PICKLES) and not allow_pickle:
        raise ValueError(
            f"weights: {what} is a pickle; --allow-pickle (allow_pickle=True) reads the tensors in it"
        )
    if not name.endswith((*PICKLES, ".safetensors")):
        raise ValueError(f"weights: {what} is no weight file; allowed: .safetensors, {', '.join(PICKLES)}")


def _read(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a file, by their names without what a data-parallel training puts in front."""
    torch = load("torch")
    if path.suffix == ".safetensors":
        read = load("safetensors.torch")
        try:
            return read.load_file(path)
        except (*_DAMAGE, load("safetensors").SafetensorError) as error:
            raise ValueError(f"{path}: damaged or no safetensors file ({type(error).__name__})") from None
    read = load("huggingface_hub").load_state_dict_from_file
    # Newer versions of the library read a pickle only when told that it may be one.
    told = {"safe": False} if "safe" in inspect.signature(read).parameters else {}
    try:
        with warnings.catch_warnings(action="ignore"):  # what it doubts is either read or refused
            content: Any = read(path, map_location="cpu", weights_only=True, **told)
    except _DAMAGE as error:
        what = "it names code to be run" if "GLOBAL " in str(error) else "it is damaged or cut off"
        raise ValueError(f"{path}: not a plain dictionary of tensors: {what}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ValueError(f"{path}: not a plain dictionary of tensors")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _compare(path: Path, state: Mapping[str, "Tensor"], table: Table) -> None:
    # A counter of training steps, which some files have and nothing reads.
    names = {name for name in state if not name.endswith("num_batches_tracked")}
    for problem, found in (("misses", sorted(table.keys() - names)), ("has", sorted(names - table.keys()))):
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise ValueError(f"{path}: other weights than this network's: {problem} {found[0]}{more}")
    for name, shape in table.items():
        if tuple(state[name].shape) != shape:
            raise ValueError(f"{path}: {name} has shape {tuple(state[name].shape)}; expected: {shape}")
