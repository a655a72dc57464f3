"""The procedural shape data set: scenes, pixels, captions, labels.

Scenes of one or two coloured shapes, each with its own motion, on plain, gradient or striped backgrounds,
with captions in English and Chinese. Everything is a pure function of (seed, index), at any size and length.

This package needs numpy alone; writing files is in `ea_data.synthetic.export`.
"""

from ea_data.synthetic.captions import Mentioned, caption, mentioned
from ea_data.synthetic.dataset import SceneLabels, SyntheticDataset, labels
from ea_data.synthetic.heldout import is_heldout, triples
from ea_data.synthetic.render import render
from ea_data.synthetic.sampling import sample_scene
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec
from ea_data.synthetic.vocabulary import (
    BACKGROUND_KINDS,
    BACKGROUNDS,
    COLOURS,
    LANGUAGES,
    MOTIONS,
    SHAPES,
    is_valid,
)

__all__ = [
    "BACKGROUNDS",
    "BACKGROUND_KINDS",
    "COLOURS",
    "LANGUAGES",
    "MOTIONS",
    "SHAPES",
    "BackgroundSpec",
    "Mentioned",
    "SceneLabels",
    "SceneSpec",
    "ShapeSpec",
    "SyntheticDataset",
    "caption",
    "is_heldout",
    "is_valid",
    "labels",
    "mentioned",
    "render",
    "sample_scene",
    "triples",
]
