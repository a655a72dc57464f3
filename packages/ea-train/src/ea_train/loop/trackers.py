"""Programs that show a run: TensorBoard, and W&B where it is asked for."""

import io
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ea_train.config import LoopConfig

_RUN_ID = "wandb-id.txt"


class Tracker(Protocol):
    """Takes what is logged."""

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """The values of a step (counted from 1)."""
        ...

    def clips(self, step: int, film: Path, sheet: Path) -> None:
        """The clips of a step: a video, and a picture of its frames."""
        ...

    def close(self) -> None:
        """Write what is held back."""
        ...


def check_trackers(names: Sequence[str]) -> None:
    """Refuses what is not installed; TensorBoard comes with ea-train.

    Raises:
        ValueError: One line that says what to install.
    """
    for name in names:
        if find_spec(name) is None:
            extra = f"'ea-train[{name}]'" if name == "wandb" else name
            raise ValueError(f"loop.trackers has {name}, which is not installed: pip install {extra}")


def open_trackers(loop: LoopConfig, directory: Path, finished: int) -> list[Tracker]:
    """What the settings name.

    Args:
        loop: Settings.
        directory: Run folder.
        finished: Steps that the run continues after.

    Raises:
        ValueError: One is not installed, or cannot begin.
    """
    check_trackers(loop.trackers)
    makers = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
    return [makers[name](loop, directory, finished) for name in dict.fromkeys(loop.trackers)]


class TensorBoard:
    """Files in `directory/tensorboard`."""

    def __init__(self, loop: LoopConfig, directory: Path, finished: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  slow to import

        del loop
        purge = finished + 1 if finished else None
        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=purge)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """Scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def clips(self, step: int, film: Path, sheet: Path) -> None:
        """The sheet as a picture, the film as a moving one, which is what TensorBoard takes for videos."""
        with Image.open(sheet) as picture:
            self._writer.add_image("samples/sheet", np.asarray(picture), step, dataformats="HWC")

        from ea_data.media import read_video  # noqa: PLC0415  needs PyAV

        messages: Any = import_module("tensorboard.compat.proto.summary_pb2")
        video = read_video(film)
        moving = messages.Summary.Image(
            height=video.frames.shape[1],
            width=video.frames.shape[2],
            colorspace=3,
            encoded_image_string=_gif(video.frames, video.fps),
        )
        value = messages.Summary.Value(tag="samples/clips", image=moving)
        summary = messages.Summary(value=[value])
        assert self._writer.file_writer is not None
        self._writer.file_writer.add_summary(summary, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class WeightsAndBiases:
    """A run of W&B, one for the folder however often it is continued; WANDB_MODE=offline keeps it here."""

    def __init__(self, loop: LoopConfig, directory: Path, finished: int) -> None:
        del finished
        self._wandb: Any = import_module("wandb")
        directory.mkdir(parents=True, exist_ok=True)
        kept = directory / _RUN_ID
        name = kept.read_text(encoding="utf-8").strip() if kept.exists() else self._wandb.util.generate_id()
        try:
            self._run = self._wandb.init(
                project=loop.tracker_project,
                name=directory.name,
                id=name,
                resume="allow",
                dir=str(directory),
            )
        except self._wandb.Error as error:
            raise ValueError(f"loop.trackers: W&B: {' '.join(str(error).split())}") from error
        kept.write_text(f"{name}\n", encoding="utf-8")

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """Metrics; those of a step that W&B has already are left out by it."""
        self._run.log(values, step=step)

    def clips(self, step: int, film: Path, sheet: Path) -> None:
        """Copies of both files."""
        media = {
            "samples/sheet": self._wandb.Image(str(sheet)),
            "samples/clips": self._wandb.Video(str(film), format="mp4"),
        }
        self._run.log(media, step=step)

    def close(self) -> None:
        """Finish the run here; it can be continued."""
        self._run.finish()


def _gif(frames_THWC: NDArray[np.uint8], fps: float) -> bytes:
    first, *rest = map(Image.fromarray, frames_THWC)
    file = io.BytesIO()
    first.save(file, format="GIF", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
    return file.getvalue()
