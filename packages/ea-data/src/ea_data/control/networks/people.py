"""Finding people: the boxes that pose networks look into."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import DwposeOptions, PoseOptions
from ea_data.control.networks.pretrained import load_pretrained, placed
from ea_data.control.networks.source import Notify

__all__ = ["find_people"]

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float32]

_TYPES: Final = ("rt_detr", "rt_detr_v2")
_LEAST_SIDE: Final = 16
"""In smaller frames there is nobody, and image processors take their sides for colours."""


def find_people(options: PoseOptions | DwposeOptions, notify: Notify) -> Callable[[Pixels], Boxes]:
    """A function from a frame to the boxes of people in it, (N, 4) x, y, width, height, surest first.

    Raises:
        ValueError: See `load_pretrained`; no such device.
    """
    torch = load("torch")
    model, processor = load_pretrained(
        "detector",
        options.detector,
        _TYPES,
        "AutoModelForObjectDetection",
        offline=options.offline,
        notify=notify,
    )
    model = placed(model, options.device)
    names = {name.lower(): int(number) for number, name in (model.config.id2label or {}).items()}
    person = names.get("person", 0)

    @torch.inference_mode()
    def find(frame: Pixels) -> Boxes:
        height, width = frame.shape[:2]
        if min(height, width) < _LEAST_SIDE:
            return np.zeros((0, 4), np.float32)
        inputs = processor(images=frame, return_tensors="pt").to(model.device)
        found = processor.post_process_object_detection(
            model(**inputs), threshold=options.person_score, target_sizes=[(height, width)]
        )[0]
        chosen = found["labels"] == person
        order = found["scores"][chosen].argsort(descending=True, stable=True)
        corners = found["boxes"][chosen][order].cpu().numpy().clip(0, [width, height, width, height])
        boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
        return boxes[(boxes[:, 2:] >= 1).all(axis=1)].astype(np.float32)

    return find
