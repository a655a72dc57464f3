"""Encode what a run is going to need into its store; what is there is not made again."""

import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch

from ea_train.encoded.plan import TEXT
from ea_train.encoded.samples import WANTED, EncodedSamples, Wanted, kept_of
from ea_train.encoded.writing import EncodedWriter, text_fields
from ea_train.filling.jobs import DIGESTS, Jobs, numbers_of, opened, texts_of
from ea_train.filling.progress import Progress
from ea_train.loop.batches import workers_watched
from ea_train.loop.parallel import World
from ea_train.loop.signals import StopRequest
from ea_train.model import FrozenLoader, read_model
from ea_train.recipes.finetune import EncodedRun, clips_of
from ea_train.tasks.denoise_encoders import Encoders
from ea_train.tasks.denoise_pixels import Clip, fitted, ray_channels, reference_picture, role_pixels

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Filled:
    """What was done.

    Attributes:
        made: Number of encodings that were made.
        stopped: Whether somebody asked to stop before the end.
    """

    made: int
    stopped: bool


def fill(
    settings: EncodedRun,
    *,
    device: torch.device,
    world: World | None = None,
    workers: int = 0,
    tell: Tell | None = None,
) -> Filled:
    """Encode the captions, then the clips, of the distinct epochs of a run and of its validation.

    Args:
        settings: Of the run, with `data.cache` and `data.cache_mode` "fill".
        device: Where encoders work.
        world: The processes that share the work; this one alone by default.
        workers: Processes that open files, for each of these.
        tell: Called with lines for people.

    Raises:
        ValueError: The model, the data and the settings do not fit, or nothing of a bucket can be read.
        CacheError: The store cannot be written, such as on a full disk; what was published before stays.
    """
    clips = clips_of(settings, device)
    assert clips.encoded is not None
    rank, size = (0, 1) if world is None else (world.rank, world.size)
    # There is room: the transformer is not loaded.
    model = replace(settings.model, low_vram=False)
    load = FrozenLoader(model, read_model(model)[0], device)
    stop = StopRequest()
    filler = _Filler(settings, clips.encoded, load, stop, tell or _say)
    with stop.listening(), closing(filler), workers_watched("--workers"):
        filler.texts(texts_of(clips, rank=rank, size=size))
        if not stop.made:
            filler.clips(Jobs(clips, numbers_of(clips, rank=rank, size=size)), workers)
    return Filled(filler.writer.made, stop.made)


class _Filler:
    def __init__(
        self,
        settings: EncodedRun,
        encoded: EncodedSamples,
        load: FrozenLoader,
        stop: StopRequest,
        tell: Tell,
    ) -> None:
        self.writer = EncodedWriter(encoded.folder)
        self._settings, self._encoded = settings, encoded
        self._load, self._stop, self._tell = load, stop, tell
        self._warned = False

    def close(self) -> None:
        self.writer.close()
        self._encoded.digests.save()

    @torch.no_grad()
    def texts(self, texts: list[str]) -> None:
        """Captions, one at a time: the states of one do not depend on others."""
        plan = self._encoded.plan
        wanted = [Wanted({TEXT: plan.text_recipe(text)}, "", text) for text in texts]
        missing = [one for one in wanted if self._encoded.read(one.recipes[TEXT]) is None]
        if not missing:
            return
        encoder = self._load.text_encoder()
        self._load.stilled(text_encoder=encoder)
        progress = Progress("captions", len(missing), tell=self._tell)
        for one in missing:
            states = text_fields(encoder.encode([one.variant]))
            self.writer.put(one, TEXT, {name: tensor[0] for name, tensor in states.items()})
            progress.step(worked=True)
            if self._stop.made:
                return

    @torch.no_grad()
    def clips(self, jobs: Jobs, workers: int) -> None:
        """Clips, and what is encoded beside them."""
        progress = Progress("batches", len(jobs), tell=self._tell)
        encoders: Encoders | None = None
        self._encoded.store.refresh()
        for done, batch in enumerate(opened(jobs, workers), start=1):
            self._encoded.digests.take(batch[DIGESTS])
            if WANTED in batch:
                encoders = encoders or self._encoders()
                self._encode(encoders, batch)
                self._warn_of_little_room(done, len(jobs))
            progress.step(worked=WANTED in batch)
            if self._stop.made:
                return

    def _encoders(self) -> Encoders:
        load = self._load
        vae = load.vae()
        pictures = load.image_encoder() if "picture" in self._encoded.plan.roles else None
        load.stilled(vae=vae, image_encoder=pictures)
        return Encoders(vae, None, pictures)

    def _encode(self, encoders: Encoders, batch: dict[str, Any]) -> None:
        plan, wanted = self._encoded.plan, batch[WANTED]
        device = self._load.device
        batch = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }
        clip, known = fitted(batch, plan.traits, plan.geometry), kept_of(batch)
        for role in plan.roles:
            there = known[role].there if role in known else [False] * len(wanted)
            rows = [row for row, one in enumerate(there) if not (one or self.writer.has(wanted[row], role))]
            if rows:
                self._encode_role(encoders, role, clip, wanted, rows)

    def _encode_role(
        self, encoders: Encoders, role: str, clip: Clip, wanted: list[Wanted], rows: list[int]
    ) -> None:
        if role == "rays":
            made = {"channels": ray_channels(clip, self._encoded.plan.geometry)[rows]}
        elif role == "picture":
            pooled = self._encoded.plan.traits.image_states == "pooled"
            pictures = reference_picture(clip)[rows].split(1)
            made = {"states": torch.cat([encoders.picture(one, pooled=pooled) for one in pictures])}
        else:
            made = self._moments(encoders, role_pixels(role, clip, self._encoded.plan.traits)[rows])
        for place, row in enumerate(rows):
            tensors = {name: tensor[place] for name, tensor in made.items()}
            if role == "video":
                assert clip.fps_B is not None  # data sets that open files have it
                tensors["fps"] = clip.fps_B[row : row + 1].float()
            self.writer.put(wanted[row], role, tensors)

    def _moments(self, encoders: Encoders, video_BCTHW: torch.Tensor) -> dict[str, torch.Tensor]:
        parts = video_BCTHW.split(self._settings.encoding.vae_batch)
        posteriors = [encoders.posterior(part) for part in parts]
        return {name: torch.cat([getattr(one, name) for one in posteriors]) for name in ("mean", "logvar")}

    def _warn_of_little_room(self, done: int, total: int) -> None:
        """Say early that a disk will not do."""
        needed = self.writer.bytes / done * (total - done)
        free = shutil.disk_usage(self._encoded.folder).free
        if needed > free and not self._warned:
            self._warned = True
            self._tell(
                f"about {needed / 1e9:.3g} GB more are needed in {self._encoded.folder}, "
                f"{free / 1e9:.3g} GB are free"
            )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
