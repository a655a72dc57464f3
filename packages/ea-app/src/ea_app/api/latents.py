"""Files of latents: what is on disk before decoding starts, and what a run that was stopped goes on from.

A window of a video (a video without windows has one) has a file `latents-0000.safetensors` when only its
decoding is left. Each holds the record of the job, so that a file says by itself what made it. Files are
written whole or not at all, and a hash of the tensors is compared when they are read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import xxhash
from torch import Tensor

from ea_app.options import InputError
from ea_dit.diffusion.loop import LoopState, Memory
from ea_dit.pipelines.states import WindowState
from ea_dit.pipelines.teacache import SkipState
from ea_kernels.runtime.files import open_safetensors, write_safetensors
from ea_kernels.runtime.stored import stored_metadata

LATENTS_FORMAT: Final = "ea-latents/1"
STEP_FORMAT: Final = "ea-step/1"
STEP_FILE: Final = "step.safetensors"
_NAME = "latents-{:04d}.safetensors"
_FIELD = "latents"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A state as a file has it.

    Attributes:
        state: Of the window.
        key: Of the job, see `ea_app.api.checkpoint.job_key`.
        record: What makes it, as in a result, without frames.
    """

    state: WindowState
    key: str
    record: Mapping[str, Any]


def latents_path(folder: Path, window: int) -> Path:
    """Where the latents of a window are."""
    return folder / _NAME.format(window)


def write_state(path: Path, kept: Kept) -> None:
    """Write a state atomically.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    state = kept.state
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(state).items()}
    header = {
        "ea_format": LATENTS_FORMAT if state.finished else STEP_FORMAT,
        "window": str(state.window),
        "windows": str(state.windows),
        "done": str(state.loop.done),
        "total": str(state.total),
        "key": kept.key,
        "xxh3": _hash(tensors),
        "record": json.dumps(dict(kept.record), ensure_ascii=False),
    }
    if state.skipping is not None:
        skipping = {"skipped": state.skipping.skipped, "distance": state.skipping.distance}
        header["skipping"] = json.dumps(skipping)
    write_safetensors(path, tensors, header)


def read_state(path: Path) -> Kept:
    """Read a state, and make sure that it is whole.

    Raises:
        InputError: No such file, not one of ours, or damaged.
    """
    if not path.is_file():
        raise InputError(_FIELD, f"{path} does not exist" if not path.exists() else f"{path} is no file")
    try:
        header = stored_metadata(path)
        if header.get("ea_format") not in (LATENTS_FORMAT, STEP_FORMAT):
            raise InputError(_FIELD, f"{path} holds no latents of the format {LATENTS_FORMAT}")
        with open_safetensors(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _hash(tensors) != header["xxh3"]:
            raise InputError(_FIELD, f"{path} is damaged: its hash is not that of its tensors")
        return Kept(state=_state(header, tensors), key=header["key"], record=json.loads(header["record"]))
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if str(path) in str(error) else f"{path} is damaged: {error}"
        raise InputError(_FIELD, reason) from None


def read_latents(path: Path) -> list[Kept]:
    """All windows of a video, of which one file is named; the others stand beside it.

    Raises:
        InputError: One is missing, damaged, not finished, or of another job.
    """
    first = read_state(path)
    if not first.state.finished:
        raise InputError(_FIELD, f"{path} is in the middle of denoising: there is nothing to decode yet")
    count = first.state.windows
    found = [
        first if window == first.state.window else read_state(latents_path(path.absolute().parent, window))
        for window in range(count)
    ]
    if any(kept.key != first.key or kept.state.window != window for window, kept in enumerate(found)):
        raise InputError(_FIELD, f"{path} and the files beside it are of different jobs")
    return found


def _tensors(state: WindowState) -> dict[str, Tensor]:
    """The tensors of a state by name."""
    named: dict[str, Tensor | None] = {"latents": state.loop.latents, "noise": state.noise}
    if not state.finished:
        memory = state.loop.memory
        named |= {f"memory.output.{index:04d}": tensor for index, tensor in enumerate(memory.outputs)}
        named |= {"memory.base": memory.base, "memory.partial": memory.partial}
    if state.skipping is not None:
        named |= {"skipping.signal": state.skipping.signal_BLD, "skipping.added": state.skipping.added_BLD}
    named |= {f"path.{index:04d}": tensor for index, tensor in enumerate(state.path)}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _state(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> WindowState:
    def several(prefix: str) -> tuple[Tensor, ...]:
        return tuple(tensors[name] for name in sorted(tensors) if name.startswith(prefix))

    memory = Memory(several("memory.output."), tensors.get("memory.base"), tensors.get("memory.partial"))
    return WindowState(
        window=int(header["window"]),
        windows=int(header["windows"]),
        total=int(header["total"]),
        loop=LoopState(int(header["done"]), tensors["latents"], memory),
        finished=header["ea_format"] == LATENTS_FORMAT,
        noise=tensors.get("noise"),
        path=several("path."),
        skipping=_skipping(header, tensors),
    )


def _skipping(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> SkipState | None:
    if "skipping" not in header:
        return None
    told = json.loads(header["skipping"])
    return SkipState(
        skipped=tuple(int(index) for index in told["skipped"]),
        distance=float(told["distance"]),
        signal_BLD=tensors.get("skipping.signal"),
        added_BLD=tensors.get("skipping.added"),
    )


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = xxhash.xxh3_128()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
