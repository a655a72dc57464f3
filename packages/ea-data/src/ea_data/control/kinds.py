"""The kinds of control signals that are made of a video: their names, what they need, their options.

Importing this loads no other library; `ea_data.control.makers` makes the signals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ea_data.control.options import Options, option

__all__ = [
    "KINDS",
    "AnimeLineArtOptions",
    "CannyOptions",
    "DepthOptions",
    "DwposeOptions",
    "HedOptions",
    "Kind",
    "LineArtOptions",
    "LinesOptions",
    "MlsdOptions",
    "NetworkOptions",
    "PoseOptions",
    "ScribbleOptions",
    "SoftEdgeOptions",
    "find_kind",
]

_ANNOTATORS: Final = "lllyasviel/Annotators@982e7edaec38759d914a963c48c4726685de7d96"
_DETECTOR: Final = "PekingU/rtdetr_r50vd_coco_o365@457857cec8ac28ddede40ecee9eed2beca321af8"
_MAX_GRADIENT: Final = 5100


@dataclass(frozen=True, kw_only=True)
class CannyOptions(Options):
    """Options of `canny`."""

    low: float = option(100.0, "gradient from which a pixel continues an edge", least=0, most=_MAX_GRADIENT)
    high: float = option(200.0, "gradient from which a pixel starts an edge", least=0, most=_MAX_GRADIENT)
    blur: float = option(0.0, "sigma of a Gaussian blur before, in pixels", least=0, most=100)


@dataclass(frozen=True, kw_only=True)
class ScribbleOptions(Options):
    """Options of `scribble`."""

    blur: float = option(3.0, "sigma of the Gaussian blur before, in pixels", least=0, most=100)
    low: float = option(20.0, "gradient from which a pixel continues a stroke", least=0, most=_MAX_GRADIENT)
    high: float = option(50.0, "gradient from which a pixel starts a stroke", least=0, most=_MAX_GRADIENT)
    least_length: int = option(45, "pixels that a stroke needs to be drawn", least=1, most=100_000)
    thickness: int = option(5, "width of a stroke in pixels", least=1, most=99)


@dataclass(frozen=True, kw_only=True)
class LineArtOptions(Options):
    """Options of `lineart_xdog`."""

    sigma: float = option(1.0, "of the narrow Gaussian in pixels: how wide lines are", least=0.3, most=50)
    ratio: float = option(1.6, "of the wide Gaussian to the narrow one", least=1.01, most=10)
    threshold: float = option(1.5, "darker by so many grey values than around: a line", least=0, most=255)
    softness: float = option(
        5.0, "grey values from there to a line that is almost white", least=0.1, most=255
    )


@dataclass(frozen=True, kw_only=True)
class LinesOptions(Options):
    """Options of `lines_lsd`."""

    least_length: float = option(15.0, "shortest segment that is drawn, in pixels", least=0, most=100_000)
    thickness: int = option(1, "width of a line in pixels", least=1, most=99)


@dataclass(frozen=True, kw_only=True)
class SoftEdgeOptions(Options):
    """Options of `softedge_scharr`."""

    blur: float = option(1.5, "sigma of the Gaussian blur before, in pixels", least=0.5, most=100)
    contrast: float = option(
        60.0, "step of grey values that makes an edge of 63 % brightness", least=1, most=255
    )


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """What the options of every kind with weights begin with."""

    weights: str = option("", "a file or directory, or OWNER/NAME[@REVISION] of the hub")
    offline: bool = option(False, "download nothing")
    device: str = option("cpu", "where the network runs, as torch or onnxruntime names it")


@dataclass(frozen=True, kw_only=True)
class _PickledOptions(NetworkOptions):
    weights: str = option(_ANNOTATORS, "a file or directory, or OWNER/NAME[@REVISION] of the hub")
    allow_pickle: bool = option(False, "read weights in a pickle too; nothing in it is run")
    resolution: int = option(512, "short side of what the network is shown, in pixels", least=64, most=2048)


@dataclass(frozen=True, kw_only=True)
class HedOptions(_PickledOptions):
    """Options of `hed`."""


@dataclass(frozen=True, kw_only=True)
class MlsdOptions(_PickledOptions):
    """Options of `mlsd`."""

    score: float = option(0.1, "least confidence in a line", least=0, most=1)
    least_length: float = option(
        0.1, "shortest line that is drawn, in pixels at half size", least=0, most=4096
    )


@dataclass(frozen=True, kw_only=True)
class AnimeLineArtOptions(_PickledOptions):
    """Options of `lineart_anime`."""


@dataclass(frozen=True, kw_only=True)
class DepthOptions(NetworkOptions):
    """Options of `depth`."""

    weights: str = option(
        "depth-anything/Depth-Anything-V2-Small-hf@5426e4f0f36572d16453bbda7a8389317b1bef99",
        "a directory, or OWNER/NAME[@REVISION] of the hub",
    )
    resolution: int = option(518, "short side of what the network is shown, in pixels", least=56, most=2048)
    smoothing: float = option(
        0.8,
        "share of the range of depths that is kept from frame to frame; 0: each by itself",
        least=0,
        most=0.999,
    )


@dataclass(frozen=True, kw_only=True)
class _PersonOptions(NetworkOptions):
    detector: str = option(_DETECTOR, "what finds people: a directory, or OWNER/NAME[@REVISION] of the hub")
    person_score: float = option(0.5, "least confidence in a person", least=0, most=1)
    point_score: float = option(0.3, "least confidence in a joint", least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class PoseOptions(_PersonOptions):
    """Options of `pose`."""

    weights: str = option(
        "usyd-community/vitpose-base-simple@a93ac0c67e0b7e2c55287d21d4c460c8f3c54d45",
        "a directory, or OWNER/NAME[@REVISION] of the hub",
    )


@dataclass(frozen=True, kw_only=True)
class DwposeOptions(_PersonOptions):
    """Options of `dwpose`."""

    weights: str = option(
        "yzd-v/DWPose@1a7144101628d69ee7a3768d1ee3a094070dc388",
        "an onnx file or a directory, or OWNER/NAME[@REVISION] of the hub",
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of control signal.

    Attributes:
        name: What options and files call it.
        summary: One line: what it shows.
        needs: The extra of this package, and the weights with their size where it is known.
        options: Class of its options.
        version: Raised when the same options begin to give another signal.
    """

    name: str
    summary: str
    needs: str
    options: type[Options]
    version: int = 1

    @property
    def has_weights(self) -> bool:
        """Whether a network makes it."""
        return issubclass(self.options, NetworkOptions)


