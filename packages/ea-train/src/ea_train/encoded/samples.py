"""Encodings of a batch: out of a store, and into it.

In a batch they are entries `encoded/ROLE/FIELD`, tensors whose first axis is the samples, and `encoded/ROLE`,
a list that says for which samples they are there. Roles are those of `EncodingPlan`.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from ea_data.store import CacheStore, CorruptSampleError, Field, MissingSampleError, Recipe
from ea_data.store.layout import create_store
from ea_data.training.shapes import BatchShape
from ea_train.encoded.digests import FileDigests
from ea_train.encoded.plan import TEXT, DrawnSample, EncodingPlan

CacheMode = Literal["read", "fill"]
WANTED: Final = "encoded wanted"
"""Entry of a batch with a `Wanted` for each sample, where what is missing is to be stored."""

_STALE_SECONDS: Final = 60.0
_PREFIX: Final = "encoded/"
Fields = Mapping[str, Field]


@dataclass(frozen=True)
class Wanted:
    """What a sample needs.

    Attributes:
        recipes: By role.
        source: Its file, for people.
        variant: Which of its clips, for people.
    """

    recipes: Mapping[str, Recipe]
    source: str
    variant: str


@dataclass(frozen=True)
class Found:
    """What a store has of a batch.

    Attributes:
        wanted: Of every sample.
        fields: By role, of every sample, None where it is missing.
    """

    wanted: Sequence[Wanted]
    fields: Mapping[str, Sequence[Fields | None]]

    @property
    def complete(self) -> bool:
        """Whether nothing has to be encoded."""
        return self.has(self.fields)

    def has(self, roles: Iterable[str]) -> bool:
        """Whether nothing has to be encoded for some roles."""
        return all(one is not None for role in roles for one in self.fields[role])

    @property
    def rates(self) -> Tensor:
        """(B,) frames per second of the files, as the clips that were encoded had them."""
        kept = [one for one in self.fields["video"] if one is not None]
        return torch.cat([one["fps"].to_torch() for one in kept])

    def entries(self) -> dict[str, Any]:
        """As entries of a batch; see above."""
        made: dict[str, Any] = {}
        for role, every in self.fields.items():
            there = [one is not None for one in every]
            example = next((one for one in every if one is not None), None)
            if example is None:
                continue
            made[f"{_PREFIX}{role}"] = there
            for name in example:
                if name != "fps":
                    made[f"{_PREFIX}{role}/{name}"] = _stacked(every, name, example[name].to_torch())
        return made


class EncodedSamples:
    """The encodings of a data set, as far as a store has them; processes that load may share it.

    Args:
        folder: Of the store, which is made if it is not there.
        plan: What is encoded.
        mode: "fill" also asks for what is missing to be stored.
        report: Called with each damaged shard, once.
    """

    def __init__(
        self,
        folder: Path,
        plan: EncodingPlan,
        mode: CacheMode = "read",
        report: Callable[[str], None] | None = None,
    ) -> None:
        create_store(folder)
        self.folder, self.plan, self.mode = folder, plan, mode
        self.store = CacheStore(folder)
        self.digests = FileDigests(folder)
        self._report = _tell if report is None else report
        self._damaged: set[str] = set()
        self._seen = time.monotonic()
        for problem in self.store.problems:
            self._report(f"{problem}; what it holds is encoded again")

    def find(self, samples: Sequence[DrawnSample], shape: BatchShape) -> Found:
        """What the store has of a batch.

        Raises:
            ValueError: A file cannot be read.
        """
        wanted = [
            Wanted(
                self.plan.recipes(sample, shape, self.digests),
                str(sample.entry.path),
                _variant(sample, shape),
            )
            for sample in samples
        ]
        found = self._found(wanted)
        if found.complete or self.mode == "read" or time.monotonic() - self._seen < _STALE_SECONDS:
            return found
        self.store.refresh()  # others, and the process that trains, add what was missing
        self._seen = time.monotonic()
        return self._found(wanted)

    def _found(self, wanted: Sequence[Wanted]) -> Found:
        roles = (*self.plan.roles, TEXT)
        return Found(wanted, {role: [self.read(one.recipes[role]) for one in wanted] for role in roles})

    def read(self, recipe: Recipe) -> Fields | None:
        """A sample; None where it is missing, or damaged, which is told."""
        try:
            return self.store.read(recipe.key)
        except MissingSampleError:
            return None
        except CorruptSampleError as error:
            if error.shard not in self._damaged:
                self._damaged.add(error.shard)
                self._report(f"{error.shard} in {self.folder}: {error}; encoded again")
            return None


@dataclass(frozen=True)
class Kept:
    """What a batch brings of one role.

    Attributes:
        there: For each sample whether it is there.
        fields: (B, ...) by name; zeros for samples that are not.
    """

    there: Sequence[bool]
    fields: Mapping[str, Tensor]


def kept_of(batch: Mapping[str, Any]) -> dict[str, Kept]:
    """What a batch brings, by role."""
    roles = [name.removeprefix(_PREFIX) for name in batch if name.startswith(_PREFIX)]
    found: dict[str, Kept] = {}
    for role in roles:
        if "/" in role:
            continue
        start = f"{_PREFIX}{role}/"
        fields = {name.removeprefix(start): value for name, value in batch.items() if name.startswith(start)}
        found[role] = Kept(batch[f"{_PREFIX}{role}"], fields)
    return found


def _stacked(every: Sequence[Fields | None], name: str, example: Tensor) -> Tensor:
    empty = torch.zeros_like(example)
    return torch.stack([empty if one is None else one[name].to_torch() for one in every])


def _variant(sample: DrawnSample, shape: BatchShape) -> str:
    frames = sample.choices.frames
    size = f"{shape.width}x{shape.height}"
    return f"frames {frames[0]} to {frames[-1]}, {size}{', mirrored' if sample.choices.flipped else ''}"


def _tell(line: str) -> None:
    sys.stderr.write(f"cache: {line}\n")
