"""CLIP's vision tower as image encoder of EasyAnimate V3 and V4.

Shapes: B batch, H and W of the picture, S patch tokens, P width of the tower, E that of the pooled embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_dit.text.pretrained import load_pretrained
from ea_kernels.runtime.weights import read_config, read_json

PREPROCESSING_NAME = "preprocessor_config.json"
_BICUBIC = 3
_LEVELS = 255.0


@dataclass(frozen=True)
class ImageStates:
    """An encoded picture.

    Attributes:
        pooled_BE: The projected class token, which V3 reads.
        patches_BSP: Last hidden states without the class token, which V4 reads.
    """

    pooled_BE: Tensor
    patches_BSP: Tensor


@dataclass(frozen=True, kw_only=True)
class ClipPreprocessing:
    """How a picture is brought to the tower's size and range.

    Attributes:
        shortest_edge: Length that the shorter side is resized to, bicubic.
        crop: Side of the square that is then cut from the middle.
        mean: Of red, green and blue, subtracted.
        std: Of red, green and blue, divided by.
    """

    shortest_edge: int = 224
    crop: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Refuses a crop that is larger than the picture, and colours that are not three."""
        for name, colours in (("image_mean", self.mean), ("image_std", self.std)):
            if len(colours) != 3 or not all(isinstance(one, int | float) for one in colours):
                raise ValueError(f"{name} must be three numbers, got {list(colours)}")
        if not all(self.std):
            raise ValueError(f"image_std must not be 0, got {list(self.std)}")
        if not 1 <= self.crop <= self.shortest_edge:
            raise ValueError(f"crop_size must lie in 1 ... size ({self.shortest_edge}), got {self.crop}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a `preprocessor_config.json`; keys that it does not have keep CLIP's values.

        Raises:
            ValueError: For a step that is switched off or not CLIP's, naming the key.
        """
        for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if values.get(step, True) is not True:
                raise ValueError(f"{step} must be true, got {values[step]!r}")
        if values.get("resample", _BICUBIC) != _BICUBIC:
            raise ValueError(f"resample must be {_BICUBIC} (bicubic), got {values['resample']!r}")
        size, crop = values.get("size", cls.shortest_edge), values.get("crop_size", cls.crop)
        return cls(
            shortest_edge=size.get("shortest_edge", 0) if isinstance(size, Mapping) else size,
            crop=min(crop.values()) if isinstance(crop, Mapping) else crop,
            mean=tuple(values.get("image_mean", cls.mean)),
            std=tuple(values.get("image_std", cls.std)),
        )

    def __call__(self, images_B3HW: Tensor) -> Tensor:
        """Prepares pictures in 0 ... 1 for the tower.

        Resizing works on 8-bit levels and rounds after each axis, as the image library of the releases does.

        Returns:
            (B, 3, crop, crop), float32.
        """
        levels = (images_B3HW.float() * _LEVELS).round().clamp(0, _LEVELS)
        height, width = levels.shape[-2:]
        short = min(height, width)
        rows, columns = (int(self.shortest_edge * side / short) for side in (height, width))
        levels = _resize(_resize(levels, (height, columns)), (rows, columns))
        top, left = (rows - self.crop) // 2, (columns - self.crop) // 2
        cropped = levels[..., top : top + self.crop, left : left + self.crop]
        mean, std = (cropped.new_tensor(three).view(3, 1, 1) for three in (self.mean, self.std))
        return (cropped / _LEVELS - mean) / std


class ClipImageEncoder:
    """Encodes pictures with CLIP.

    Args:
        model: A `CLIPVisionModelWithProjection` of transformers.
        preprocessing: How pictures are prepared.
    """

    def __init__(self, model: Any, preprocessing: ClipPreprocessing) -> None:
        self.model = model
        self.preprocessing = preprocessing

    @torch.no_grad()
    def encode(self, images_B3HW: Tensor) -> ImageStates:
        """Encodes pictures.

        Args:
            images_B3HW: RGB in 0 ... 1, any size; released pipelines give the start picture at the size of
                the video.

        Returns:
            States in the dtype of the model.

        Raises:
            ValueError: If the shape is another.
        """
        if images_B3HW.ndim != 4 or images_B3HW.shape[1] != 3:
            raise ValueError(f"images must be (batch, 3, height, width), got {list(images_B3HW.shape)}")
        pixels = self.preprocessing(images_B3HW).to(self.model.device, self.model.dtype)
        output = self.model(pixel_values=pixels)
        return ImageStates(output.image_embeds, output.last_hidden_state[:, 1:])


def load_clip_image(
    directory: Path, *, dtype: torch.dtype, device: torch.device, allow_pickle: bool = False
) -> ClipImageEncoder:
    """Loads the encoder from a local directory in the layout of transformers.

    Args:
        directory: `config.json`, safetensors, and optionally `preprocessor_config.json`; usually
            `image_encoder` of a model directory.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If files or weights are missing, or a preprocessing step is not CLIP's.
    """
    preprocessing = read_preprocessing(directory)
    model = load_pretrained("clip", directory, dtype=dtype, device=device, allow_pickle=allow_pickle)
    return ClipImageEncoder(model, preprocessing)


def read_preprocessing(directory: Path) -> ClipPreprocessing:
    """Reads how pictures are prepared for the encoder of a directory; without a file it is CLIP's own way.

    Raises:
        ValueError: Naming the file and the key.
    """
    read_config(directory)
    settings = directory / PREPROCESSING_NAME
    try:
        return ClipPreprocessing.from_dict(read_json(settings) if settings.is_file() else {})
    except (TypeError, ValueError) as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(settings)) else f"{settings}: {text}") from None


def _resize(levels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(levels.shape[-2:]) == size:
        return levels
    resized = F.interpolate(levels, size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized.round().clamp(0, _LEVELS)
