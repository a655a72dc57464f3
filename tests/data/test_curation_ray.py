"""Ray Data gives what one process gives, whatever happens to its processes.

Ray takes 10 to 40 s to start, so that all this runs on request, and most of it on one start.
"""

import os
import signal
from pathlib import Path

import pytest
from curation_workers import killed_runs, plan_file, results_of

from ea_data.curation.curate import Engines, curate
from ea_data.curation.engines import ray_data
from ea_data.curation.engines.base import open_engine
from ea_data.curation.plan import load_plan
from ea_data.curation.stage import Item
from ea_data.curation.work import Task

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray warns of its own defaults
]


def _tasks(count: int, stage: str = "clean") -> list[Task]:
    items = [Item(path=Path(), kind="text", columns={"caption": f"caption {n} "}) for n in range(count)]
    return [Task(stage=stage, options="{}", items=(item,)) for item in items]


@pytest.fixture(scope="module")
def running():
    """Ray on this machine, as the engine starts it."""
    pytest.importorskip("ray")
    engine = open_engine("ray", workers=2)
    assert len(list(engine.run(_tasks(1)))) == 1
    yield
    engine.close()


@pytest.mark.usefixtures("running")
def test_a_run_gives_the_same(footage, undisturbed, tmp_path):
    plan = load_plan(str(plan_file(tmp_path)))
    curate(plan, footage, tmp_path / "out", engines=Engines(name="ray", workers=2), samples=0)
    assert results_of(tmp_path / "out") == undisturbed


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_every_row_is_scored_once_and_in_order(workers):
    for count in range(18):
        found = list(open_engine("ray", workers=workers).run(_tasks(count)))
        assert [outcome.value["caption"] for (outcome,) in found] == [f"caption {n}" for n in range(count)]


@pytest.mark.usefixtures("running")
def test_a_file_that_ends_its_process_costs_no_other(monkeypatch):
    perform, mark = ray_data._perform, '"caption 2 "'

    def dies(row):
        if mark in row["task"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return perform(row)

    monkeypatch.setattr(ray_data, "_perform", dies)
    monkeypatch.setattr(ray_data, "_MOST_BLOCKS", 2)  # so that others are lost with it at first
    found = [outcome for (outcome,) in open_engine("ray", workers=2).run(_tasks(6))]
    assert found[2].value is None
    assert found[2].problem == "reading ended its process"
    assert [outcome.value["caption"] for outcome in found[:2] + found[3:]] == [
        f"caption {number}" for number in (0, 1, 3, 4, 5)
    ]


@pytest.mark.usefixtures("running")
def test_a_stage_that_cannot_be_opened_is_one_error():
    with pytest.raises(ValueError, match="there is no stage 'none'"):
        list(open_engine("ray", workers=2).run(_tasks(3, stage="none")))


def test_a_run_that_is_killed_many_times_continues(footage, undisturbed, tmp_path):
    pytest.importorskip("ray")
    assert results_of(killed_runs(footage, tmp_path, "ray", 25)) == undisturbed
