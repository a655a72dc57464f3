"""Camera paths and trajectories of a job: kept as text, drawn at the job's size.

The text, words or the content of a file, goes into the record, so that a result can be made again without the
file. Shapes: T frames, H and W pixels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ea_app.options import concerning
from ea_data.control.camera import CameraPath, camera_from_text, plucker_rays
from ea_data.control.files import read_text
from ea_data.control.moves import parse_camera
from ea_data.control.source import camera_path, camera_text
from ea_data.control.trajectory import draw_trajectory, trajectory_from_text
from ea_data.mask_strategy.language import parse_strategy


def read_texts(options: Mapping[str, Any]) -> dict[str, str]:
    """What the options in `TEXT_INPUTS` say, or what the files that they name hold, by name.

    Raises:
        InputError: A file that cannot be read, or whose content is wrong.
    """
    texts = {}
    for key, read in (
        ("camera", camera_text),
        ("trajectory", _trajectory_text),
        ("mask_strategy", _strategy),
    ):
        if key in options:
            name = key.replace("_", "-")
            with concerning(name):
                texts[name] = read(options[key])
    return texts


def check_moves(text: str) -> None:
    """Refuse what is no camera path in words, names of files among it.

    Raises:
        InputError: It is none.
    """
    with concerning("camera"):
        parse_camera(text, 2)


def draw_texts(
    texts: Mapping[str, str], fields: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Make of texts what a model is shown.

    Args:
        texts: Result of `read_texts`.
        fields: Scalar fields of the request: width, height, num_frames and fps.

    Returns:
        By name: camera (T, H, W, 6) ray maps, trajectory (T, H, W, 3) uint8; and what the user should know.

    Raises:
        InputError: A text that is no path.
    """
    frames, height, width = fields["num_frames"], fields["height"], fields["width"]
    arrays: dict[str, NDArray[Any]] = {}
    notices: tuple[str, ...] = ()
    if "camera" in texts:
        with concerning("camera"):
            path = camera_path(texts["camera"], frames, fields["fps"])
            notices = _length_notice(texts["camera"], path)
            arrays["camera"] = plucker_rays(path, frames, height, width).transpose(0, 2, 3, 1)
    if "trajectory" in texts:
        with concerning("trajectory"):
            paths = trajectory_from_text(texts["trajectory"], "the recorded text", height, width)
            arrays["trajectory"] = draw_trajectory(paths, frames, height, width)
    return arrays, notices


def _strategy(given: str) -> str:
    return parse_strategy(given).to_text()


def _trajectory_text(given: str) -> str:
    text = read_text(Path(given).expanduser())
    trajectory_from_text(text, given, 1, 1)
    return text


def _length_notice(text: str, used: CameraPath) -> tuple[str, ...]:
    if "\n" not in text:
        return ()
    given = camera_from_text(text, "the file")
    if len(given) == len(used):
        return ()
    whole = (given.world_to_camera[-1] == used.world_to_camera[-1]).all()
    count = "1 pose is" if len(given) == 1 else f"{len(given)} poses are"
    what = "spread over" if whole else "cut, at 24 per second, to"
    return (f"camera: {count} {what} {len(used)} frames",)
