"""Optical flow by RAFT (Teed and Deng, 2020) of torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.networks.source import Source, fetch_files
from ea_data.control.networks.states import load_state
from ea_data.curation.network_marks import network_mark
from ea_data.curation.reading import Pixels

__all__ = ["EXTRA", "Raft", "RaftMethod", "check_raft", "fetch_named", "fetch_raft", "raft_mark"]

RaftMethod = Literal["raft", "raft_small"]

EXTRA: Final = "curation-models"
_MODULE: Final = "torchvision.models.optical_flow"
_RELEASED: Final[dict[str, tuple[str, str, str]]] = {
    "raft": ("raft_large", "Raft_Large_Weights", "C_T_SKHT_V2"),
    "raft_small": ("raft_small", "Raft_Small_Weights", "C_T_V2"),
}
"""Of each method the builder of torchvision, its table of weights, and the one that is used."""

_STEP: Final = 8
_LEAST: Final = 128
"""Sides that the network takes: multiples of 8, at least 128."""


@dataclass(frozen=True, kw_only=True)
class _State:
    weights: str
    device: str
    offline: bool
    allow_pickle: bool


class Raft:
    """The network, loaded; called with two frames (H, W, 3) it gives their flow (H, W, 2) in pixels.

    Args:
        method: Which network.
        weights: A file or directory, or OWNER/NAME[@REVISION] of the hub; "" for torchvision's own.
        device: Of torch.
        offline: Download nothing.
        allow_pickle: Read tensors in a pickle too.

    Raises:
        ValueError: The weights cannot be had, or are those of another network; or there is no such device.
        MissingExtraError: torchvision is not installed.
    """

    def __init__(
        self, method: RaftMethod, weights: str, *, device: str, offline: bool, allow_pickle: bool
    ) -> None:
        self._torch = load("torch")
        builder = _RELEASED[method][0]
        self._model = getattr(load(_MODULE, extra=EXTRA), builder)(weights=None).eval()
        table = {
            name: tuple(value.shape)
            for name, value in self._model.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        path = weights or str(fetch_raft(method, offline=offline, notify=_silent))
        own = _State(weights=path, device=device, offline=offline, allow_pickle=allow_pickle)
        state = load_state(own, table, _file_name(method), _silent)
        self._model.load_state_dict(state, strict=False)
        self._model.to(device)
        self._device = device

    def __call__(self, first: Pixels, second: Pixels) -> NDArray[np.float32]:
        """The flow from the first frame to the second."""
        height, width = first.shape[:2]
        pair = [self._input(frame) for frame in (first, second)]
        with self._torch.inference_mode():
            flow = self._model(*pair)[-1][0, :, :height, :width]
        return flow.permute(1, 2, 0).float().cpu().numpy()

    def _input(self, frame: Pixels) -> Any:
        """(1, 3, H', W') from -1 to 1; the last row and column are repeated up to sides that it takes."""
        height, width = frame.shape[:2]
        more = [max(_LEAST, -side % _STEP + side) - side for side in (height, width)]
        padded = np.pad(frame, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
        pixels = self._torch.from_numpy(padded).to(self._device).permute(2, 0, 1)[None]
        return pixels.float() / 127.5 - 1


def check_raft(method: RaftMethod, weights: str, *, allow_pickle: bool) -> None:
    """What can be told before any work is done.

    Raises:
        MissingExtraError: torchvision is not installed.
        ValueError: torchvision's own weights are a pickle, and none may be read.
    """
    load(_MODULE, extra=EXTRA)
    if not weights and not allow_pickle:
        raise ValueError(
            f"motion: torchvision's weights, {_file_name(method)}, are a pickle; allow_pickle: true reads "
            "the tensors in it, or name a safetensors file with weights"
        )


def fetch_raft(method: RaftMethod, *, offline: bool, notify: Callable[[str], None]) -> Path:
    """Have torchvision's weights on disk, where torch keeps what it downloads.

    Args:
        method: Which network.
        offline: Download nothing.
        notify: Is told what is about to be downloaded and how large it is.

    Raises:
        ValueError: They are neither there nor to be had, or their hash is not that of their name.
        MissingExtraError: torchvision is not installed.
    """
    hub, entry, name = load("torch").hub, _entry(method), _file_name(method)
    path = Path(hub.get_dir(), "checkpoints", name)
    if path.is_file():
        return path
    if offline:
        raise ValueError(f"{name} is not in {path.parent}; offline nothing is downloaded")
    notify(f"downloading {entry.meta['_file_size']:.0f} MB: {name} of torchvision")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digits = path.stem.rpartition("-")[2]
        hub.download_url_to_file(entry.url, str(path), hash_prefix=digits, progress=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be downloaded: {' '.join(str(error).split())[:200]}") from error
    return path


def fetch_named(method: RaftMethod, weights: str, *, offline: bool, notify: Callable[[str], None]) -> None:
    """Have weights that are named on disk; those of the hub are in a file of torchvision's name."""
    source = Source.of("motion.weights", weights)
    if source.path is None:
        fetch_files(source, [_file_name(method)], offline=offline, notify=notify)


def raft_mark(method: RaftMethod, weights: str) -> str:
    """What always means the same weights: torchvision's names have a hash."""
    return network_mark(weights) if weights else _file_name(method)


def _entry(method: str) -> Any:
    _, table, name = _RELEASED[method]
    return getattr(load(_MODULE, extra=EXTRA), table)[name]


def _file_name(method: str) -> str:
    return str(_entry(method).url).rpartition("/")[2]


def _silent(_: str) -> None:
    pass
