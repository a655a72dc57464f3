"""Words of the captions: how a shape, a motion and a background are called in a sentence."""

import random

from ea_data.synthetic.phrases import GERUNDS
from ea_data.synthetic.scene import BackgroundSpec, ShapeSpec
from ea_data.synthetic.vocabulary import COLOUR_WORDS_ZH, SHAPE_WORDS_EN, SHAPE_WORDS_ZH


def choose(rng: random.Random | None, options: tuple[str, ...]) -> str:
    """The first option canonically; otherwise the first in four of ten draws, else any of them."""
    if rng is None or rng.random() < 0.4:
        return options[0]
    return options[rng.randrange(len(options))]


def article(phrase: str) -> str:
    """With "a" or "an" before it."""
    return f"an {phrase}" if phrase[0] in "aeio" else f"a {phrase}"


def object_en(shape: ShapeSpec, rng: random.Random | None) -> str:
    """Such as "a red circle"."""
    return article(f"{shape.colour} {choose(rng, SHAPE_WORDS_EN[shape.shape])}")


def background_en(background: BackgroundSpec, rng: random.Random | None) -> str:
    """Such as "a striped blue background"."""
    first = background.colours[0]
    if background.kind == "plain":
        return article(choose(rng, (f"{first} background", f"plain {first} background", f"{first} backdrop")))
    if background.kind == "striped":
        words = (
            f"striped {first} background",
            f"{first} striped background",
            f"{first} background with stripes",
        )
        return article(choose(rng, words))
    second = background.colours[1]
    words = (
        f"{first} and {second} gradient background",
        f"gradient background from {first} to {second}",
        f"{first} to {second} gradient",
    )
    return article(choose(rng, words))


def gerund(phrase: str) -> str:
    """Such as "moving to the right" of "moves to the right"."""
    verb, _, rest = phrase.partition(" ")
    return f"{GERUNDS[verb]} {rest}".strip()


def background_zh(background: BackgroundSpec, rng: random.Random | None) -> str:
    """Such as "蓝色条纹背景"."""
    first = COLOUR_WORDS_ZH[background.colours[0]]
    if background.kind == "plain":
        return choose(rng, (f"{first}背景", f"{first}的背景", f"纯{first}背景"))
    if background.kind == "striped":
        return choose(rng, (f"{first}条纹背景", f"带条纹的{first}背景"))
    second = COLOUR_WORDS_ZH[background.colours[1]]
    return choose(rng, (f"{first}到{second}的渐变背景", f"{first}和{second}渐变背景"))


def object_zh(shape: ShapeSpec, rng: random.Random | None) -> str:
    """Such as "一个红色的圆形"."""
    colour, word = COLOUR_WORDS_ZH[shape.colour], choose(rng, SHAPE_WORDS_ZH[shape.shape])
    return choose(rng, (f"一个{colour}的{word}", f"一个{colour}{word}", f"{colour}{word}"))
