"""Strict loading and saving of checkpoints in released layouts.

A model is built without memory, its weights are streamed from safetensors into our names, and every name and
shape is checked before the first tensor is read.
"""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ea_kernels.runtime.completeness import check_shapes
from ea_kernels.runtime.files import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    open_safetensors,
    read_config,
    read_json,
    stored_shapes,
    weight_files,
    write_json,
    write_safetensors,
)
from ea_kernels.runtime.key_map import Drop, KeyMap, Rename, Shape, Split
from ea_kernels.runtime.pickles import is_pickle, read_pickle

__all__ = [
    "Drop",
    "KeyMap",
    "Rename",
    "Split",
    "WithoutValues",
    "build_on_meta",
    "check_shapes",
    "check_stored",
    "load_into",
    "load_weights",
    "read_config",
    "read_json",
    "save_checkpoint",
    "state_shapes",
    "stored_shapes",
    "weight_files",
]

M = TypeVar("M", bound=nn.Module)
_IDENTITY = KeyMap()


def load_weights(
    path: str | Path,
    *,
    key_map: KeyMap = _IDENTITY,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    allow_pickle: bool = False,
    keep_float32: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint under our names.

    Args:
        path: A weight file or a checkpoint directory, see `weight_files`.
        key_map: Released names to ours.
        dtype: Type of floating-point tensors; None keeps the stored one.
        device: Where the tensors go.
        allow_pickle: Accept `.bin`, `.pt`, `.pth` and `.ckpt` files, read with
            `torch.load(weights_only=True)`.
        keep_float32: Patterns (`*` matches anything) of our names that stay float32 whatever `dtype` says.

    Returns:
        Tensors by our name.

    Raises:
        ValueError: If a file is missing, broken or a pickle that is not allowed.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(path, allow_pickle=allow_pickle):
        for released, tensor in _tensors(file):
            for name, part in key_map.parts(released, tensor).items():
                state[name] = part.to(device=device, dtype=_target_dtype(name, part, dtype, keep_float32))
    return state


class WithoutValues(TorchFunctionMode):
    """Leaves out the initialisation of weights that are about to be replaced.

    On meta it computes nothing, yet torch imports its compiler for it, which takes seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        initialises = getattr(func, "__module__", None) == "torch.nn.init"
        if initialises or func in (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def build_on_meta(build: Callable[[], M]) -> M:
    """Build a model that takes no memory and has no values."""
    with torch.device("meta"), WithoutValues():
        return build()


def state_shapes(model: nn.Module) -> dict[str, Shape]:
    """Our names and shapes of everything that a model's checkpoints hold."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_stored(
    build: Callable[[], M],
    path: str | Path,
    *,
    key_map: KeyMap = _IDENTITY,
    allow_pickle: bool = False,
    also: tuple[str | Path, ...] = (),
) -> M:
    """Refuse a checkpoint that is not exactly that of a model, by its headers; arguments as for `load_into`.

    Returns:
        The model on the meta device.

    Raises:
        ValueError: If a tensor is missing, left over or has another shape; it names the tensor and the file.
    """
    shapes: dict[str, Shape] = {}
    for source in (path, *also):
        found = stored_shapes(source, allow_pickle=allow_pickle)
        if twice := sorted(found.keys() & shapes.keys()):
            raise ValueError(f"{source}: tensor {twice[0]!r} is in {path} as well{_more(twice)}")
        shapes |= found
    where = " + ".join(map(str, (path, *also)))
    try:
        model = build_on_meta(build)
    except (OverflowError, RuntimeError, TypeError) as error:
        # Sizes that are fine one by one and have a product beyond all bounds, or values of a wrong kind.
        raise ValueError(f"{where}: the network of its config cannot be built ({error})") from None
    check_shapes(shapes, state_shapes(model), key_map=key_map, where=where)
    return model


def load_into(
    build: Callable[[], M],
    path: str | Path,
    *,
    key_map: KeyMap = _IDENTITY,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    allow_pickle: bool = False,
    keep_float32: tuple[str, ...] = (),
    also: tuple[str | Path, ...] = (),
) -> M:
    """Build a model and fill it from a checkpoint.

    The model is built on the meta device, so memory is used once, for the weights that are read. Buffers that
    are not in checkpoints are not filled by this: a module that has some defines `reset_buffers()`, which is
    called after loading.

    Args:
        build: Makes the model; called with meta as the default device.
        path: See `load_weights`, as the arguments after it.
        key_map: Released names to ours.
        dtype: Type of floating-point tensors; None keeps the stored one.
        device: Where the model goes.
        allow_pickle: Accept pickle files.
        keep_float32: Patterns of our names that stay float32.
        also: Further checkpoints that complete the first: every tensor is in exactly one of them.

    Returns:
        The model in evaluation mode with nothing left on meta.

    Raises:
        ValueError: If a tensor is missing, left over or has another shape; it names the tensor and the file.
    """
    # Names and shapes first: a wrong checkpoint is refused before gigabytes are read.
    model = check_stored(build, path, key_map=key_map, allow_pickle=allow_pickle, also=also)
    state: dict[str, Tensor] = {}
    for source in (path, *also):
        state |= load_weights(
            source,
            key_map=key_map,
            dtype=dtype,
            device=device,
            allow_pickle=allow_pickle,
            keep_float32=keep_float32,
        )
    model.load_state_dict(state, strict=True, assign=True)
    for module in model.modules():
        reset = getattr(module, "reset_buffers", None)
        if callable(reset):
            with torch.device(device):
                reset()
    _prove_materialised(model)
    return model.eval()


def save_checkpoint(
    directory: str | Path,
    *,
    config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    key_map: KeyMap = _IDENTITY,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    filename: str = WEIGHTS_NAME,
) -> Path:
    """Write config.json and a safetensors file in the released layout.

    Each file is written under a temporary name and renamed, so an interruption leaves the old file.

    Args:
        directory: Made if it does not exist.
        config: Content of config.json.
        state_dict: Tensors by our name.
        key_map: Released names to ours; applied backwards.
        dtype: Type of floating-point tensors in the file; None keeps theirs.
        metadata: Text that goes into the safetensors header.
        filename: Name of the weight file.

    Returns:
        The weight file.
    """
    directory = Path(directory)
    cast = {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in state_dict.items()
    }
    write_safetensors(directory / filename, key_map.export(cast), metadata or {})
    write_json(directory / CONFIG_NAME, config)
    return directory / filename


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    if is_pickle(file):
        yield from read_pickle(file).items()
        return
    with open_safetensors(file) as handle:
        for name in handle.keys():  # noqa: SIM118 - the handle is not a dictionary
            yield name, handle.get_tensor(name)


def _target_dtype(
    name: str, tensor: Tensor, dtype: torch.dtype | None, keep_float32: tuple[str, ...]
) -> torch.dtype:
    if dtype is None or not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if any(fnmatchcase(name, pattern) for pattern in keep_float32) else dtype


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _prove_materialised(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert not tensor.is_meta, f"{name} was not filled; give its module reset_buffers()"