_PLAIN: Final = "ea-data[control]"
_MODELS: Final = "ea-data[control-models]"
_FOUND: Final = (
    Kind(name="canny", summary="thin edges", needs=_PLAIN, options=CannyOptions),
    Kind(
        name="softedge_scharr",
        summary="soft edges, from a gradient",
        needs=_PLAIN,
        options=SoftEdgeOptions,
    ),
    Kind(name="scribble", summary="thick strokes along coarse edges", needs=_PLAIN, options=ScribbleOptions),
    Kind(
        name="lineart_xdog",
        summary="ink lines, from differences of Gaussians",
        needs=_PLAIN,
        options=LineArtOptions,
    ),
    Kind(name="lines_lsd", summary="straight line segments", needs=_PLAIN, options=LinesOptions),
    Kind(
        name="pose",
        summary="skeletons of people with 18 joints, by ViTPose",
        needs=f"{_MODELS}; weights of 344 MB, and 172 MB to find people",
        options=PoseOptions,
    ),
    Kind(
        name="dwpose",
        summary="skeletons with hands and faces, by DWPose",
        needs=f"{_MODELS}; weights of 134 MB, and 172 MB to find people",
        options=DwposeOptions,
    ),
    Kind(
        name="depth",
        summary="how near things are, by Depth Anything or Depth Anything V2",
        needs=f"{_MODELS}; weights of 99 MB",
        options=DepthOptions,
    ),
    Kind(
        name="hed",
        summary="soft edges, by the HED network of ControlNet",
        needs=f"{_MODELS}; weights of 29 MB, in a pickle",
        options=HedOptions,
    ),
    Kind(
        name="mlsd",
        summary="straight lines, by the M-LSD network",
        needs=f"{_MODELS}; weights of 6 MB, in a pickle",
        options=MlsdOptions,
    ),
    Kind(
        name="lineart_anime",
        summary="line art of drawn pictures, by the network of ControlNet",
        needs=f"{_MODELS}; weights of 218 MB, in a pickle",
        options=AnimeLineArtOptions,
    ),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in _FOUND})
"""Every kind, by name."""


def find_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in KINDS:
        raise ValueError(f"no control signal {name!r}; allowed: {', '.join(KINDS)}")
    return KINDS[name]
