"""Which samples of a list a store has, which it lacks, and which it has of something else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ea_data.store.contents import shards_of
from ea_data.store.errors import CacheError
from ea_data.store.fields import layout_bytes
from ea_data.store.index import StoreIndex
from ea_data.store.layout import open_paths
from ea_data.store.manifest import label_hash
from ea_data.store.recipe import Recipe, digest_file, digest_text

__all__ = ["Plan", "PlannedSample", "Wanted", "plan_samples", "read_wanted", "stale_reasons"]

State = Literal["present", "missing", "stale"]
_NAMES = ("source", "variant", "inputs", "transform", "encoders", "code")


@dataclass(frozen=True)
class Wanted:
    """A sample that somebody wants.

    Attributes:
        recipe: What it is made of.
        source: Where its media lie.
        variant: Which of several crops or captions of the source it is.
    """

    recipe: Recipe
    source: str = ""
    variant: str = ""


@dataclass(frozen=True)
class PlannedSample:
    """A wanted sample and what the store has of it.

    Attributes:
        wanted: What was asked for.
        state: present; missing; or stale: missing, and the store has another of its source and variant.
        differs: Of a stale one, what is not as it was, such as ("encoders.vae",).
    """

    wanted: Wanted
    state: State
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What has to be made.

    Attributes:
        samples: One for each different key, in the order of the list.
        repeated: How many of the list have the key of an earlier one.
        mean_bytes: Of those of the list that are present; of the store if none is; 0 if that is empty.
        free_bytes: On the disk of the store.
    """

    samples: tuple[PlannedSample, ...]
    repeated: int
    mean_bytes: int
    free_bytes: int

    @property
    def counts(self) -> dict[str, int]:
        """How many samples are in each state."""
        counted = Counter(sample.state for sample in self.samples)
        return {state: counted[state] for state in ("present", "missing", "stale")}

    @property
    def to_make(self) -> int:
        """How many samples are not there."""
        return len(self.samples) - self.counts["present"]


def read_wanted(path: str | Path) -> list[Wanted]:
    """Read a list of wanted samples: a JSON object a line, a recipe with `source` and `variant`.

    An input is a digest, {"file": path beside the list} or {"text": caption}; the last two are hashed here.

    Raises:
        CacheError: A row is wrong, named by its line, or a file cannot be read.
    """
    path = Path(path)
    wanted: list[Wanted] = []
    digests: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                wanted.append(_wanted(json.loads(line), path.parent, digests))
            except (ValueError, RecursionError) as error:
                raise CacheError(f"{path}:{number}: {error}") from error
    return wanted


def plan_samples(folder: str | Path, wanted: Iterable[Wanted]) -> Plan:
    """Compare a list with a store.

    Raises:
        CacheError: The folder is no store.
    """
    paths = open_paths(folder)
    different: dict[str, Wanted] = {}
    count = 0
    for each in wanted:
        different.setdefault(each.recipe.key, each)
        count += 1
    shards = list(shards_of(paths))
    index = StoreIndex.of([(number, shard.index) for number, shard in enumerate(shards)])
    absent = {key: each for key, each in different.items() if index.position(key) < 0}
    stale = stale_reasons(folder, list(absent.values()))
    samples = tuple(
        PlannedSample(each, "present")
        if key not in absent
        else PlannedSample(each, "stale" if key in stale else "missing", stale.get(key, ()))
        for key, each in different.items()
    )
    places = [index.places(index.position(key))[0] for key in different if key not in absent]
    if places:
        sizes = [layout_bytes(shards[place.shard].index.facts.layouts[place.layout]) for place in places]
        mean = sum(sizes) // len(sizes)
    else:
        mean = sum(shard.index.facts.bytes for shard in shards) // max(1, len(index))
    return Plan(samples, count - len(different), mean, shutil.disk_usage(paths.folder).free)


def stale_reasons(folder: str | Path, absent: Iterable[Wanted]) -> dict[str, tuple[str, ...]]:
    """For samples that a store lacks, what differs from the nearest one that it has of source and variant.

    Returns:
        Names of what differs, by key; without those of which the store has no other.
    """
    by_label: dict[int, list[Wanted]] = {}
    for each in absent:
        if each.source or each.variant:
            by_label.setdefault(label_hash(each.source, each.variant), []).append(each)
    found: dict[str, tuple[str, ...]] = {}
    for shard in shards_of(open_paths(folder)) if by_label else ():
        try:
            labels, notes = shard.labels_and_notes()
        except CacheError:  # damaged: it cannot be told what they are, and `verify` says so
            continue
        for sample, label in enumerate(labels):
            if label not in by_label:
                continue
            other = Recipe.from_json(json.loads(notes[sample])["recipe"])
            for each in by_label[label]:
                differs = tuple(each.recipe.differences(other))
                key = each.recipe.key
                if key not in found or len(differs) < len(found[key]):
                    found[key] = differs
    return found


def _wanted(row: Any, folder: Path, digests: dict[str, str]) -> Wanted:
    if not isinstance(row, dict):
        raise CacheError(f"a row must be an object, got {type(row).__name__}")
    if unknown := sorted(set(row) - set(_NAMES)):
        raise CacheError(f"unknown {unknown[0]!r}; allowed: {', '.join(_NAMES)}")
    labels = {name: row.pop(name, "") for name in ("source", "variant")}
    for name, value in labels.items():
        if not isinstance(value, str):
            raise CacheError(f"{name} must be text, got {value!r}")
    if isinstance(row.get("inputs"), dict):
        row["inputs"] = {name: _digest(value, folder, digests) for name, value in row["inputs"].items()}
    return Wanted(Recipe.from_json(row), labels["source"], labels["variant"])


def _digest(value: Any, folder: Path, digests: dict[str, str]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "text" and isinstance(content, str):
            return digest_text(content)
        if kind == "file" and isinstance(content, str):
            if content not in digests:
                digests[content] = digest_file(folder / content)
            return digests[content]
    raise CacheError(f'an input must be a digest, {{"file": PATH}} or {{"text": TEXT}}, got {value!r}')
