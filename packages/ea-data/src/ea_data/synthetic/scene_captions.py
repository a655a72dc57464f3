"""Captions of pairs and of camera scenes, in English and Chinese.

Variant 0 is the canonical sentence; every other variant is a paraphrase chosen by that number alone, as in
`ea_data.synthetic.captions`.
"""

import random

from ea_data.synthetic.camera_scenes import CameraScene
from ea_data.synthetic.floors import FloorSpec
from ea_data.synthetic.pairs import PairScene
from ea_data.synthetic.phrases import MOTION_PHRASES_EN, MOTION_PHRASES_ZH
from ea_data.synthetic.scene import ShapeSpec
from ea_data.synthetic.scene_phrases import (
    CAMERA_PHRASES_EN,
    CAMERA_PHRASES_ZH,
    CAMERA_TEMPLATES_EN,
    CAMERA_TEMPLATES_ZH,
    FLOOR_WORDS_EN,
    FLOOR_WORDS_ZH,
    RELATION_TEMPLATES_EN,
    RELATION_TEMPLATES_ZH,
    RELATION_WORDS_EN,
    RELATION_WORDS_ZH,
)
from ea_data.synthetic.vocabulary import (
    COLOUR_WORDS_ZH,
    LANGUAGES,
    SHAPE_WORDS_EN,
    SHAPE_WORDS_ZH,
    Language,
)
from ea_data.synthetic.wording import (
    article,
    background_en,
    background_zh,
    choose,
    gerund,
    object_en,
    object_zh,
)

__all__ = ["camera_caption", "pair_caption"]

_BACKGROUND_SHARE = 0.75
_TURNED_SHARE = 0.3


def pair_caption(
    scene: PairScene, language: Language | None = None, variant: int | None = None, *, motion: bool = True
) -> str:
    """Describe a pair; the relation is always stated, from either side.

    Args:
        scene: The scene.
        language: "en" or "zh"; the scene's own by default.
        variant: Which paraphrase; 0 is the canonical sentence; the scene's own by default.
        motion: False describes a single picture: the motions are left out.

    Raises:
        ValueError: Unknown language or negative variant.
    """
    language, rng, background = _choices(scene, language, variant)
    turned = rng is not None and rng.random() < _TURNED_SHARE
    shapes = scene.shapes[::-1] if turned else scene.shapes
    english = language == "en"
    templates = RELATION_TEMPLATES_EN if english else RELATION_TEMPLATES_ZH
    template = choose(rng, templates[motion, background])
    relation = choose(rng, (RELATION_WORDS_EN if english else RELATION_WORDS_ZH)[scene.relation][turned])
    words: dict[str, str] = {}
    for letter, shape in zip("ab", shapes):
        words[letter], words[f"the_{letter}"] = (_twice_en if english else _twice_zh)(shape, rng)
        phrases = MOTION_PHRASES_EN if english else MOTION_PHRASES_ZH
        words[f"{letter}_does"] = choose(rng, phrases[shape.motion])
    words["bg"] = (background_en if english else background_zh)(scene.background, rng)
    if not english:
        # A template that starts with "the a" has named both already.
        later = "{the_a}{is}" in template
        relation = relation.format(b=words["the_b"] if later else words["b"])
    return _finished(template.format(**words, **{"is": relation}), rng, language)


def camera_caption(
    scene: CameraScene, language: Language | None = None, variant: int | None = None, *, motion: bool = True
) -> str:
    """Describe a camera scene; what the camera does is always stated beside the motion of the shape.

    Args:
        scene: The scene.
        language: "en" or "zh"; the scene's own by default.
        variant: Which paraphrase; 0 is the canonical sentence; the scene's own by default.
        motion: False describes a single picture: the motion and the camera are left out.

    Raises:
        ValueError: Unknown language or negative variant.
    """
    language, rng, background = _choices(scene, language, variant)
    if language == "en":
        template = choose(rng, CAMERA_TEMPLATES_EN[motion, background])
        phrase = choose(rng, MOTION_PHRASES_EN[scene.shape.motion])
        camera = choose(rng, CAMERA_PHRASES_EN[scene.move])
        words = {"a": object_en(scene.shape, rng), "bg": _floor_en(scene.floor, rng)}
        words |= {"a_doing": gerund(phrase)}
    else:
        template = choose(rng, CAMERA_TEMPLATES_ZH[motion, background])
        phrase = choose(rng, MOTION_PHRASES_ZH[scene.shape.motion])
        camera = choose(rng, CAMERA_PHRASES_ZH[scene.move])
        words = {"a": object_zh(scene.shape, rng), "bg": _floor_zh(scene.floor, rng)}
    return _finished(template.format(**words, a_does=phrase, cam=camera), rng, language)


def _choices(
    scene: PairScene | CameraScene, language: Language | None, variant: int | None
) -> tuple[Language, random.Random | None, bool]:
    """Language, chance (None for the canonical sentence), and whether the background is stated."""
    language = scene.language if language is None else language
    variant = scene.variant if variant is None else variant
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; allowed: {', '.join(LANGUAGES)}")
    if variant < 0:
        raise ValueError(f"variant is {variant}; allowed: 0 or more")
    rng = random.Random(variant) if variant else None
    return language, rng, rng is None or rng.random() < _BACKGROUND_SHARE


def _twice_en(shape: ShapeSpec, rng: random.Random | None) -> tuple[str, str]:
    """What a shape is called at its first mention and later."""
    name = f"{shape.colour} {choose(rng, SHAPE_WORDS_EN[shape.shape])}"
    return article(name), f"the {name}"


def _twice_zh(shape: ShapeSpec, rng: random.Random | None) -> tuple[str, str]:
    link = choose(rng, ("的", ""))
    name = f"{COLOUR_WORDS_ZH[shape.colour]}{link}{choose(rng, SHAPE_WORDS_ZH[shape.shape])}"
    return f"一个{name}", name


def _floor_en(floor: FloorSpec, rng: random.Random | None) -> str:
    return article(choose(rng, FLOOR_WORDS_EN[floor.kind]).format(c=floor.colour))


def _floor_zh(floor: FloorSpec, rng: random.Random | None) -> str:
    return choose(rng, FLOOR_WORDS_ZH[floor.kind]).format(c=COLOUR_WORDS_ZH[floor.colour])


def _finished(sentence: str, rng: random.Random | None, language: Language) -> str:
    if rng is None or rng.random() >= 0.3:
        return sentence
    return f"{sentence[0].upper()}{sentence[1:]}." if language == "en" else f"{sentence}。"
