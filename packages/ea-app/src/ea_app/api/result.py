"""What a job gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash
from torch import Tensor

from ea_dit.pipelines import GenerationRequest
from ea_dit.pipelines.run import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a job gives.

    Attributes:
        frames: uint8 (T, H, W, 3), as they were written.
        path: The file, None when none was asked for.
        request: The request as it was run.
        timings: Seconds by stage, and "total".
        record: What is in the file and in the JSON beside it.
        notices: What could not be kept or gone on from, see `ea_app.api.Resume`.
    """

    frames: Tensor
    path: Path | None
    request: GenerationRequest
    timings: Mapping[str, float]
    record: Mapping[str, Any]
    notices: tuple[str, ...] = ()

    @property
    def seed(self) -> int:
        """Seed of the request."""
        return self.request.seed

    @property
    def frames_hash(self) -> str:
        """Hash of the frames (xxh3, 32 hex digits): equal when they are identical."""
        return self.record["frames"]["xxh3"]


def frames_entry(frames: Tensor, run: Run) -> dict[str, Any]:
    """What a record says about frames: hash, shape, and where windows meet and how visible that is."""
    entry: dict[str, Any] = {"xxh3": hash_frames(frames), "shape": list(frames.shape)}
    joints = [{"frame": seam.frame, "score": round(seam.score, 3)} for seam in run.meter.seams()]
    return {**entry, "joints": joints} if joints else entry


def hash_frames(frames: Tensor) -> str:
    """Hash of uint8 frames (xxh3, 32 hex digits)."""
    return xxhash.xxh3_128(frames.contiguous().numpy().data).hexdigest()
