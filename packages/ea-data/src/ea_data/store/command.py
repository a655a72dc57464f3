"""`ea-data cache`: its arguments and what it does; results as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ea_data.store.collect import collect_garbage
from ea_data.store.contents import shards_of
from ea_data.store.explain import explain_sample
from ea_data.store.layout import living_writers, open_paths, writer_of
from ea_data.store.plan import plan_samples, read_wanted
from ea_data.store.store import CacheStore
from ea_data.store.verify import verify_store

__all__ = ["run"]

_FOUND_SOMETHING = 1


def run(arguments: argparse.Namespace, *, progress: Callable[[int, int], None]) -> tuple[str, int]:
    """Do what a command line says.

    Args:
        arguments: As `ea_data.cli` parses them.
        progress: Is told how many shards are done, and how many there are.

    Returns:
        What to print, and the exit code: 0; or 1 when samples are missing (`plan`, `explain`) or damaged
        (`verify`, `explain`, `ls`).

    Raises:
        ValueError: The folder is no store, or another mistake of the user.
    """
    actions = {"ls": _ls, "plan": _plan, "verify": _verify, "explain": _explain, "gc": _gc}
    result, table, code = actions[arguments.action](arguments, progress)
    return (json.dumps(result, indent=1) if arguments.json else "\n".join(table)), code


_Outcome = tuple[dict[str, Any], Iterable[str], int]


def _ls(arguments: argparse.Namespace, progress: Callable[[int, int], None]) -> _Outcome:

    del progress
    store, paths = CacheStore(arguments.store), open_paths(arguments.store)
    alive = living_writers(paths)
    shards = [
        {
            "shard": shard.name,
            "samples": len(shard),
            "bytes": shard.disk_bytes(),
            "made": _date(shard.index.facts.made),
            "writer": "at work" if writer_of(shard.name) in alive else "done",
            "fields": sorted({_fields(layout) for layout in shard.index.facts.layouts}),
        }
        for shard in shards_of(paths)
    ]
    result = {
        "store": str(arguments.store),
        "samples": len(store),
        "bytes": sum(shard["bytes"] for shard in shards),
        "problems": list(store.problems),
        "shards": shards,
    }
    rows = [
        (s["shard"], s["samples"], _size(s["bytes"]), s["made"], s["writer"], "; ".join(s["fields"]))
        for s in shards
    ]
    table = _table(("shard", "samples", "size", "made", "writer", "fields"), rows)
    table.append(
        f"{_count(len(store), 'sample')} in {_count(len(shards), 'shard')}, {_size(result['bytes'])}"
    )
    return result, table + list(store.problems), _FOUND_SOMETHING if store.problems else 0


def _plan(arguments: argparse.Namespace, progress: Callable[[int, int], None]) -> _Outcome:

    del progress
    if arguments.sample_bytes < 0:
        raise ValueError(f"--sample-bytes is {arguments.sample_bytes}; allowed: 0 and up")
    plan = plan_samples(arguments.store, read_wanted(arguments.wanted))
    needed = plan.to_make * (arguments.sample_bytes or plan.mean_bytes)
    reasons: dict[str, int] = {}
    for sample in plan.samples:
        if sample.state == "stale":
            reason = ", ".join(sample.differs)
            reasons[reason] = reasons.get(reason, 0) + 1
    result = {
        "store": str(arguments.store),
        **plan.counts,
        "repeated": plan.repeated,
        "stale_because_of": reasons,
        "bytes_needed": needed,
        "bytes_free": plan.free_bytes,
    }
    table = _table(
        ("state", "samples", "what differs"),
        [("present", plan.counts["present"], ""), ("missing", plan.counts["missing"], "")]
        + [("stale", count, reason) for reason, count in reasons.items()],
    )
    if plan.repeated:
        table.append(f"{plan.repeated} rows have the key of an earlier one")
    table.append(f"{plan.to_make} to make, about {_size(needed)}; {_size(plan.free_bytes)} are free")
    if arguments.list:
        listed = [
            {"key": s.wanted.recipe.key, "state": s.state, "differs": list(s.differs),
             "source": s.wanted.source, "variant": s.wanted.variant}
            for s in plan.samples if s.state != "present"
        ]  # fmt: skip
        result["samples"] = listed
        columns = ("key", "state", "source", "variant")
        table += _table(columns, [tuple(row[name] for name in columns) for row in listed])
    return result, table, _FOUND_SOMETHING if plan.to_make else 0


def _verify(arguments: argparse.Namespace, progress: Callable[[int, int], None]) -> _Outcome:

    found = verify_store(arguments.store, progress=progress)
    result = {"store": str(arguments.store), "good": not found.damage, **asdict(found)}
    table = [f"{_count(found.samples, 'sample')} in {_count(found.shards, 'shard')}, {_size(found.bytes)}"]
    if found.damage:
        table += _table(("shard", "key", "what is wrong"), [(d.shard, d.key, d.reason) for d in found.damage])
        table.append(
            f"{_count(len(found.damage), 'fault')}; `ea-data cache gc --deep` removes what is damaged"
        )
    else:
        table.append("all good")
    return result, table, _FOUND_SOMETHING if found.damage else 0


def _explain(arguments: argparse.Namespace, progress: Callable[[int, int], None]) -> _Outcome:

    del progress
    wanted = read_wanted(arguments.wanted) if arguments.wanted else []
    found = explain_sample(arguments.store, arguments.sample, wanted)
    table: list[str] = []
    for each in found:
        table += [f"{each.key}  {each.state}{': ' if each.reason else ''}{each.reason}"]
        facts: dict[str, object] = {
            "source": each.source,
            "variant": each.variant,
            "shard": f"{each.shard}, made {_date(each.made)}" if each.shard else "",
            "fields": ", ".join(f"{name} {about}" for name, about in (each.fields or {}).items()),
            "size": _size(each.bytes) if each.bytes else "",
            **{name: json.dumps(value) for name, value in (each.recipe or {}).items()},
        }
        table += [f"  {name:<10} {_plain(value)}" for name, value in facts.items() if value]
    result = {"store": str(arguments.store), "samples": [each.as_json() for each in found]}
    return result, table, 0 if all(each.state == "good" for each in found) else _FOUND_SOMETHING


def _gc(arguments: argparse.Namespace, progress: Callable[[int, int], None]) -> _Outcome:

    keep = None
    if arguments.keep is not None:
        keep = {each.recipe.key for each in read_wanted(arguments.keep)}
        if not keep:
            raise ValueError(
                f"--keep is {arguments.keep}, which names no sample, so that all would go; allowed: a list "
                "of 1 sample or more (to drop a whole store, remove its folder)"
            )
    report = collect_garbage(
        arguments.store, keep=keep, deep=arguments.deep, dry_run=arguments.dry_run, progress=progress
    )
    freed = sum(removal.bytes for removal in report.removed)
    result = {"store": str(arguments.store), "dry_run": arguments.dry_run, **asdict(report)}
    rows = [(removal.file, _size(removal.bytes), removal.reason) for removal in report.removed]
    table = _table(("file", "size", "why"), rows) if rows else []
    table += [f"{_count(count, 'sample')} dropped: {reason}" for reason, count in report.dropped.items()]
    if report.rewritten:
        table.append(
            f"{_count(report.rewritten, 'sample')} {'would be ' if arguments.dry_run else ''}written anew"
        )
    verb = "would be removed" if arguments.dry_run else "removed"
    table.append(f"{_count(len(report.removed), 'file')} {verb}, {_size(freed)}")
    return result, table, 0


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table whose columns are as wide as what is in them."""
    cells = [tuple(columns), *(tuple(_plain(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _plain(value: object) -> str:
    """A text that any terminal shows on one line."""
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(value))
    return text.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode(
        sys.stdout.encoding or "utf-8"
    )


def _fields(layout: Iterable[Any]) -> str:
    return ", ".join(f"{entry.name} {entry.dtype} {'x'.join(map(str, entry.shape))}" for entry in layout)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(count: int) -> str:
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
