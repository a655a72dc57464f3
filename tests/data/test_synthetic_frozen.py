"""The scenes, captions and pixels that the bundled model was trained on never change."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from ea_data.synthetic import LANGUAGES, caption, labels, render, sample_scene

RECORDED = json.loads((Path(__file__).parent / "assets" / "synthetic_hashes.json").read_text())


@pytest.mark.parametrize("name", RECORDED["words"])
def test_scenes_labels_and_captions(name):
    split, seed, two_shapes = name.split()
    digest = hashlib.sha256()
    for index in range(300):
        scene = sample_scene(int(seed), index, split=split, two_shapes=float(two_shapes))
        texts = [caption(scene, language, v) for language in LANGUAGES for v in (0, 1, scene.variant)]
        everything = [asdict(scene), texts, caption(scene, motion=False), asdict(labels(scene))]
        digest.update(json.dumps(everything, ensure_ascii=False).encode())
    assert digest.hexdigest()[:24] == RECORDED["words"][name]


@pytest.mark.parametrize("name", RECORDED["pixels"])
def test_pixels(name):
    split, seed, two_shapes, *size = name.split()
    frames, height, width = map(int, size)
    digest = hashlib.sha256()
    for index in range(60):
        scene = sample_scene(int(seed), index, split=split, two_shapes=float(two_shapes))
        # A star's outline goes through float32 sines, which processors round differently.
        if all(shape.shape != "star" for shape in scene.shapes):
            digest.update(render(scene, num_frames=frames, height=height, width=width).tobytes())
    assert digest.hexdigest()[:24] == RECORDED["pixels"][name]
