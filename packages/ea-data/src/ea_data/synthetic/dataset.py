"""The procedural data set as a map-style data set, and the integer labels of a scene."""

from dataclasses import dataclass, field
from typing import Any

from ea_data.synthetic.captions import caption
from ea_data.synthetic.heldout import triples
from ea_data.synthetic.render import check_size, render
from ea_data.synthetic.sampling import sample_scene
from ea_data.synthetic.scene import SceneSpec
from ea_data.synthetic.vocabulary import (
    BACKGROUND_KINDS,
    BACKGROUNDS,
    COLOURS,
    MOTIONS,
    SHAPES,
    Split,
)


@dataclass(frozen=True, kw_only=True)
class SceneLabels:
    """Attribute ids (positions in the vocabularies); -1 where there is no second object or colour."""

    num_shapes: int
    shape: tuple[int, int]
    colour: tuple[int, int]
    motion: tuple[int, int]
    background_kind: int
    background_colour: tuple[int, int]


def labels(spec: SceneSpec) -> SceneLabels:
    """The attributes of a scene as integers, objects in drawing order."""

    def ids(values: tuple[str, ...], names: tuple[str, ...]) -> tuple[int, int]:
        found = [names.index(value) for value in values]
        return found[0], found[1] if len(found) > 1 else -1

    return SceneLabels(
        num_shapes=len(spec.shapes),
        shape=ids(tuple(shape.shape for shape in spec.shapes), SHAPES),
        colour=ids(tuple(shape.colour for shape in spec.shapes), COLOURS),
        motion=ids(tuple(shape.motion for shape in spec.shapes), MOTIONS),
        background_kind=BACKGROUND_KINDS.index(spec.background.kind),
        background_colour=ids(spec.background.colours, BACKGROUNDS),
    )


@dataclass(frozen=True)
class SyntheticDataset:
    """Clips and captions that are computed on access; a pure function of (seed, index).

    Items are dictionaries with `video` (uint8 array of shape (T, H, W, 3)), `text` and `spec`. With one
    frame the caption leaves the motion out.

    Attributes:
        seed: Seed of the data set, 0 or more.
        num_frames: Frames per clip.
        height: Pixels.
        width: Pixels.
        split: "train", "heldout" or "all"; see `sample_scene`.
        length: Number of items.
        two_shapes: Share of scenes with two shapes.
    """

    seed: int
    num_frames: int
    height: int
    width: int
    split: Split = field(default="train", kw_only=True)
    length: int = field(default=1_000_000, kw_only=True)
    two_shapes: float = field(default=0.25, kw_only=True)

    def __post_init__(self) -> None:
        triples(self.split)
        if self.length < 1:
            raise ValueError(f"length is {self.length}; allowed: 1 or more")
        if not 0 <= self.two_shapes <= 1:
            raise ValueError(f"two_shapes is {self.two_shapes}; allowed: 0 to 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed: 0 or more")
        check_size(self.num_frames, self.height, self.width)

    def __len__(self) -> int:
        return self.length

    def spec(self, index: int) -> SceneSpec:
        """The scene of an item.

        Raises:
            IndexError: The index is outside 0..length-1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; allowed: 0 to {self.length - 1}")
        return sample_scene(self.seed, index, split=self.split, two_shapes=self.two_shapes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        spec = self.spec(index)
        video = render(spec, num_frames=self.num_frames, height=self.height, width=self.width)
        return {"video": video, "text": caption(spec, motion=self.num_frames > 1), "spec": spec}
