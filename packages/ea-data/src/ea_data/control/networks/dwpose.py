"""Poses of people with hands and faces by DWPose: 133 points for each, from an onnx file.

Model: Yang et al., "Effective whole-body pose estimation with two-stages distillation", 2023. It reads crops
with a quarter of margin and tells, for every point, how likely each half pixel of width and of height is
(SimCC). Size, colours and margin are those of its released configuration.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import DwposeOptions
from ea_data.control.networks.people import find_people
from ea_data.control.networks.skeleton import draw_people, from_coco_wholebody
from ea_data.control.networks.source import Notify, Source, fetch_files

__all__ = ["RELEASED", "PoseNetwork", "dwpose"]

Pixels = NDArray[np.uint8]

RELEASED: Final = "dw-ll_ucoco_384.onnx"
_MARGIN: Final = 1.25
_MEAN, _DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
_POINTS: Final = 133
_BINS_PER_PIXEL: Final = 2
_PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class PoseNetwork:
    """The network of an onnx file, at the size that the file says.

    Raises:
        ValueError: The file cannot be read or holds another network; no such device.
    """

    def __init__(self, path: Path, device: str) -> None:
        runtime = load("onnxruntime")
        provider = _PROVIDERS.get(device)
        if provider not in runtime.get_available_providers():
            raise ValueError(f"device is {device!r}; allowed for dwpose: cpu, or cuda with onnxruntime-gpu")
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4
        settings.inter_op_num_threads = 1
        errors = runtime.capi.onnxruntime_pybind11_state
        try:
            self._session = runtime.InferenceSession(str(path), settings, providers=[provider])
        except (errors.Fail, errors.InvalidArgument, errors.InvalidProtobuf, errors.InvalidGraph) as error:
            raise ValueError(f"weights: {path}: damaged or no onnx file ({type(error).__name__})") from None
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        if len(shapes) != 1 or not {"simcc_x", "simcc_y"} <= outputs:
            raise ValueError(f"weights: {path} is no DWPose network: it has no outputs simcc_x and simcc_y")
        ((self._input, shape),) = shapes.items()
        if len(shape) != 4 or not all(isinstance(side, int) for side in shape[2:]):
            raise ValueError(f"weights: {path} is no DWPose network: its input has the shape {shape}")
        self.height, self.width = shape[2:]
        self._path = path

    def __call__(
        self, frame: Pixels, box: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points of the person in a box.

        Args:
            frame: (H, W, 3).
            box: x, y, width, height.

        Returns:
            (133, 2) x and y in pixels of the frame, and (133,) scores.
        """
        scale, offset = self._crop(box)
        matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
        crop = load("cv2").warpAffine(frame, matrix, (self.width, self.height))
        x = ((crop - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
        across, down = self._session.run(["simcc_x", "simcc_y"], {self._input: x})
        wanted = [(1, _POINTS, side * _BINS_PER_PIXEL) for side in (self.width, self.height)]
        if [across.shape, down.shape] != wanted:
            raise ValueError(
                f"weights: {self._path} is no DWPose network: it gives {across.shape}, {down.shape}"
            )
        places = np.stack((across[0].argmax(axis=1), down[0].argmax(axis=1)), axis=1) / _BINS_PER_PIXEL
        scores = np.minimum(across[0].max(axis=1), down[0].max(axis=1))
        return ((places - offset) / scale).astype(np.float32), scores

    def _crop(self, box: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
        """Scale and offset from the frame to the crop: the box with its margin, its middle in the middle."""
        size = np.array([self.width, self.height])
        scale = float((size / (box[2:] * _MARGIN)).min())
        return scale, size / 2 - scale * (box[:2] + box[2:] / 2)


def dwpose(options: DwposeOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """Skeletons with hands and faces in colours, (H, W, 3).

    Raises:
        ValueError: See `PoseNetwork` and `find_people`.
    """
    load("cv2")
    network = PoseNetwork(_find(options, notify), options.device)
    find = find_people(options, notify)

    def make(frame: Pixels) -> Pixels:
        found: list[Any] = [network(frame, box) for box in find(frame)]
        people = [from_coco_wholebody(points, scores, options.point_score) for points, scores in found]
        return draw_people(people, *frame.shape[:2])

    return lambda: make


def _find(options: DwposeOptions, notify: Notify) -> Path:
    source = Source.of("weights", options.weights)
    if source.path is None:
        return fetch_files(source, [RELEASED], offline=options.offline, notify=notify) / RELEASED
    path = source.path / RELEASED if source.path.is_dir() else source.path
    if not path.is_file():
        raise ValueError(f"weights: {source.path} has no {RELEASED}")
    return path
