"""Record the public names of every package: python tests/architecture/update_snapshots.py"""

from __future__ import annotations

import json
from pathlib import Path

from source_tree import PACKAGES, public_names

SNAPSHOTS = Path(__file__).parent / "snapshots"


def main() -> None:
    """Write one JSON file per package."""
    SNAPSHOTS.mkdir(exist_ok=True)
    for package in PACKAGES:
        text = json.dumps(public_names(package), indent=2, ensure_ascii=False)
        (SNAPSHOTS / f"{package}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
