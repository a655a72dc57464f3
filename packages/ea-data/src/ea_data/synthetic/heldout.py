"""Which combinations of three attributes are kept out of training, and drawing one of a split.

The rule is a Latin design: of the first attribute exactly one value is held out for each pair of the others,
so that every value, and every pair of values, still occurs in training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

import numpy as np

from ea_data.synthetic.vocabulary import (
    COLOURS,
    LANGUAGES,
    MOTIONS,
    SHAPES,
    Language,
    Split,
    is_valid,
    split_of,
)

__all__ = [
    "MOTION_DESIGN",
    "HeldoutDesign",
    "Triple",
    "allowed_motions",
    "is_heldout",
    "may_show",
    "sample_variant",
    "triples",
]

Triple = tuple[str, str, str]

_HELD: Final = 4
_MAX_VARIANT: Final = 1 << 30


def _always(*triple: str) -> bool:
    del triple
    return True


@dataclass(frozen=True, kw_only=True)
class HeldoutDesign:
    """The design of one kind of scene.

    Attributes:
        names: Of the attributes, for messages.
        values: Of each attribute, in the order of the vocabulary.
        steps: How far the held-out value moves on with the second and with the third attribute.
        stream: Number that tells the random numbers of this kind from those of others.
        valid: Whether a triple can be shown at all.
    """

    names: Triple
    values: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    steps: tuple[int, int]
    stream: int
    valid: Callable[[str, str, str], bool] = _always

    def is_heldout(self, *triple: str) -> bool:
        """Whether a triple is kept out of training.

        Raises:
            ValueError: A name is not in the vocabulary.
        """
        for name, value, allowed in zip(self.names, triple, self.values, strict=True):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
        first, *others = (values.index(value) for values, value in zip(self.values, triple, strict=True))
        cell = first + sum(step * place for step, place in zip(self.steps, others, strict=True))
        return cell % len(self.values[0]) == _HELD

    def triples(self, split: Split) -> tuple[Triple, ...]:
        """All triples of a split, in the order of the vocabulary.

        Raises:
            ValueError: An unknown split.
        """
        return _triples_of(self, split)

    def generator(self, seed: int, index: int) -> np.random.Generator:
        """Random numbers of one scene.

        Raises:
            ValueError: A negative seed or index.
        """
        if seed < 0 or index < 0:
            raise ValueError(f"seed and index are {seed} and {index}; allowed: 0 or more")
        return np.random.default_rng((seed, index, self.stream))

    def turn(self, seed: int, index: int) -> tuple[Language, Triple]:
        """Language and triple of a held-out scene: all in turn, shuffled, each in both languages."""
        choices = self.triples("heldout")
        order = np.random.default_rng((seed, self.stream)).permutation(len(choices))
        return LANGUAGES[index % 2], choices[order[(index // 2) % len(choices)]]

    def draw(self, rng: np.random.Generator, seed: int, index: int, split: Split) -> tuple[Language, Triple]:
        """Language and triple of a scene: by `turn` if held out, else all equally likely.

        Raises:
            ValueError: An unknown split.
        """
        if split == "heldout":
            return self.turn(seed, index)
        choices = self.triples(split)
        return LANGUAGES[int(rng.integers(2))], choices[int(rng.integers(len(choices)))]


@cache  # every scene asks for them
def _triples_of(design: HeldoutDesign, split: Split) -> tuple[Triple, ...]:
    wanted = split_of(split)
    triples = (triple for triple in product(*design.values) if design.valid(*triple))
    return tuple(triple for triple in triples if wanted is None or design.is_heldout(*triple) == wanted)


MOTION_DESIGN: Final = HeldoutDesign(
    names=("shape", "colour", "motion"),
    values=(SHAPES, COLOURS, MOTIONS),
    steps=(3, 7),
    stream=0xEA,
    valid=is_valid,
)


def is_heldout(shape: str, colour: str, motion: str) -> bool:
    """Whether (shape, colour, motion) is kept out of training.

    Raises:
        ValueError: A name is not in the vocabulary.
    """
    return MOTION_DESIGN.is_heldout(shape, colour, motion)


def triples(split: Split) -> tuple[Triple, ...]:
    """All (shape, colour, motion) triples of a split that can be shown, in vocabulary order."""
    return MOTION_DESIGN.triples(split)


def may_show(shape: str, colour: str, motion: str, split: Split) -> bool:
    """Whether a scene of a split may have a shape that moves like this, beside what the split is about."""
    return is_valid(shape, colour, motion) and (split == "all" or not is_heldout(shape, colour, motion))


def allowed_motions(shape: str, colour: str, split: Split) -> list[str]:
    """The motions of `may_show`, in vocabulary order."""
    return [motion for motion in MOTIONS if may_show(shape, colour, motion, split)]


def sample_variant(rng: np.random.Generator) -> int:
    """Draw the wording of a caption."""
    return int(rng.integers(1, _MAX_VARIANT))
