"""Manifests: lists of (file, text, type) as JSON, JSONL, CSV or parquet.

Each row has `file_path` (relative to a root folder, or absolute), `text` and `type` ("video" or "image"), and
may have `control_file_path`. Open-Sora's columns are known too: `path` for `file_path`, and `num_frames`,
`height`, `width` and `fps`, which become `Entry.facts`. Other keys are kept as `Entry.extra`. A wrong row is
told with file and line; it never disappears.
"""

from ea_data.manifest.columns import SCORES, Facts
from ea_data.manifest.entry import MAX_TEXT, BadRow, Entry
from ea_data.manifest.errors import ManifestError
from ea_data.manifest.paths import file_problem, resolve_inside
from ea_data.manifest.reading import NO_ROWS, SUFFIXES, Manifest, iter_manifest, read_manifest

__all__ = [
    "MAX_TEXT",
    "NO_ROWS",
    "SCORES",
    "SUFFIXES",
    "BadRow",
    "Entry",
    "Facts",
    "Manifest",
    "ManifestError",
    "file_problem",
    "iter_manifest",
    "read_manifest",
    "resolve_inside",
]
