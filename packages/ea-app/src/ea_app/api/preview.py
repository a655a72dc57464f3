"""Pictures of a video that is being made, without its autoencoder: a linear map from latents to colours.

Shapes: C latent channels; t, h, w the latent sizes; T frames, H and W pixels.
"""

import io
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from ea_vae import VideoAutoencoder, scale_latents

LatentRgb = Sequence[Sequence[float]]
"""C + 1 rows of red, green and blue in 0 ... 1: one for every latent channel, and what is added."""

PREVIEW_SIDE = 256
"""Longest side of a picture, pixels; small ones are enlarged to it."""
SECONDS_BETWEEN = 0.5
_QUALITY = 80


class Previewer:
    """Makes pictures, not too often.

    Args:
        latent_rgb: The map; empty makes no pictures.
    """

    def __init__(self, latent_rgb: LatentRgb) -> None:
        self._map = torch.tensor([list(row) for row in latent_rgb], dtype=torch.float32)
        self._next = 0.0

    def picture(self, latents_BCthw: Tensor) -> bytes | None:
        """JPEG of the middle of a clip; None if the last one is too recent, or the map does not fit."""
        now = time.perf_counter()
        if now < self._next or len(self._map) != latents_BCthw.shape[1] + 1:
            return None
        self._next = now + SECONDS_BETWEEN
        middle_Chw = latents_BCthw[0, :, latents_BCthw.shape[2] // 2].float().cpu()
        return to_jpeg(colours(middle_Chw, self._map))


def colours(latents_Chw: Tensor, latent_rgb: Tensor) -> Tensor:
    """Latents as a picture, uint8 (h, w, 3)."""
    mixed = torch.einsum("chw,cr->hwr", latents_Chw, latent_rgb[:-1]) + latent_rgb[-1]
    return (mixed.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8)


def to_jpeg(picture_HW3: Tensor, side: int = PREVIEW_SIDE) -> bytes:
    """A uint8 picture as JPEG with a longest side of `side` pixels."""
    image = Image.fromarray(picture_HW3.contiguous().numpy())
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    target = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(target, "JPEG", quality=_QUALITY)
    return target.getvalue()


def fit_latent_rgb(vae: VideoAutoencoder[Any], clips: Iterable[Tensor]) -> list[list[float]]:
    """The map of an autoencoder, by least squares.

    Every scaled latent is compared with the mean colour of the pixels that it stands for.

    Args:
        vae: An autoencoder.
        clips: uint8 (T, H, W, 3), of lengths and sizes that it takes.

    Returns:
        See `LatentRgb`; four decimals.
    """
    rows: list[Tensor] = []
    means: list[Tensor] = []
    weight = next(vae.parameters())
    for clip in clips:
        video = clip.movedim(-1, 0)[None].float() / 255
        with torch.no_grad():
            mode = vae.encode((video * 2 - 1).to(weight)).mode()
        latents = scale_latents(mode, vae.config.scaling_factor)[0].float().cpu()
        _, frames, height, width = latents.shape
        small = adaptive_avg_pool3d(video[0], (frames, height, width))
        rows.append(latents.flatten(1).T)
        means.append(small.flatten(1).T)
    known = torch.cat(rows)
    known = torch.cat((known, torch.ones(len(known), 1)), dim=1)
    solved = torch.linalg.lstsq(known, torch.cat(means)).solution
    return [[round(float(value), 4) for value in row] for row in solved]
