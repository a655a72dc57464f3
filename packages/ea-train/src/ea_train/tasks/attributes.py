"""Pre-train a text encoder to state, in its tokens, what a caption says.

Each attribute of a scene (how many shapes; shape, colour and motion of each; the background) is read from a
text token of its own by a linear layer. What the caption leaves out is a class too. After this the encoder
is frozen, and the denoiser sees "red" as the same token whatever words, order or language said so; that is
what carries over to combinations that were never shown.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_data.synthetic import (
    BACKGROUND_KINDS,
    BACKGROUNDS,
    COLOURS,
    LANGUAGES,
    MOTIONS,
    SHAPES,
    caption,
    labels,
    mentioned,
    sample_scene,
)
from ea_data.synthetic.vocabulary import Split
from ea_dit.text.bytes import ByteTextEncoder, save_byte_encoder
from ea_train.objectives.quality import with_interval
from ea_train.tasks.base import Batch, Place, StepOutput

NUM_CLASSES: dict[str, int] = {
    "num_shapes": 2,
    "shape_1": len(SHAPES),
    "colour_1": len(COLOURS),
    "motion_1": len(MOTIONS),
    "shape_2": len(SHAPES),
    "colour_2": len(COLOURS),
    "motion_2": len(MOTIONS),
    "background_kind": len(BACKGROUND_KINDS),
    "background_1": len(BACKGROUNDS),
    "background_2": len(BACKGROUNDS),
}
"""Attributes in the order of the text tokens that carry them; class 0 is added for "not said"."""


@dataclass(frozen=True, kw_only=True)
class AttributesConfig:
    """Captions to train on.

    Attributes:
        data_seed: Seed of the procedural data set.
        empty_share: Empty prompts, the unconditional input of guidance.
        picture_share: Captions without motion.
        validation_captions: Captions of held-out scenes in a validation.
    """

    data_seed: int = 0
    empty_share: float = 0.02
    picture_share: float = 0.1
    validation_captions: int = 512


class AttributeReader(nn.Module):
    """One linear classifier per attribute, on the attribute's own text token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(width, count + 1) for count in NUM_CLASSES.values()])

    def forward(self, states_BKD: Tensor) -> list[Tensor]:
        """Logits (B, classes + 1) of every attribute."""
        return [head(states_BKD[:, index]) for index, head in enumerate(self.heads)]


class AttributesTask:
    """Classify what captions state.

    Args:
        encoder: The text encoder, with at least as many tokens as there are attributes.
        config: Captions.
    """

    def __init__(self, encoder: ByteTextEncoder, config: AttributesConfig) -> None:
        if encoder.config.num_tokens < len(NUM_CLASSES):
            raise ValueError(
                f"text.num_tokens must be at least {len(NUM_CLASSES)}, one per attribute, "
                f"got {encoder.config.num_tokens}"
            )
        self.config = config
        self.encoder = encoder
        self.reader = AttributeReader(encoder.config.width)
        self.modules: dict[str, nn.Module] = {"encoder": encoder, "reader": self.reader}
        self.trainable = {"generator": ["encoder", "reader"]}
        self.inputs: dict[str, str] = {}

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Captions of random training scenes with their attribute classes."""
        rng = random.Random(seed << 32 | place.batch)
        rows = [self._sample(rng, split="train") for _ in range(size)]
        return {
            "ids": self.encoder.tokenize([text for text, _ in rows]),
            "classes": torch.tensor([c for _, c in rows]),
        }

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Mean cross-entropy over attributes."""
        del generator, place
        logits = self.reader(self.encoder(batch["ids"]))
        classes = batch["classes"]
        loss = torch.stack([F.cross_entropy(x.float(), classes[:, i]) for i, x in enumerate(logits)]).mean()
        return StepOutput(
            losses={"generator": loss}, metrics={"accuracy": _all_right(logits, classes).mean()}
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Share of held-out captions with every attribute right."""
        rng = random.Random(-1)
        rows = [self._sample(rng, split="heldout") for _ in range(self.config.validation_captions)]
        device = next(self.encoder.parameters()).device
        right = []
        for start in range(0, len(rows), 64):
            texts, classes = zip(*rows[start : start + 64], strict=True)
            logits = self.reader(self.encoder(self.encoder.tokenize(texts).to(device)))
            right.append(_all_right(logits, torch.tensor(classes, device=device)))
        return with_interval("val/all_attributes_right", torch.cat(right).cpu())

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write the text encoder; the classifiers are not needed any more."""
        save_byte_encoder(self.encoder, directory, metadata=metadata)

    def _sample(self, rng: random.Random, *, split: Split) -> tuple[str, list[int]]:
        if rng.random() < self.config.empty_share:
            return "", [0] * len(NUM_CLASSES)
        spec = sample_scene(self.config.data_seed, rng.randrange(1 << 40), split=split, two_shapes=0.4)
        language, variant = rng.choice(LANGUAGES), rng.choice((0, rng.randrange(1, 1 << 30)))
        motion = rng.random() >= self.config.picture_share
        text = caption(spec, language, variant, motion=motion)
        known, said = labels(spec), mentioned(spec, language, variant, motion=motion)
        motions = known.motion if said.motion else (-1, -1)
        ground = (known.background_kind, *known.background_colour) if said.background else (-1, -1, -1)
        pairs = zip(known.shape, known.colour, motions, strict=True)
        ids = [known.num_shapes - 1, *(value for triple in pairs for value in triple), *ground]
        return text, [value + 1 for value in ids]


def _all_right(logits: list[Tensor], classes: Tensor) -> Tensor:
    guesses = torch.stack([x.argmax(dim=1) for x in logits], dim=1)
    return (guesses == classes).all(dim=1).float()
