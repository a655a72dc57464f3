"""The process of `ea_app.web.reader`: `python -m ea_app.web.reading MEMORY SECONDS`.

It reads a JSON object per line and answers with one, until its input ends.
"""

import base64
import dataclasses
import io
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ea_app.api.intake import examine
from ea_app.jobs import guard
from ea_app.jobs.channel import Channel, Message
from ea_app.options import InputError
from ea_data.media import Limits, VideoReader, read_image, read_metadata
from ea_data.media.sequence import is_sequence

_LIMITS = Limits(max_image_pixels=4096 * 4096)


def main(arguments: list[str]) -> int:
    """Answer until the input ends."""
    memory, seconds = int(arguments[0]), float(arguments[1])
    channel = Channel.of_child()
    guard.ignore_interrupts()
    guard.be_the_first_to_go()
    for number, message in enumerate(channel.messages()):
        if number == 0:  # what is loaded by now is not counted
            if sys.platform.startswith("linux"):
                guard.limit_memory(memory)
            channel.send({"is": "ready"})
            continue
        if hasattr(signal, "alarm"):  # where nobody is left to end it
            signal.alarm(int(seconds) + 1)
        channel.send(_answer(message))
    return 0


def _answer(message: Message) -> dict[str, Any]:
    path = Path(message["path"])
    try:
        if message["do"] == "note":
            return {"note": _note(path, message["volume"])}
        info = examine(path, "file", max_volume=message["volume"], limits=_LIMITS)
        if message["do"] == "examine":
            return dataclasses.asdict(info)
        image = Image.fromarray(_first(path, info.kind)).convert("RGB")
        image.thumbnail((message["side"], message["side"]))
        if message["signal"]:
            image = Image.fromarray(_signal(np.asarray(image), message["signal"]))
        return {"jpeg": base64.b64encode(_jpeg(image)).decode()}
    except InputError as error:
        return {"refused": error.reason}
    except (ValueError, OSError) as error:
        return {"refused": " ".join(str(error).split()) or "cannot be read"}
    except MemoryError:
        return {"refused": "cannot be read with the memory that a file may take"}


def _note(path: Path, volume: int) -> str | None:
    if not is_sequence(path):
        examine(path, "file", max_volume=volume, limits=_LIMITS)
    return read_metadata(path, limits=_LIMITS)


def _first(path: Path, kind: str) -> NDArray[np.uint8]:
    """(H, W, 3): the picture, or the first frame."""
    if kind == "image":
        return read_image(path, limits=_LIMITS)
    with VideoReader(path, limits=_LIMITS, threads=1) as video:
        return video[0]


def _signal(picture: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    from ea_data.control.makers import make_control  # noqa: PLC0415  (needs an extra)

    return make_control(picture, kind)[0]


def _jpeg(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=85)
    return held.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
