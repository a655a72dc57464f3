"""Text states of captions, encoded once: denoiser training never waits for the text encoder.

Every clip is described in a few wordings in each language. Wordings that are the same are encoded once.
"""

import random

import torch
from torch import Tensor

from ea_data.synthetic.vocabulary import LANGUAGES
from ea_dit.text.bytes import ByteTextEncoder
from ea_train.sources import ClipSource

_VARIANTS = 1 << 20
_BATCH = 256


class PromptTable:
    """Text states of the captions of clips 0 ... N - 1, and of the empty prompt.

    Half of the wordings of each language are the canonical sentence, as a user would type it.

    Args:
        encoder: Text encoder; used here and not kept.
        captions: Where the words come from.
        clips: N.
        wordings: Of each clip in each language, 1 or more.

    Raises:
        ValueError: A caption is too long for the encoder.
    """

    def __init__(self, encoder: ByteTextEncoder, captions: ClipSource, *, clips: int, wordings: int) -> None:
        texts = {"": 0}
        rows = [
            [texts.setdefault(text, len(texts)) for text in _wordings(captions, clip, wordings)]
            for clip in range(clips)
        ]
        self._rows_NV = torch.tensor(rows, dtype=torch.int32)
        self._states_UKD = _encode(encoder, list(texts))

    def draw(self, rows: list[int], rng: random.Random, *, dropout: float) -> Tensor:
        """One wording of each of these clips.

        Args:
            rows: B clips.
            rng: Chooses the wordings.
            dropout: Share of clips that get the empty prompt.

        Returns:
            (B, K, D) float32.
        """
        variants = self._rows_NV.shape[1]
        chosen = [
            0 if rng.random() < dropout else int(self._rows_NV[row, rng.randrange(variants)]) for row in rows
        ]
        return self._states_UKD[chosen].float()


def _wordings(captions: ClipSource, clip: int, wordings: int) -> list[str]:
    rng = random.Random(clip)
    variants = [0 if number % 2 == 0 else rng.randrange(1, _VARIANTS) for number in range(wordings)]
    return [
        captions.caption(clip, variant=variant, language=name) for name in LANGUAGES for variant in variants
    ]


@torch.no_grad()
def _encode(encoder: ByteTextEncoder, texts: list[str]) -> Tensor:
    device = encoder.embedding.weight.device
    parts = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    return torch.cat([encoder(encoder.tokenize(part).to(device)).half().cpu() for part in parts])
