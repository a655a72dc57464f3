"""A whole run: the stages of a plan, the manifest, and the report."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from ea_data.curation.engines.base import open_engine
from ea_data.curation.network_marks import unpinned
from ea_data.curation.output import WORK, check_output, write_output
from ea_data.curation.plan import Plan, check_prompts
from ea_data.curation.prompt_list import is_prompt_list
from ea_data.curation.report import RunReport, write_report
from ea_data.curation.run import Progress, run_stages
from ea_data.media import MediaError, write_text
from ea_data.media.errors import media_errors

__all__ = ["REPORT", "Engines", "curate"]

REPORT: Final = "report"


@dataclass(frozen=True, kw_only=True)
class Engines:
    """What does the work; see `open_engine`.

    Attributes:
        name: One of `ENGINES`.
        workers: Processes.
        timeout: Seconds for each file.
        address: Of a Ray cluster.
    """

    name: str = "processes"
    workers: int = 1
    timeout: float = 600.0
    address: str | None = None


def curate(
    plan: Plan,
    source: str | Path,
    output: str | Path,
    *,
    engines: Engines | None = None,
    samples: int = 24,
    notify: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Turn footage into clips with captions and a manifest that training reads.

    What was measured before is used again, so that the same call continues a run that was stopped, however it
    was. With this in a script, the code that calls it has to stand below `if __name__ == "__main__":`.

    Args:
        plan: The stages; see `load_plan`.
        source: A folder of videos and pictures, a manifest, or a list of prompts.
        output: Folder for `metadata.jsonl`, `clips`, `excluded.jsonl`, `report`, and `work`, which has what
            was measured; made if its parent exists. Of prompts `prompts.jsonl` and `prompts.txt` come in
            place of the first two.
        engines: What does the work; one process by default.
        samples: Pictures on each contact sheet of the report; 0 for none.
        notify: Is told what is downloaded, in a line each.
        progress: Is told how far a stage is.

    Raises:
        ValueError: Something cannot be read, written or done at all; a file that cannot be read is none of
            these, and is listed as left out.
    """
    source, output, engines = Path(source), Path(output), engines or Engines()
    check_output(output, source)
    prompts = is_prompt_list(source)
    if prompts:
        check_prompts(plan, source.name)
    engine = open_engine(
        engines.name, workers=engines.workers, timeout=engines.timeout, address=engines.address
    )
    _prepare(plan, notify or _silent)
    work = output.resolve() / WORK
    with media_errors(output, "write"):
        work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            write_text(work / "plan.json", json.dumps(plan.to_mapping(), indent=1, ensure_ascii=False) + "\n")
            rows, counts = run_stages(
                plan, source, work, engine, threads=engines.workers, progress=progress or _no_progress
            )
            write_output(output.resolve(), rows, prompts=prompts)
            settings = {"engine": engines.name, "workers": engines.workers}
            report = RunReport(
                plan=plan.to_mapping(),
                name=plan.name,
                source=str(source),
                rows=rows,
                counts=counts,
                settings=settings,
            )
            write_report(output.resolve() / REPORT, report, samples=samples)
    except Timeout as error:
        raise MediaError(f"cannot write {output}: another run is at work there") from error
    finally:
        engine.close()
    return report


def _prepare(plan: Plan, notify: Callable[[str], None]) -> None:
    """Find out what is missing before hours of work are done: libraries, weights, files of words."""
    stages = [step.opened() for step in plan.steps]
    for stage in stages:
        stage.check()
    for stage in stages:
        if what := stage.downloads():
            notify(what)
    for stage in stages:
        stage.fingerprint()
        for line in unpinned(stage.name, stage.networks()):
            notify(line)


def _silent(_: str) -> None:
    pass


def _no_progress(_: str, __: int, ___: int) -> None:
    pass
