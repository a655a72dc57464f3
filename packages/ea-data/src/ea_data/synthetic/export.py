"""Writing the procedural data set out as an ordinary data set folder."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ea_data.media import MediaError, write_text, write_video
from ea_data.synthetic.captions import caption
from ea_data.synthetic.dataset import SyntheticDataset
from ea_data.synthetic.scene import SceneSpec

__all__ = [
    "MANIFEST_NAME",
    "claim",
    "write_dataset",
]

MANIFEST_NAME = "metadata.jsonl"
_PARAMETERS_NAME = "dataset.json"


def write_dataset(
    folder: str | Path,
    dataset: SyntheticDataset,
    *,
    fps: float = 8.0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write clips (mp4) or pictures (png, for one frame) and a `metadata.jsonl` that names them.

    Every file appears complete or not at all, and the manifest comes last, so an interrupted run is continued
    by calling this again with the same data set: finished files are kept. The rows have `file_path`, `text`
    and `type`, and the scene under `scene`.

    Args:
        folder: Output; made if its parent exists.
        dataset: What to write, all of it.
        fps: Frames per second of the clips.
        progress: Called after each item with (done, total).

    Returns:
        The path of the manifest.

    Raises:
        MediaError: The folder cannot be written, or holds a data set made with other parameters.
    """
    folder = Path(folder)
    kind, suffix = ("image", "png") if dataset.num_frames == 1 else ("video", "mp4")
    if not folder.parent.is_dir():
        raise MediaError(f"cannot write {folder}: the folder {folder.parent} does not exist")
    try:
        (folder / f"{kind}s").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot write {folder}: {error.strerror}") from error
    # The length may grow: the items of a shorter data set are the first items of a longer one.
    claim(folder, {key: value for key, value in asdict(dataset).items() if key != "length"} | {"fps": fps})
    rows = []
    for index in range(len(dataset)):
        name = f"{kind}s/{index:07d}.{suffix}"
        spec = dataset.spec(index)
        if not (folder / name).exists():
            text = json.dumps(_row(name, kind, dataset, spec), ensure_ascii=False)
            write_video(folder / name, dataset[index]["video"], fps=fps, metadata=text)
        rows.append(json.dumps(_row(name, kind, dataset, spec), ensure_ascii=False))
        if progress is not None:
            progress(index + 1, len(dataset))
    return write_text(folder / MANIFEST_NAME, "".join(f"{row}\n" for row in rows))


def _row(name: str, kind: str, dataset: SyntheticDataset, spec: SceneSpec) -> dict[str, object]:
    text = caption(spec, motion=dataset.num_frames > 1)
    return {"file_path": name, "text": text, "type": kind, "scene": asdict(spec)}


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write down what a folder holds, or check that it is the same as before.

    Raises:
        MediaError: The folder holds a data set made with other parameters, or cannot be read or written.
    """
    wanted = json.loads(json.dumps(wanted))
    file = folder / _PARAMETERS_NAME
    if not file.exists():
        write_text(file, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot read {file}: {error}") from error
    if found != wanted:
        raise MediaError(f"{folder} holds a data set made with other parameters: {found}; wanted: {wanted}")
