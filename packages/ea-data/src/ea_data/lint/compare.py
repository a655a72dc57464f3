"""What is wrong with rows beside others: copies, leaks into the validation, repeated captions."""

from collections.abc import Iterator
from typing import Final

from ea_data.lint.captions import repeated_captions, same_caption
from ea_data.lint.copies import near_copies, same_content
from ea_data.lint.findings import Finding
from ea_data.lint.inspection import FactsOf, FileFacts
from ea_data.lint.rows import Row

__all__ = ["copy_findings", "repetition_findings"]

_SHOWN: Final = 60


def copy_findings(rows: list[Row], validation: list[Row], facts_of: FactsOf) -> Iterator[Finding]:
    """Rows whose file another row has too, within training, and in training and validation.

    A row of training that has a copy in the validation is told once for that, and once for its earliest copy
    in training. Copies within the validation are told of its rows.

    Args:
        rows: Of training.
        validation: Of the validation; may be empty.
        facts_of: What was found in each file.
    """
    for part in (rows, validation):
        yield from _copies(part, facts_of)
    if validation:
        yield from _leaks(rows, validation, facts_of)


def repetition_findings(rows: list[Row], least: int) -> Iterator[Finding]:
    """Captions that at least so many rows have; told at the first of them, with the others."""
    used = [row for row in rows if row.entry is not None]
    texts = [row.entry.text for row in used if row.entry is not None]
    for text, places in repeated_captions(texts, least):
        first, *others = (used[place] for place in places)
        yield first.finding(
            "caption-repeated", f"{len(places)} rows have the caption {text[:_SHOWN]!r}", *others
        )


def _copies(rows: list[Row], facts_of: FactsOf) -> Iterator[Finding]:
    readable = [row for row in rows if row.facts(facts_of) is not None]
    same = same_content([_digest(row, facts_of) for row in readable])
    for earlier, later in same:
        yield _copy("duplicate", "has the same content as", readable[later], readable[earlier])
    told = {later for _, later in same}
    firsts = [row for place, row in enumerate(readable) if place not in told and not _is_blank(row, facts_of)]
    for earlier, later in _near(firsts, facts_of):
        yield _copy("near-duplicate", "looks the same as", firsts[later], firsts[earlier])


def _leaks(rows: list[Row], validation: list[Row], facts_of: FactsOf) -> Iterator[Finding]:
    """Validation comes first in the comparison, so that a row is compared with the earliest one of it."""
    held = [row for row in validation if row.facts(facts_of) is not None]
    trained = [row for row in rows if row.facts(facts_of) is not None]
    by_digest: dict[str, Row] = {}
    for row in held:
        by_digest.setdefault(_digest(row, facts_of), row)
    rest = []
    for row in trained:
        other = by_digest.get(_digest(row, facts_of))
        if other is not None:
            yield _copy("leak", "has the same content as", row, other)
        elif not _is_blank(row, facts_of):
            rest.append(row)
    held = [row for row in held if not _is_blank(row, facts_of)]
    everyone = held + rest
    for earlier, later in _near(everyone, facts_of):
        if earlier < len(held) <= later:
            yield _copy("near-leak", "looks the same as", everyone[later], everyone[earlier])


def _copy(rule: str, how: str, row: Row, other: Row) -> Finding:
    assert row.entry is not None
    assert other.entry is not None
    texts = (same_caption(row.entry.text), same_caption(other.entry.text))
    captions = "the same caption" if texts[0] == texts[1] else "another caption"
    return row.finding(rule, f"{how} {other.entry.path.name} ({other.place}), with {captions}", other)


def _facts(row: Row, facts_of: FactsOf) -> FileFacts:
    facts = row.facts(facts_of)
    assert facts is not None
    return facts


def _digest(row: Row, facts_of: FactsOf) -> str:
    return _facts(row, facts_of).digest


def _near(rows: list[Row], facts_of: FactsOf) -> list[tuple[int, int]]:
    prints, captions = [], []
    for row in rows:
        looks = _facts(row, facts_of).looks
        assert looks is not None
        assert row.entry is not None
        prints.append(looks.print)
        captions.append(same_caption(row.entry.text))
    return near_copies(prints, captions)


def _is_blank(row: Row, facts_of: FactsOf) -> bool:
    looks = _facts(row, facts_of).looks
    return looks is None or looks.is_blank
