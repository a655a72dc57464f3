"""Models that are loaded once for several commands of the tests, as an engine keeps one for several jobs."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

KEPT = 4
"""Models at a time: commands of a test, and of its neighbours, use the same ones."""


class Loaded:
    """Stands in for `load_pipeline`: gives a pipeline again while no file of it has changed.

    What changes the networks that were loaded (LoRAs, memory modes that round) or is read from pickles is
    loaded every time.
    """

    def __init__(self, load):
        self._load = load
        self._kept = OrderedDict()

    def __call__(self, directory, *, memory="auto", loras=(), allow_pickle=False, **options):
        given = {"memory": memory, "loras": loras, "allow_pickle": allow_pickle, **options}
        if memory != "auto" or loras or allow_pickle:
            return self._load(directory, **given)
        weights = [value for value in options.values() if isinstance(value, Path)]
        key = (repr(sorted(options.items())), *map(_stamp, (Path(directory), *weights)), _environment())
        pipeline = self._kept.pop(key, None) or self._load(directory, **given)
        self._kept[key] = pipeline
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return pipeline


def _stamp(path):
    """What tells whether a file or folder is as it was."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(file), file.stat()) for file in files if file.exists()]
    found = tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
    return str(path.absolute()), found


def _environment():
    """What backends may be chosen by."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(("EA_", "TRITON_"))))
