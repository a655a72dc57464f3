"""What one sample is, where it lies, and why it is not what somebody wants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ea_data.store.contents import Shard, sample_bytes, shards_of
from ea_data.store.errors import CacheError
from ea_data.store.layout import open_paths
from ea_data.store.plan import Wanted, stale_reasons
from ea_data.store.reader import DamageError, ShardFiles
from ea_data.store.recipe import KEY_LETTERS, Recipe, key_numbers

__all__ = ["Explanation", "explain_sample"]

_SHORTEST = 6


@dataclass(frozen=True)
class Explanation:
    """One copy of a sample, or a key without one.

    Attributes:
        key: Whole; as it was asked for where nothing fits.
        state: good, damaged or missing.
        reason: What is damaged, or why it is missing; empty for a good one.
        shard: Name of the shard that holds it, empty if none does.
        made: When the shard was written, in seconds since 1970.
        bytes: Of its arrays.
        fields: Number type and shape by name.
        source: Where its media lay.
        variant: Which crop or caption of the source it is.
        recipe: What it is made of.
    """

    key: str
    state: Literal["good", "damaged", "missing"]
    reason: str = ""
    shard: str = ""
    made: float = 0.0
    bytes: int = 0
    fields: dict[str, str] | None = None
    source: str = ""
    variant: str = ""
    recipe: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """As an object that JSON can hold."""
        return asdict(self)


def explain_sample(folder: str | Path, query: str, wanted: Iterable[Wanted] = ()) -> list[Explanation]:
    """Say what is known of a key, of the first digits of one, or of all samples of a source.

    Args:
        folder: Of the store.
        query: A key, at least six first digits of one, or a source as it was given to the writer.
        wanted: What somebody wants, to say of a missing key what is not as it was.

    Returns:
        One for each copy of each sample that fits, at least one.

    Raises:
        CacheError: The folder is no store.
        ValueError: The query is empty.
    """
    if not query.strip():
        raise ValueError("the sample to explain is empty; allowed: a key, its first digits, or a source")
    paths = open_paths(folder)
    files = ShardFiles(paths.shards)
    found: list[Explanation] = []
    for fitting in (_of_key, _of_source):
        if not found:
            found = [_explained(s, sample, files) for s in shards_of(paths) for sample in fitting(s, query)]
    by_key = {each.recipe.key: each for each in wanted}
    missing = {key: each for key, each in by_key.items() if query in (key, each.source)} if by_key else {}
    there = {explanation.key for explanation in found}
    missing = {key: each for key, each in missing.items() if key not in there}
    found += [_of_missing(folder, key, each) for key, each in missing.items()]
    if not found:
        unusable = len(paths.shard_names()) - sum(1 for _ in shards_of(paths))
        more = f"; {unusable} of its manifests cannot be used" if unusable else ""
        what = (
            "such sample" if _is_key(query, KEY_LETTERS) else "sample of such a source or beginning of a key"
        )
        return [Explanation(query, "missing", f"the store has no {what}{more}")]
    return found


def _of_missing(folder: str | Path, key: str, wanted: Wanted) -> Explanation:
    reasons = stale_reasons(folder, [wanted])
    if key in reasons:
        reason = f"the store has it with another {', '.join(reasons[key])}"
    else:
        reason = "the store has nothing of its source and variant"
    return Explanation(
        key, "missing", reason, source=wanted.source, variant=wanted.variant, recipe=wanted.recipe.as_json()
    )


def _of_key(shard: Shard, query: str) -> Iterator[int]:
    """Samples whose key begins with the query."""
    if not _is_key(query, _SHORTEST):
        return
    (low_1, low_2), (high_1, high_2) = (key_numbers(query.ljust(KEY_LETTERS, digit)) for digit in "0f")
    first, second = shard.index.keys.T
    after = (first > low_1) | ((first == low_1) & (second >= low_2))
    before = (first < high_1) | ((first == high_1) & (second <= high_2))
    yield from np.flatnonzero(after & before).tolist()


def _of_source(shard: Shard, query: str) -> Iterator[int]:
    try:
        notes = shard.notes()
    except CacheError:
        return
    for sample, note in enumerate(notes):
        if json.loads(note)["source"] == query:
            yield sample


def _explained(shard: Shard, sample: int, files: ShardFiles) -> Explanation:
    layout = shard.index.facts.layouts[int(shard.index.layouts[sample])]
    reasons: list[str] = []
    try:
        shard.read(files, sample)
    except DamageError as error:
        reasons.append(str(error))
    source, variant, recipe = "", "", None
    try:
        note = shard.note(sample)
        source, variant, recipe = note.source, note.variant, dict(note.recipe) or None
        if recipe and Recipe.from_json(recipe).key != shard.key(sample):
            reasons.append("its recipe does not give its key")
    except CacheError as error:
        reasons.append(str(error))
    return Explanation(
        key=shard.key(sample),
        state="damaged" if reasons else "good",
        reason="; ".join(reasons),
        shard=shard.name,
        made=shard.index.facts.made,
        bytes=sample_bytes(shard, sample),
        fields={entry.name: f"{entry.dtype} {'x'.join(map(str, entry.shape))}" for entry in layout},
        source=source,
        variant=variant,
        recipe=recipe,
    )


def _is_key(query: str, shortest: int) -> bool:
    return shortest <= len(query) <= KEY_LETTERS and set(query) <= set("0123456789abcdef")
