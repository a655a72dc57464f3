"""Every engine gives the same bytes, whatever happens to its processes."""

import errno
from pathlib import Path

import pytest
from curation_workers import killed_runs, plan_file, results_of, rows_of

from ea_data.curation.curate import Engines, curate
from ea_data.curation.engines.base import open_engine
from ea_data.curation.engines.ray_data import check_reachable
from ea_data.curation.plan import load_plan
from ea_data.curation.results import Results
from ea_data.curation.stage import Item
from ea_data.curation.stages.quality import Quality
from ea_data.curation.work import Task
from ea_data.media import MediaError

INLINE = Engines(name="inline")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return load_plan(str(plan_file(tmp_path_factory.mktemp("plan"))))


def test_what_comes_out(undisturbed):
    assert {name for name in undisturbed if name.startswith("clips")} == {
        "clips/clip 0.mp4", "clips/clip 1.mp4", "clips/clip 2.mp4",
        "clips/sub/ütwo/ütwo_0.mp4", "clips/sub/ütwo/ütwo_1.mp4",
    }  # fmt: skip
    assert undisturbed["excluded.jsonl"].count(b"\n") == 2


def test_a_pool_of_processes_gives_the_same(footage, plan, undisturbed, tmp_path):
    curate(plan, footage, tmp_path / "out", engines=Engines(workers=2), samples=0)
    assert results_of(tmp_path / "out") == undisturbed


def test_a_killed_run_continues(footage, undisturbed, tmp_path):
    assert results_of(killed_runs(footage, tmp_path, "inline", 2, longest=4)) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_run_that_is_killed_many_times_continues(footage, undisturbed, tmp_path):
    assert results_of(killed_runs(footage, tmp_path, "processes", 25)) == undisturbed


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(4, marks=pytest.mark.slow)]
)
def test_every_row_is_scored_once(workers):
    engine = open_engine("processes", workers=workers)
    try:
        for count in range(1, 18):
            items = [
                Item(path=Path(), kind="text", columns={"caption": f"caption {n} "}) for n in range(count)
            ]
            tasks = [Task(stage="clean", options="{}", items=(item,)) for item in items]
            found = [outcome.value["caption"] for (outcome,) in engine.run(tasks)]
            assert found == [f"caption {number}" for number in range(count)]
    finally:
        engine.close()


def test_a_file_that_takes_too_long_costs_no_other():
    engine = open_engine("processes", workers=1, timeout=0.1)
    try:
        slow = Item(path=Path("/dev/null"), kind="text", columns={"caption": "x" * 50_000_000})
        quick = Item(path=Path(), kind="text", columns={"caption": "x"})
        tasks = [Task(stage="clean", options="{}", items=(item,)) for item in (slow, quick)]
        found = [outcomes[0] for outcomes in engine.run(tasks)]
    finally:
        engine.close()
    assert "took more than 0.1 s" in found[0].problem


def test_rows_that_a_scorer_fails_on_are_left_out_and_listed(footage, plan, tmp_path, monkeypatch):
    measure = Quality.measure

    def fails_sometimes(self, item):
        if item.path.name == "clip 1.mp4":
            raise ZeroDivisionError("of the scorer")
        return measure(self, item)

    monkeypatch.setattr(Quality, "measure", fails_sometimes)
    report = curate(plan, footage, tmp_path / "out", engines=INLINE, samples=0)
    assert report.kept == 4
    (row,) = [row for row in rows_of(tmp_path / "out" / "excluded.jsonl") if row["file"] == "clip 1.mp4"]
    assert (row["stage"], row["failed"]) == ("quality", "ZeroDivisionError: of the scorer")
    monkeypatch.undo()
    again = curate(plan, footage, tmp_path / "out", engines=INLINE, samples=0)
    assert again.kept == 5


def test_a_full_disk_is_one_clear_error(tmp_path):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    with Results(tmp_path / "stage.jsonl") as results:
        results._file = Full()
        with pytest.raises(MediaError, match=r"cannot write .*No space left on device"):
            results.add("key", {"a": 1})
        assert results.get("key") is None


def test_results_survive_a_torn_and_a_changed_line(tmp_path):
    path = tmp_path / "stage.jsonl"
    with Results(path) as results:
        for number in range(3):
            results.add(f"key{number}", {"value": number, "pair": (1, 2)})
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1].replace(b'"value": 1', b'"value": 7'), lines[2][:30]]))
    with Results(path) as results:
        assert [results.get(f"key{number}") for number in range(3)] == [
            {"value": 0, "pair": [1, 2]},
            None,
            None,
        ]
        results.add("key1", {"value": 1})
    with Results(path) as results:
        assert results.get("key1") == {"value": 1}
        assert len(results) == 2


def test_two_runs_in_one_folder(footage, plan, tmp_path):
    from filelock import FileLock

    (tmp_path / "out" / "work").mkdir(parents=True)
    with (
        FileLock(tmp_path / "out" / "work" / "lock"),
        pytest.raises(MediaError, match="another run is at work"),
    ):
        curate(plan, footage, tmp_path / "out", engines=INLINE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "threads"}, "engine is 'threads'"),
        ({"workers": 0}, "workers is 0"),
        ({"timeout": 0}, "timeout is 0"),
    ],
)
def test_wrong_engines(change, message):
    with pytest.raises(ValueError, match=message):
        open_engine(**{"name": "inline", **change})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"Ray at 127\.0\.0\.1:1 cannot be reached: "),
        ("here", "address is 'here'; allowed: HOST:PORT"),
        ("here:70000", "address is 'here:70000'"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_error(address, message):
    with pytest.raises(ValueError, match=message):
        check_reachable(address)
