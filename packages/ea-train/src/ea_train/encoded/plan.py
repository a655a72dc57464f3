"""Which encodings a sample of a run needs, and what decides their numbers: the keys of the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ea_data.manifest import Entry
from ea_data.masks import Mask
from ea_data.store import Recipe, digest_bytes, digest_text
from ea_data.training.choices import SampleChoices
from ea_data.training.shapes import BatchShape
from ea_dit.pipelines.variants import Traits
from ea_vae import LatentGeometry

CODE: Final = "1"
"""Version of the code between a file and its encoding; another one makes everything anew."""

TEXT: Final = "text"
Digest = Callable[[Path], str]
"""Digest of the bytes of a file."""


@dataclass(frozen=True, kw_only=True)
class DrawnSample:
    """A sample of a batch before any of its files is opened.

    Attributes:
        entry: Row of the manifest.
        total: Frames of its file.
        choices: What was drawn for it.
        text: Its caption, empty where dropped.
        mask: (T, H, W), True where pixels are to be made; None without.
        noise_seed: Of the noise on given pixels.
    """

    entry: Entry
    total: int
    choices: SampleChoices
    text: str
    mask: Mask | None
    noise_seed: int


@dataclass(frozen=True, kw_only=True)
class EncodingPlan:
    """What a run encodes.

    Attributes:
        mode: Of its conditions, resolved.
        traits: What its transformer wants.
        geometry: Of its autoencoder.
        encoders: Fingerprints of the weights by name: "vae", "text" and, where pictures are read, "clip".
        picture_filter: By which pictures are scaled.
    """

    mode: str
    traits: Traits
    geometry: LatentGeometry
    encoders: Mapping[str, str] = field(default_factory=dict)
    picture_filter: str = "bilinear"

    @property
    def roles(self) -> tuple[str, ...]:
        """What is encoded of a sample, beside its caption."""
        found = ["video"]
        if self.mode == "inpaint":
            assert self.traits.inpaint is not None
            found += ["masked"] if self.traits.inpaint.resizes_mask else ["masked", "mask"]
            found += ["picture"] if "clip" in self.encoders else []
        elif self.mode.startswith("control"):
            found += ["rays"] if self.traits.variant == "camera" else ["control"]
            found += ["reference"] if self.traits.reference else []
        return tuple(found)

    def fitted(self, shape: BatchShape) -> tuple[int, int, int]:
        """Frames, height and width that the networks see of a batch of this shape."""
        return fitted_size(self.traits, self.geometry, shape.frames, shape.height, shape.width)

    def text_recipe(self, text: str) -> Recipe:
        """What decides the states of a caption."""
        return Recipe(inputs={"text": digest_text(text)}, encoders=self._using("text"), code=CODE)

    def recipes(self, sample: DrawnSample, shape: BatchShape, digest: Digest) -> dict[str, Recipe]:
        """What decides each encoding of a sample.

        Args:
            sample: As drawn.
            shape: Of its batch.
            digest: Of files.

        Returns:
            By role, "text" among them.

        Raises:
            ValueError: A file cannot be read, or the clips are too small.
        """
        made = {role: self._recipe(role, sample, shape, digest) for role in self.roles}
        return {**made, TEXT: self.text_recipe(sample.text)}

    def _recipe(self, role: str, sample: DrawnSample, shape: BatchShape, digest: Digest) -> Recipe:
        size = self.fitted(shape)
        view = self._view(sample, shape, size)
        vae = self._using("vae")
        if role == "mask":
            inputs = {"mask": _mask_digest(sample.mask, size)}
            return Recipe(inputs=inputs, transform={"size": list(size)}, encoders=vae, code=CODE)
        if role in ("control", "rays"):
            path = sample.entry.control_path
            inputs = {role: digest_bytes(b"") if path is None else digest(path)}
            if role == "rays":
                latents = [self.geometry.latent_frames(size[0]), *self.geometry.latent_size(*size[1:])]
                view |= {"total": sample.total, "latents": latents}
                return Recipe(inputs=inputs, transform=view, code=CODE)
            return Recipe(inputs=inputs, transform=view, encoders=vae, code=CODE)
        inputs = {"video": digest(sample.entry.path)}
        if role in ("reference", "picture"):
            view["frames"] = [sample.choices.frames[sample.choices.reference or 0]]
            encoders = self._using("clip") if role == "picture" else vae
            return Recipe(inputs=inputs, transform={**view, "frame": role}, encoders=encoders, code=CODE)
        if role == "masked":
            inputs["mask"] = _mask_digest(sample.mask, size)
            noisy = self.traits.inpaint is not None and self.traits.inpaint.noisy_pixels
            view["noise"] = sample.noise_seed if noisy else None
        return Recipe(inputs=inputs, transform=view, encoders=vae, code=CODE)

    def _view(self, sample: DrawnSample, shape: BatchShape, size: tuple[int, int, int]) -> dict[str, Any]:
        frames, height, width = size
        return {
            "kind": sample.entry.type,
            "frames": list(sample.choices.frames[:frames]),
            "covers": [shape.height, shape.width],
            "cut": [height, width],
            "filter": self.picture_filter if sample.entry.type == "image" else "video",
            "mirrored": sample.choices.flipped,
        }

    def _using(self, name: str) -> dict[str, str]:
        return {name: self.encoders[name]}


def fitted_size(
    traits: Traits, geometry: LatentGeometry, frames: int, height: int, width: int
) -> tuple[int, int, int]:
    """The longest clip and the largest size within a given one that the networks take.

    Args:
        traits: Of the transformer.
        geometry: Of the autoencoder.
        frames: Given.
        height: Given, pixels.
        width: Given, pixels.

    Raises:
        ValueError: The pictures are smaller than the smallest that the network takes.
    """
    # With patches of 2 the network takes any size that the autoencoder does.
    step = max(traits.size_multiple, geometry.space)
    if min(height, width) < step:
        raise ValueError(f"clips of {width} x {height} are too small; this model takes {step} pixels or more")
    frames = geometry.round_frames_down(frames if traits.moves else 1)
    if traits.max_latent_frames is not None:
        frames = min(frames, geometry.pixel_frames(traits.max_latent_frames))
    return frames, height // step * step, width // step * step


def _mask_digest(mask: Mask | None, size: tuple[int, int, int]) -> str:
    assert mask is not None  # modes with masks have recipes that draw them
    frames, height, width = size
    shown = np.ascontiguousarray(mask[:frames, :height, :width])
    return digest_bytes(repr(shown.shape).encode() + np.packbits(shown).tobytes())
