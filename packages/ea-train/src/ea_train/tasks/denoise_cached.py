"""Cached latents of the bundled model: text, image-conditioned and masked clips in one batch."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf, prod

import torch

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.timesteps import SigmaSampling
from ea_dit.families.mmdit import MMDiT, MMDiTConfig
from ea_dit.text.base import TextStates
from ea_dit.text.bytes import ByteTextEncoder
from ea_dit.types import Conditioning
from ea_train.adapters import Trained
from ea_train.latent_cache import LatentCache
from ea_train.objectives.errors import ErrorConfig
from ea_train.objectives.flow import FlowObjective
from ea_train.prompts import PromptTable
from ea_train.shards import fingerprint
from ea_train.sources import ClipSource
from ea_train.tasks.base import Batch, Place
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_source import Sample

_HELD_OUT_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class DenoiseConfig:
    """What is drawn from the caches, and what counts.

    Attributes:
        sigmas: Noise levels. Much noise, where the text decides what is made, is drawn more often than
            little.
        prompt_dropout: Share of samples that see the empty prompt, for guidance.
        wordings: Captions of each clip in each language that training draws from.
        latent_weights: What an error in each latent channel counts, relative to the others; empty counts all
            alike. Latents of unit variance are loud in channels that a decoder hardly listens to.
        emphasis: (word, times): clips whose English caption has the word are drawn that many times as often
            as others, for what is learned last. Several words of one caption multiply.
        condition_dropout: Share of conditioned clips that are trained as text to video all the same.
        latent_lengths: (latent frames, weight) to draw from, one length per batch; shorter clips are the
            beginnings of cached ones, which a causal autoencoder encodes the same way. 0 stands for the whole
            clip. Short ones come in batches as many times larger as fit into the tokens of whole ones.
        validation_clips: Cached clips, the last ones, that are never trained on.
    """

    sigmas: SigmaSampling = field(
        default_factory=lambda: SigmaSampling(density="logit_normal", mean=1.1, std=1.3, stratified=True)
    )
    prompt_dropout: float = 0.1
    wordings: int = 6
    latent_weights: tuple[float, ...] = ()
    emphasis: tuple[tuple[str, float], ...] = ()
    condition_dropout: float = 0.3
    latent_lengths: tuple[tuple[float, ...], ...] = ((0, 0.75), (1, 0.25))
    validation_clips: int = 256

    def __post_init__(self) -> None:
        """Refuse lengths that no batch can have, and weights that weigh nothing."""
        lengths = self.latent_lengths
        if not lengths or any(len(pair) != 2 or pair[0] < 0 or pair[0] % 1 for pair in lengths):
            raise ValueError(f"task.latent_lengths must list (latent frames, weight), got {lengths}")
        for name in ("validation_clips", "wordings"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} must be at least 1, got {getattr(self, name)}")
        if self.latent_weights and (min(self.latent_weights) < 0 or max(self.latent_weights) == 0):
            raise ValueError(
                f"task.latent_weights must be numbers from 0, not all of them 0, got {self.latent_weights}"
            )
        if any(len(pair) != 2 or not pair[0].strip() or not 0 < pair[1] < inf for pair in self.emphasis):
            raise ValueError(f"task.emphasis must list (word, times above 0), got {self.emphasis}")


class CachedClips:
    """Cached latents with the captions of their clips, a `BatchSource`.

    Args:
        transformer: Config of the denoiser, whose tokens are counted.
        text_encoder: Frozen; run once on all captions.
        caches: Latents of clips, one cache per clip size; `captions` gives the words of clip `index`.
        captions: The source that the caches were made from.
        config: What is drawn.

    Raises:
        ValueError: A cache has no clip left for training, or a caption is too long.
    """

    def __init__(
        self,
        transformer: MMDiTConfig,
        text_encoder: ByteTextEncoder,
        caches: list[LatentCache],
        captions: ClipSource,
        config: DenoiseConfig,
    ) -> None:
        self.config = config
        self.patch_size = transformer.patch_size
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.caches = caches
        self.captions = captions
        self.inputs = {"clips": captions.describe(), "text encoder": fingerprint(text_encoder)}
        for number, cache in enumerate(caches):
            self.inputs[f"autoencoder of cache {number}"] = cache.autoencoder
            if len(cache) <= config.validation_clips:
                raise ValueError(
                    f"task.validation_clips is {config.validation_clips}, but cache {number} holds only "
                    f"{len(cache)} clips"
                )
        self._prompts = PromptTable(
            self.text_encoder, captions, clips=max(map(len, caches)), wordings=config.wordings
        )
        longest = max(map(len, caches)) - config.validation_clips
        self._shares = _running_shares(captions, config.emphasis, clips=longest)

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """Latents, conditions and prompt bytes of randomly drawn clips."""
        rng = random.Random(seed << 32 | place.batch)
        cache = rng.choice(self.caches)
        lengths = self.config.latent_lengths
        length = int(rng.choices([pair[0] for pair in lengths], weights=[pair[1] for pair in lengths])[0])
        length = length or cache.latents.shape[2]
        count = size * max(self._tokens(cache, cache.latents.shape[2]) // self._tokens(cache, length), 1)
        clips = range(len(cache) - self.config.validation_clips)
        rows = rng.choices(clips, cum_weights=self._shares[: len(clips)], k=count)
        return self._gather(cache, rows, rng, length=length)

    def _tokens(self, cache: LatentCache, length: int) -> int:
        """Tokens of one clip with its text."""
        height, width = cache.latents.shape[3:]
        patch = self.patch_size
        return length * (height // patch) * (width // patch) + self.text_encoder.config.num_tokens

    def prepare(self, batch: Batch, generator: torch.Generator) -> Sample:
        """The batch as it is: everything is encoded already."""
        del generator
        states_BKD = batch["text"]
        mask_BK = torch.ones(states_BKD.shape[:2], dtype=torch.bool, device=states_BKD.device)
        return Sample(
            latents_BCthw=batch["latents"],
            text=TextStates(states_BKD, mask_BK),
            conditioning=Conditioning(inpaint_latents=batch["condition"]),
        )

    def close(self) -> None:
        """Nothing is kept."""

    def held_out(self) -> Iterator[Batch]:
        """The last clips of the first cache, whole, in their order."""
        cache, rng = self.caches[0], random.Random(0)
        rows = range(len(cache) - self.config.validation_clips, len(cache))
        for start in range(0, len(rows), _HELD_OUT_BATCH):
            chosen = list(rows[start : start + _HELD_OUT_BATCH])
            yield self._gather(cache, chosen, rng, length=cache.latents.shape[2])

    def _gather(self, cache: LatentCache, rows: list[int], rng: random.Random, *, length: int) -> Batch:
        latents = cache.latents[rows, :, :length].float()
        whole = cache.latents.shape[2]
        condition = torch.zeros(len(rows), latents.shape[1] + 1, *latents.shape[2:])
        for place, row in enumerate(rows):
            kind = int(cache.kind_of[row])
            # A shortened clip has lost its last frame: only first-frame and box conditions still describe it.
            usable = kind in (1, 4) or (kind in (2, 3) and length == whole)
            if usable and rng.random() >= self.config.condition_dropout and (length > 1 or kind == 4):
                condition[place] = cache.conditions[cache.condition_of[row], :, :length].float()
        return {
            "latents": latents,
            "condition": condition,
            "text": self._prompts.draw(rows, rng, dropout=self.config.prompt_dropout),
        }


def cached_task(
    transformer: MMDiT,
    text_encoder: ByteTextEncoder,
    caches: list[LatentCache],
    captions: ClipSource,
    config: DenoiseConfig,
    *,
    trained: Trained | None = None,
) -> DenoiseTask:
    """The denoise task of the bundled model: a flow on cached latents.

    Args:
        transformer: The denoiser.
        text_encoder: Frozen; run once on all captions.
        caches: Latents of clips.
        captions: The source that the caches were made from.
        config: What is drawn and what counts.
        trained: What learns; the whole transformer if None.

    Raises:
        ValueError: The settings do not fit the transformer or the caches.
    """
    weights, channels = config.latent_weights, transformer.config.out_channels
    if weights and len(weights) != channels:
        raise ValueError(f"task.latent_weights must be {channels} numbers, got {len(weights)}")
    objective = FlowObjective(
        flow=FlowMatching(),
        levels=config.sigmas,
        errors=ErrorConfig(limit=0.0, channel_weights=weights),
    )
    source = CachedClips(transformer.config, text_encoder, caches, captions, config)
    return DenoiseTask(transformer, source, objective, trained=trained)


def _running_shares(
    captions: ClipSource, emphasis: tuple[tuple[str, float], ...], *, clips: int
) -> list[float]:
    """How often clips 0 ... N - 1 are drawn, each added to those before it.

    Raises:
        ValueError: A word of `emphasis` is in no caption.
    """
    times = {re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE): factor for word, factor in emphasis}
    unseen = set(times)

    def share(clip: int) -> float:
        text = captions.caption(clip, variant=0, language="en") if times else ""
        found = [word for word in times if word.search(text)]
        unseen.difference_update(found)
        return prod(times[word] for word in found)

    shares = list(accumulate(map(share, range(clips))))
    if unseen:
        missing = [word for (word, _), pattern in zip(emphasis, times, strict=True) if pattern in unseen]
        raise ValueError(f"task.emphasis: no caption has {', '.join(map(repr, missing))}")
    return shares
