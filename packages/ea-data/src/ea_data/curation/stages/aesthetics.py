"""How pleasing pictures are: a small head over the vectors of CLIP or SigLIP, as released.

Heads: Schuhmann's predictor over CLIP ViT-L/14 (LAION), and aesthetic-predictor v2.5 over SigLIP so400m.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.networks.states import load_state
from ea_data.curation.embedding import MODULES, Embedder, download_line
from ea_data.curation.frame_choice import choose_frames
from ea_data.curation.network_marks import network_mark
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import Pixels, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import read_image
from ea_data.store import digest_file

__all__ = ["Aesthetics", "AestheticsOptions", "head_table"]

_WIDTHS: Final = (1024, 128, 64, 16, 1)
_PLACES: Final = (0, 2, 4, 6, 7)
"""Of the layers in released files; dropout stands between."""
_PREFIX: Final = {"clip": "layers", "siglip": "scoring_head"}
_RELEASED: Final = {"clip": "sac+logos+ava1-l14-linearMSE.pth", "siglip": "aesthetic_predictor_v2_5.pth"}


@dataclass(frozen=True, kw_only=True)
class _Head:
    weights: str
    device: str
    offline: bool
    allow_pickle: bool


@dataclass(frozen=True, kw_only=True)
class AestheticsOptions:
    """Which networks score, and what is accepted.

    Attributes:
        family: `siglip` or `clip`.
        weights: Directory, or OWNER/NAME[@REVISION] of the hub, of the network.
        head: File of the head: safetensors, or a released `.pth` with `allow_pickle`.
        frames: Of a video, at equal distances.
        device: Of torch.
        offline: Download nothing.
        allow_pickle: Read tensors in a pickle too; nothing in it is run.
        batch: Files whose frames are scored together.
        least: Mean score that is accepted, of about 1 to 10.
    """

    family: Literal["siglip", "clip"] = "siglip"
    weights: str = "google/siglip-so400m-patch14-384@9fdffc58afc957d1a03a25b10dba0329ab15c2a3"
    head: str = field(default="aesthetic_predictor_v2_5.pth")
    frames: int = 4
    device: str = "cpu"
    offline: bool = False
    allow_pickle: bool = False
    batch: int = 4
    least: float = 4.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"frames": (1, 64), "batch": (1, 1024), "least": (-100, 100)})


class Aesthetics(ItemStage[AestheticsOptions]):
    """The mean score of some frames."""

    name = "aesthetics"
    summary = "clips that please little go; CLIP or SigLIP with a released head"
    options_type = AestheticsOptions
    gives = ("aesthetic_score",)
    thresholds: ClassVar = ("least",)
    ways: ClassVar = ("device", "offline", "allow_pickle", "batch")
    modules: ClassVar = MODULES
    extra: ClassVar = "control-models"

    @property
    def batch_size(self) -> int:
        """Files that are scored together."""
        return self.options.batch

    def networks(self) -> tuple[str, ...]:
        """The network and its head."""
        return (self.options.weights, self.options.head)

    def weights(self) -> str:
        """The commit of the network, and the bytes of the head."""
        return f"{network_mark(self.options.weights)} {digest_file(self.options.head)}"

    def downloads(self) -> str:
        """Of the network."""
        return download_line(self.name, self.options.weights, offline=self.options.offline)

    def open(self) -> None:
        """The network and its head."""
        options = self.options
        self._embedder = Embedder(
            options.family, options.weights, device=options.device, offline=options.offline
        )
        width = self._embedder.pictures([np.zeros((8, 8, 3), np.uint8)]).shape[1]
        head = _Head(
            weights=options.head,
            device="cpu",
            offline=options.offline,
            allow_pickle=options.allow_pickle,
        )
        table = head_table(options.family, width)
        self._layers = load_state(head, table, _RELEASED[options.family], lambda _: None)

    def measure_all(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """All frames of the files at once."""
        frames = [self._frames(item) for item in items]
        scores = self._scores([frame for part in frames for frame in part])
        ends = np.cumsum([len(part) for part in frames])[:-1]
        return [{"aesthetic_score": round(float(part.mean()), 5)} for part in np.split(scores, ends)]

    def measure(self, item: Item) -> dict[str, Any]:
        """`aesthetic_score`: about 1 to 10."""
        return self.measure_all([item])[0]

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Pleases too little."""
        return outside("aesthetic score", columns["aesthetic_score"], least=self.options.least)

    def _scores(self, frames: Sequence[Pixels]) -> NDArray[np.float32]:
        torch = load("torch")
        values = torch.from_numpy(self._embedder.pictures(frames))
        values = values / values.norm(dim=-1, keepdim=True)
        for place in _PLACES:
            name = f"{_PREFIX[self.options.family]}.{place}"
            values = torch.nn.functional.linear(
                values, self._layers[f"{name}.weight"], self._layers[f"{name}.bias"]
            )
        return values[:, 0].numpy()

    def _frames(self, item: Item) -> list[Pixels]:
        if item.kind == "image":
            return [read_image(item.path)]
        with opened(item.path) as reader:
            return list(
                reader.pick(sorted(set(choose_frames("uniform", len(reader), count=self.options.frames))))
            )


def head_table(family: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a head over vectors of a width."""
    table: dict[str, tuple[int, ...]] = {}
    for place, before, after in zip(_PLACES, (width, *_WIDTHS[:-1]), _WIDTHS, strict=True):
        table[f"{_PREFIX[family]}.{place}.weight"] = (after, before)
        table[f"{_PREFIX[family]}.{place}.bias"] = (after,)
    return table
