"""Poses of people by ViTPose: a skeleton of 18 joints for each.

Model: Xu et al., "ViTPose: simple vision transformer baselines for human pose estimation", 2022, as
transformers has it.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import PoseOptions
from ea_data.control.networks.people import find_people
from ea_data.control.networks.pretrained import load_pretrained, placed
from ea_data.control.networks.skeleton import draw_people, from_coco
from ea_data.control.networks.source import Notify

__all__ = ["pose"]

Pixels = NDArray[np.uint8]

_COCO: Final = 17


def pose(options: PoseOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """Skeletons in colours, (H, W, 3).

    Raises:
        ValueError: See `load_pretrained`; a model for other points than COCO's 17; no such device.
    """
    torch = load("torch")
    load("cv2")
    load("scipy.ndimage")
    model, processor = load_pretrained(
        "weights",
        options.weights,
        ("vitpose",),
        "VitPoseForPoseEstimation",
        offline=options.offline,
        notify=notify,
    )
    if (count := len(model.config.id2label)) != _COCO:
        raise ValueError(f"weights: {options.weights} finds {count} points; allowed: the {_COCO} of COCO")
    model = placed(model, options.device)
    find = find_people(options, notify)
    # ViTPose+ has an expert for every data set it was trained on; the first one is for COCO.
    expert = {"dataset_index": torch.zeros(1, dtype=torch.long)} if _has_experts(model) else {}

    @torch.inference_mode()
    def make(frame: Pixels) -> Pixels:
        people = []
        for box in find(frame):
            boxes = box[None, None].astype(np.float64)
            inputs = processor(images=frame, boxes=boxes, return_tensors="pt")
            found = model(**{name: value.to(model.device) for name, value in {**inputs, **expert}.items()})
            joints = processor.post_process_pose_estimation(found, boxes=boxes)[0][0]
            people.append(
                from_coco(joints["keypoints"].numpy(), joints["scores"].numpy(), options.point_score)
            )
        return draw_people(people, *frame.shape[:2])

    return lambda: make


def _has_experts(model: Any) -> bool:
    return model.config.backbone_config.num_experts > 1
