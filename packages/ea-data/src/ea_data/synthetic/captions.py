"""Captions in English and Chinese, and what exactly they state.

Variant 0 is the canonical sentence of a scene; every other variant is a paraphrase chosen by that number
alone, so a caption is a pure function of (scene, language, variant).
"""

import random
from dataclasses import dataclass

from ea_data.synthetic.phrases import (
    MOTION_PHRASES_EN,
    MOTION_PHRASES_ZH,
    PAIR_TEMPLATES_EN,
    PAIR_TEMPLATES_ZH,
    SINGLE_TEMPLATES_EN,
    SINGLE_TEMPLATES_ZH,
)
from ea_data.synthetic.scene import SceneSpec
from ea_data.synthetic.vocabulary import LANGUAGES, Language
from ea_data.synthetic.wording import (
    background_en,
    background_zh,
    choose,
    gerund,
    object_en,
    object_zh,
)

_BACKGROUND_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class Mentioned:
    """Which attributes a caption states. Shape and colour of every object always are."""

    motion: bool
    background: bool


def caption(
    spec: SceneSpec, language: Language | None = None, variant: int | None = None, *, motion: bool = True
) -> str:
    """Describe a scene.

    Args:
        spec: The scene.
        language: "en" or "zh"; the scene's own by default.
        variant: Which paraphrase; 0 is the canonical sentence; the scene's own by default.
        motion: False describes a single picture: the motion is left out.

    Raises:
        ValueError: Unknown language or negative variant.
    """
    return _compose(spec, language, variant, motion=motion)[0]


def mentioned(
    spec: SceneSpec, language: Language | None = None, variant: int | None = None, *, motion: bool = True
) -> Mentioned:
    """Which attributes `caption` with the same arguments states."""
    return Mentioned(motion=motion, background=_compose(spec, language, variant, motion=motion)[1])


def _compose(
    spec: SceneSpec, language: Language | None, variant: int | None, *, motion: bool
) -> tuple[str, bool]:
    language = spec.language if language is None else language
    variant = spec.variant if variant is None else variant
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; allowed: {', '.join(LANGUAGES)}")
    if variant < 0:
        raise ValueError(f"variant is {variant}; allowed: 0 or more")
    rng = random.Random(variant) if variant else None
    with_background = rng is None or rng.random() < _BACKGROUND_SHARE
    if language == "en":
        return _english(spec, rng, motion=motion, background=with_background), with_background
    return _chinese(spec, rng, motion=motion, background=with_background), with_background


def _english(spec: SceneSpec, rng: random.Random | None, *, motion: bool, background: bool) -> str:
    templates = (SINGLE_TEMPLATES_EN if len(spec.shapes) == 1 else PAIR_TEMPLATES_EN)[motion, background]
    template = choose(rng, templates)
    words = {"bg": background_en(spec.background, rng)}
    for letter, shape in zip("ab", spec.shapes, strict=False):
        phrase = choose(rng, MOTION_PHRASES_EN[shape.motion])
        words[letter] = object_en(shape, rng)
        words[f"{letter}_does"], words[f"{letter}_doing"] = phrase, gerund(phrase)
    sentence = template.format(**words)
    if rng is not None and rng.random() < 0.3:
        sentence = f"{sentence[0].upper()}{sentence[1:]}."
    return sentence


def _chinese(spec: SceneSpec, rng: random.Random | None, *, motion: bool, background: bool) -> str:
    templates = (SINGLE_TEMPLATES_ZH if len(spec.shapes) == 1 else PAIR_TEMPLATES_ZH)[motion, background]
    template = choose(rng, templates)
    words = {"bg": background_zh(spec.background, rng)}
    for letter, shape in zip("ab", spec.shapes, strict=False):
        words[letter] = object_zh(shape, rng)
        words[f"{letter}_does"] = choose(rng, MOTION_PHRASES_ZH[shape.motion])
    sentence = template.format(**words)
    return f"{sentence}。" if rng is not None and rng.random() < 0.3 else sentence
