"""Captions in English and Chinese, and what exactly they state.

Variant 0 is the canonical sentence of a scene; every other variant is a paraphrase chosen by that number
alone, so a caption is a pure function of (scene, language, variant).
"""

import random
from dataclasses import dataclass

from ea_data.synthetic.phrases import (
    GERUNDS,
    MOTION_PHRASES_EN,
    MOTION_PHRASES_ZH,
    PAIR_TEMPLATES_EN,
    PAIR_TEMPLATES_ZH,
    SINGLE_TEMPLATES_EN,
    SINGLE_TEMPLATES_ZH,
)
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec
from ea_data.synthetic.vocabulary import (
    COLOUR_WORDS_ZH,
    LANGUAGES,
    SHAPE_WORDS_EN,
    SHAPE_WORDS_ZH,
    Language,
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


def _choose(rng: random.Random | None, options: tuple[str, ...]) -> str:
    """The first option canonically; otherwise the first in four of ten draws, else any of them."""
    if rng is None or rng.random() < 0.4:
        return options[0]
    return options[rng.randrange(len(options))]


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeio" else f"a {phrase}"


def _object_en(shape: ShapeSpec, rng: random.Random | None) -> str:
    return _article(f"{shape.colour} {_choose(rng, SHAPE_WORDS_EN[shape.shape])}")


def _background_en(background: BackgroundSpec, rng: random.Random | None) -> str:
    first = background.colours[0]
    if background.kind == "plain":
        return _article(
            _choose(rng, (f"{first} background", f"plain {first} background", f"{first} backdrop"))
        )
    if background.kind == "striped":
        words = (
            f"striped {first} background",
            f"{first} striped background",
            f"{first} background with stripes",
        )
        return _article(_choose(rng, words))
    second = background.colours[1]
    words = (
        f"{first} and {second} gradient background",
        f"gradient background from {first} to {second}",
        f"{first} to {second} gradient",
    )
    return _article(_choose(rng, words))


def _gerund(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    return f"{GERUNDS[verb]} {rest}".strip()


def _english(spec: SceneSpec, rng: random.Random | None, *, motion: bool, background: bool) -> str:
    templates = (SINGLE_TEMPLATES_EN if len(spec.shapes) == 1 else PAIR_TEMPLATES_EN)[motion, background]
    template = _choose(rng, templates)
    words = {"bg": _background_en(spec.background, rng)}
    for letter, shape in zip("ab", spec.shapes, strict=False):
        phrase = _choose(rng, MOTION_PHRASES_EN[shape.motion])
        words[letter] = _object_en(shape, rng)
        words[f"{letter}_does"], words[f"{letter}_doing"] = phrase, _gerund(phrase)
    sentence = template.format(**words)
    if rng is not None and rng.random() < 0.3:
        sentence = f"{sentence[0].upper()}{sentence[1:]}."
    return sentence


def _background_zh(background: BackgroundSpec, rng: random.Random | None) -> str:
    first = COLOUR_WORDS_ZH[background.colours[0]]
    if background.kind == "plain":
        return _choose(rng, (f"{first}背景", f"{first}的背景", f"纯{first}背景"))
    if background.kind == "striped":
        return _choose(rng, (f"{first}条纹背景", f"带条纹的{first}背景"))
    second = COLOUR_WORDS_ZH[background.colours[1]]
    return _choose(rng, (f"{first}到{second}的渐变背景", f"{first}和{second}渐变背景"))


def _object_zh(shape: ShapeSpec, rng: random.Random | None) -> str:
    colour, word = COLOUR_WORDS_ZH[shape.colour], _choose(rng, SHAPE_WORDS_ZH[shape.shape])
    return _choose(rng, (f"一个{colour}的{word}", f"一个{colour}{word}", f"{colour}{word}"))


def _chinese(spec: SceneSpec, rng: random.Random | None, *, motion: bool, background: bool) -> str:
    templates = (SINGLE_TEMPLATES_ZH if len(spec.shapes) == 1 else PAIR_TEMPLATES_ZH)[motion, background]
    template = _choose(rng, templates)
    words = {"bg": _background_zh(spec.background, rng)}
    for letter, shape in zip("ab", spec.shapes, strict=False):
        words[letter] = _object_zh(shape, rng)
        words[f"{letter}_does"] = _choose(rng, MOTION_PHRASES_ZH[shape.motion])
    sentence = template.format(**words)
    return f"{sentence}。" if rng is not None and rng.random() < 0.3 else sentence
