"""`ea-data show`: what a model would see of one row of a manifest."""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ea_data.manifest import Entry, read_manifest
from ea_data.media import write_text, write_video
from ea_data.media.folders import check_own_folder, refuse_inputs, replaced_folder
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSample
from ea_data.training.recipe import DataRecipe
from ea_data.training.sheet import draw_sheet
from ea_data.training.show import Shown, find_entry, show

__all__ = ["run"]

_SCHEMA: Final = "ea-data show 1"
_FACTS: Final = "sample.json"
_NAMES: Final = re.compile(r"(clip|masked|control)\.(mp4|png)|sheet\.png|sample\.json")


def run(
    arguments: argparse.Namespace,
    *,
    notify: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Show a sample, and write it if there is a folder to write it to.

    Args:
        arguments: manifest, id, epoch, recipe, root, facts and out.
        notify: Takes lines about rows and files that cannot be used.
        progress: Called with (done, total) while files are looked at.

    Returns:
        A summary.

    Raises:
        ValueError: Anything is wrong with what is asked for.
    """
    if arguments.epoch < 0:
        raise ValueError(f"--epoch is {arguments.epoch}; allowed: 0 or more")
    recipe = DataRecipe() if arguments.recipe is None else DataRecipe.from_file(arguments.recipe)
    manifest = read_manifest(arguments.manifest, root=arguments.root, keep_going=True)
    for error in manifest.errors:
        notify(error)
    entry = find_entry(manifest.entries, arguments.id)
    if arguments.out is not None:
        _check_out(arguments.out, arguments, manifest.entries)

    def report(failure: BrokenSample) -> None:
        notify(str(failure))

    dataset = TrainingDataset(
        manifest.entries, recipe, facts_cache=arguments.facts, threads=0, report=report, progress=progress
    )
    shown = show(dataset, entry, arguments.epoch)
    lines = summary(shown.facts)
    if arguments.out is not None:
        written = _write(arguments.out, shown, lines)
        lines["written"] = f"{arguments.out}: {', '.join(written)}"
    return "\n".join(f"{name:9}{text}" for name, text in lines.items())


def summary(facts: Mapping[str, Any]) -> dict[str, str]:
    """What was chosen: names and texts of a line each."""
    batch, source, frames, seconds = (facts[name] for name in ("batch", "source", "frames", "seconds"))
    moving = facts["type"] == "video"
    lines = {
        "row": f"{facts['row']} (line {facts['line']}), epoch {facts['epoch']}: {facts['file']}",
        "file": f"{facts['type']}, {source['width']}x{source['height']}"
        + (f", {source['frames']} frames at {source['fps']:g} fps" if moving else ""),
        "batch": f"{batch['number_in_epoch']} of {batch['batches_of_epoch']}, place {batch['place']} of "
        f"{len(batch['rows'])}, in the bucket {batch['bucket']!r}",
        "shown": f"{batch['width']}x{batch['height']}"
        + (f", {batch['frames']} frames" if moving else "")
        + (", mirrored" if facts["flipped"] else "")
        + (f"; the batch comes {batch['repeat']} times" if batch["repeat"] > 1 else ""),
    }
    if moving:
        lines["frames"] = f"{frames[0]} to {frames[-1]} of the file, {seconds[0]:.2f} to {seconds[-1]:.2f} s"
    lines["caption"] = ("dropped; the row says: " if facts["caption_dropped"] else "") + repr(facts["text"])
    if facts["mask"]:
        lines["mask"] = f"{facts['mask']['kind']}, {facts['mask']['share']:.0%} to be made"
    if facts["reference"] is not None:
        reference = facts["reference"]
        lines["ref"] = f"frame {reference} of the clip, {frames[reference]} of the file"
    if facts["control"]:
        lines["control"] = _control_text(facts["control"])
    if batch["replaced"]:
        lines["replaced"] = f"{len(batch['replaced'])} of the batch: {'; '.join(batch['replaced'])}"
    return lines


def _control_text(control: Mapping[str, Any]) -> str:
    text = f"{control['kind']}, {control['file'] or 'none in the row: zeros'}"
    if "turns_degrees" in control:
        right, down, forward = control["moves_right_down_forward"]
        text += f"; moves {right:g} right, {down:g} down, {forward:g} forward, "
        text += f"turns {control['turns_degrees']:g} degrees"
    return text


def _check_out(folder: Path, arguments: argparse.Namespace, entries: Sequence[Entry]) -> None:
    """Refuse a folder with anything but an earlier output of this command."""
    check_own_folder(folder, "a shown sample", _NAMES, _is_shown)
    inputs = [arguments.manifest, *([] if arguments.recipe is None else [arguments.recipe])]
    refuse_inputs("--out", folder, inputs, "which is read")
    listed = (path for entry in entries for path in (entry.path, entry.control_path) if path is not None)
    refuse_inputs("--out", folder, listed, "a file of the manifest")


def _is_shown(folder: Path) -> bool:
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return isinstance(facts, dict) and facts.get("schema") == _SCHEMA
    except (OSError, ValueError, RecursionError):
        return False


def _write(folder: Path, shown: Shown, lines: Mapping[str, str]) -> list[str]:
    """Write everything as a folder, whole or not at all; the names in it."""
    suffix = ".png" if len(shown.frames) == 1 else ".mp4"
    names: list[str] = []
    with replaced_folder(folder) as new:
        for name, frames in (("clip", shown.frames), ("masked", shown.masked), ("control", shown.control)):
            if frames is not None:
                names.append(write_video(new / f"{name}{suffix}", frames, fps=shown.fps).name)
        draw_sheet(shown, lines).save(new / "sheet.png")
        facts = {"schema": _SCHEMA, **shown.facts}
        write_text(new / _FACTS, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    return [*names, "sheet.png", _FACTS]
