"""What is wrong with one row: its file, its control file, and what it says about them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ea_data.control.camera import plucker_rays, read_camera
from ea_data.lint.captions import caption_findings
from ea_data.lint.findings import Finding
from ea_data.lint.fit import fit_findings, used_facts
from ea_data.lint.inspection import FactsOf, FileFacts
from ea_data.lint.options import LintOptions
from ea_data.lint.rows import Row
from ea_data.manifest import Entry, Facts, file_problem
from ea_data.training.recipe import DataRecipe

__all__ = ["row_findings"]


_ANIMATION: Final = {
    "image": "the row says image; the file is an animation, of which the first frame is trained",
    "video": "the row says video; the file is a single picture",
}
_RATE: Final = 0.01
_SHAPE: Final = 0.05


def row_findings(row: Row, facts_of: FactsOf, recipe: DataRecipe, options: LintOptions) -> Iterator[Finding]:
    """Everything that is wrong with a row by itself.

    Args:
        row: Of a manifest.
        facts_of: What was found in each file.
        recipe: What the row is to be trained with.
        options: Thresholds.
    """
    if row.entry is None:
        yield row.finding("row", row.reason)
        return
    for rule, message in _entry_findings(row.entry, facts_of, recipe, options):
        yield row.finding(rule, message)


def _entry_findings(
    entry: Entry, facts_of: FactsOf, recipe: DataRecipe, options: LintOptions
) -> Iterator[tuple[str, str]]:
    facts = facts_of[entry.path, entry.type]
    if facts.problem:
        yield facts.problem, facts.message
    else:
        if facts.other:
            yield "animation", _ANIMATION[entry.type]
        yield from fit_findings(facts, used_facts(entry, facts), recipe, options.aspect)
        yield from _declared(entry.facts, facts)
        yield from _seen(facts)
    if recipe.control != "none":
        yield from _control(entry, facts, facts_of, recipe)
    yield from caption_findings(entry.text, recipe.captions)


def _seen(facts: FileFacts) -> Iterator[tuple[str, str]]:
    looks = facts.looks
    assert looks is not None
    if looks.is_blank:
        yield "blank", "every frame is of one colour, about #{:02x}{:02x}{:02x}".format(*looks.colour)
    elif facts.kind == "video" and facts.frames > 1 and looks.is_still:
        yield "frozen", f"no part of any frame changes by more than {looks.motion:.1f} of 255"


def _declared(said: Facts, facts: FileFacts) -> Iterator[tuple[str, str]]:
    if said.num_frames is not None and said.num_frames > facts.frames:
        yield "metadata-frames", f"the row says {said.num_frames} frames; the file has {facts.frames}"
    told = [("width", said.width, facts.width), ("height", said.height, facts.height)]
    if said.num_frames is not None and said.num_frames < facts.frames:
        told.append(("num_frames", said.num_frames, facts.frames))
    wrong = [
        f"{name} {value} where the file has {real}"
        for name, value, real in told
        if value is not None and value != real
    ]
    if said.fps is not None and facts.fps and abs(said.fps - facts.fps) > _RATE * facts.fps:
        wrong.append(f"fps {said.fps:g} where the file has {facts.fps:.6g}")
    if wrong:
        yield "metadata", "the row says " + ", ".join(wrong)


def _control(
    entry: Entry, facts: FileFacts, facts_of: FactsOf, recipe: DataRecipe
) -> Iterator[tuple[str, str]]:
    path = entry.control_path
    if path is None:
        if recipe.control == "camera":
            yield "camera-none", "control_file_path is missing: the rays of its camera are zeros"
        else:
            yield "control-none", "control_file_path is missing, and the recipe trains with control"
    elif problem := file_problem(path):
        yield "control-missing", f"the control file {str(path)[:200]}: {problem}"
    elif recipe.control == "camera":
        yield from _camera(path, max(1, facts.frames))
    else:
        yield from _control_media(facts, facts_of[path, entry.type])


def _camera(path: Path, frames: int) -> Iterator[tuple[str, str]]:
    try:
        # Rays of one pixel: what is refused depends on the poses alone.
        plucker_rays(read_camera(path).stretched(frames), frames, 1, 1)
    except ValueError as error:
        yield "camera", str(error)


def _control_media(facts: FileFacts, control: FileFacts) -> Iterator[tuple[str, str]]:
    if control.problem:
        yield "control-broken", f"the control file: {control.message}"
        return
    if facts.problem:
        return
    if control.frames != facts.frames:
        yield "control-length", f"{control.frames} frames of control for {facts.frames} of the video"
    ours, theirs = facts.height / facts.width, control.height / control.width
    if abs(theirs / ours - 1) > _SHAPE:
        sizes = f"{control.width}x{control.height}", f"{facts.width}x{facts.height}"
        yield "control-size", "the control file is {}, and the file {}".format(*sizes)
