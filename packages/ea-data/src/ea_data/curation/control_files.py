"""Control signals that the stage `control-signals` made, beside the clips that they are of."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from ea_data.curation.placing import place
from ea_data.curation.row import Row

__all__ = ["CONTROLS", "control_names", "place_controls"]

CONTROLS: Final = "controls"
_STAGE: Final = "control-signals"


def control_names(row: Row, file_name: str) -> dict[str, str]:
    """Of each kind the name of its file, below the output: that of the clip, in a folder of the kind.

    Args:
        row: One that is kept.
        file_name: Of its clip, below the output.
    """
    clip = PurePosixPath(*PurePosixPath(file_name).parts[1:])
    return {
        kind: str(PurePosixPath(CONTROLS, kind) / clip.with_suffix(PurePosixPath(made["name"]).suffix))
        for kind, made in _made(row).items()
    }


def place_controls(row: Row, file_name: str, output: Path, *, work: Path) -> list[Path]:
    """Have the files of a row at their places.

    Returns:
        Them.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    folder = work / _STAGE / str(row.columns["stem"])
    names = control_names(row, file_name)
    for kind, made in _made(row).items():
        place(folder / made["name"], made["digest"], output / names[kind], work=work)
    return [output / name for name in names.values()]


def _made(row: Row) -> Mapping[str, Mapping[str, str]]:
    return cast(Mapping[str, Mapping[str, Any]], row.columns.get("controls", {}))
