"""Jobs on disk: what is written is read, one process writes, and states are true whoever is gone."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ea_app.jobs import (
    Bounds,
    JobReader,
    JobStore,
    JobView,
    NoSuchJobError,
    OwnedError,
    QueueFullError,
    Reason,
    Settings,
    State,
    StoreError,
    default_state_folder,
)
from ea_app.jobs.board import Board
from ea_app.jobs.folders import DATABASE, is_job_id, job_folder
from ea_app.jobs.pruning import folder_size, remove_folder, to_forget
from ea_app.jobs.states import ACTIVE
from ea_app.jobs.submission import Submission, make_view
from ea_app.options import InputError

PROMPT = "红色的圆 🦊 \u202e \\ ' \" ; DROP TABLE jobs; -- \ud83d"


def view(number, **changes):
    return JobView(id=f"{number:024x}", created=float(number), **changes)


@pytest.fixture
def store(tmp_path):
    with JobStore(tmp_path) as opened:
        yield opened


def test_what_is_written_is_read(store, tmp_path):
    full = view(
        1,
        prompt=PROMPT,
        options={"size": [32, 32], "keyframe": {"last": "a.png"}},
        state=State.FAILED,
        reason=Reason.MEMORY,
        error="x",
        output=tmp_path / "ä.mp4",
        notices=("a", "b"),
        timings={"denoise": 1.5},
        record={"frames": {"xxh3": "0"}},
    )
    added = store.add(full)
    assert added == replace(full, number=1)
    assert store.get(full.id) == added
    with JobReader(tmp_path) as reader:
        assert reader.get(full.id) == added
        assert reader.recent() == [added]
    assert json.loads(json.dumps(added.to_dict()))["state"] == "failed"
    assert JobView.from_dict({**added.to_dict(), "of a later version": 1}) == added


def test_jobs_are_numbered_and_listed(store):
    numbers = [store.add(view(number, state=State.DONE)).number for number in (1, 2, 3)]
    assert numbers == [1, 2, 3]
    store.remove(view(3).id)
    assert store.add(view(4)).number == 4  # a number is never given again
    assert [one.number for one in store.recent()] == [4, 2, 1]
    assert [one.number for one in store.recent(1, 1)] == [2]
    assert [one.number for one in store.unfinished()] == [4]


def test_what_is_not_there_is_said(store, tmp_path):
    with pytest.raises(NoSuchJobError, match=f"^there is no job {view(9).id}$"):
        store.get(view(9).id)
    with pytest.raises(NoSuchJobError, match=r"^there is no job that id$"):
        store.get("../../etc/passwd")
    with pytest.raises(StoreError, match=r"has no jobs$"):
        JobReader(tmp_path / "empty")


@pytest.mark.parametrize("text", ["", "a", "../x", "A" * 24, "0" * 23, "0" * 25, "0" * 24 + "\n", "٠" * 24])
def test_only_ids_become_paths(text, tmp_path):
    assert not is_job_id(text)
    with pytest.raises(AssertionError):
        job_folder(tmp_path, text)


def test_one_process_writes(store, tmp_path):
    with pytest.raises(
        OwnedError, match=r"is in use: another process runs its jobs; end it, or take another folder$"
    ):
        JobStore(tmp_path)
    script = f"from ea_app.jobs import JobStore; JobStore({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "OwnedError" in done.stderr
    store.close()
    JobStore(tmp_path).close()


def test_a_file_of_a_later_version_is_refused(tmp_path):
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    for open_it in (JobStore, JobReader):
        with pytest.raises(StoreError, match=r"is of version 99, this program knows 1"):
            open_it(tmp_path)


def test_a_file_that_is_none_is_refused_and_the_folder_stays_free(tmp_path):
    (tmp_path / DATABASE).write_text("no database" * 99)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"file is not a database"):
            JobStore(tmp_path)
    with pytest.raises(StoreError, match=r"^cannot use .*"):
        JobStore(tmp_path / DATABASE)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_what_ran_is_interrupted_when_its_process_is_gone(state, tmp_path):
    """A process adds a job that runs and is killed."""
    script = f"""
import os, signal
from ea_app.jobs import JobStore, JobView, State
store = JobStore({str(tmp_path)!r})
store.add(JobView(id="{1:024x}", state=State("{state}"), stage="denoise", step=3, total=9))
store.add(JobView(id="{2:024x}"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    with JobReader(tmp_path) as reader:  # before anybody has repaired anything
        found = reader.get(view(1).id)
        assert found.state is State.INTERRUPTED
        assert found.error == "what ran it is gone; the job was at denoise 3/9"
        assert [one.state for one in reader.recent()] == [State.QUEUED, State.INTERRUPTED]
    with JobStore(tmp_path) as store:
        assert store.get(view(1).id).state is State.INTERRUPTED
        with JobReader(tmp_path) as reader:
            store.save([replace(store.get(view(1).id), state=state)])
            assert reader.get(view(1).id).state is state  # now there is somebody


READER = """
import sys
from ea_app.jobs import JobReader
last = count = 0
with JobReader(sys.argv[1]) as reader:
    while count < 200:
        views = reader.recent()
        assert len(views) == 5, len(views)
        assert len({view.step for view in views}) == 1, "half of a write was seen"
        assert views[0].step >= last
        last, count = views[0].step, count + 1
print(count)
"""


def test_two_processes_read_while_one_writes(store, tmp_path):
    views = [store.add(view(number, state=State.RUNNING)) for number in range(1, 6)]
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(tmp_path)], stdout=-1, stderr=-1, text=True)
        for _ in range(2)
    ]
    step = 0
    while any(reader.poll() is None for reader in readers):
        step += 1
        store.save([replace(one, step=step) for one in views])
        time.sleep(0.005)
        assert step < 20_000
    for reader in readers:
        out, err = reader.communicate()
        assert reader.returncode == 0, err
        assert int(out) == 200


def test_a_full_disk_loses_nothing_that_was_queued(store, tmp_path):
    """SQLite's own limit of pages gives the error of a full disk."""
    board = Board(store)
    kept = board.add(view(1), limit=9, full=QueueFullError)
    store._connection.execute("PRAGMA max_page_count=1")
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    large = "x" * 100_000
    with pytest.raises(StoreError, match=r"jobs\.sqlite: database or disk is full$"):
        board.add(view(2, prompt=large), limit=9, full=QueueFullError)
    changed = board.change(kept.id, state=State.DONE, record={"large": large})
    assert board.get(kept.id) == changed  # known here, and to be written
    assert store.get(kept.id).state is State.QUEUED
    store._connection.execute("PRAGMA max_page_count=100000")
    board.flush(force=True)
    assert store.get(kept.id).state is State.DONE
    assert [one.id for one in board.recent(9, 0)] == [kept.id]


def test_the_queue_has_an_end_and_places(store):
    board = Board(store)
    added = [board.add(view(number), limit=3, full=QueueFullError) for number in (1, 2, 3)]
    assert [one.ahead for one in added] == [0, 1, 2]
    with pytest.raises(QueueFullError):
        board.add(view(4), limit=3, full=QueueFullError)
    board.change(added[0].id, state=State.RUNNING)
    assert [board.get(one.id).ahead for one in added] == [0, 0, 1]
    board.add(view(4), limit=3, full=QueueFullError)
    board.remove(added[1].id, State)
    assert [one.ahead for one in board.unfinished()] == [0, 0, 1]


def test_changes_are_followed_to_the_end(store):
    board = Board(store)
    job = board.add(view(1), limit=9, full=QueueFullError)
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(board.follow(job.id, 30)))
    thread.start()
    for step in range(50):
        board.change(job.id, state=State.RUNNING, step=step)
    board.change(job.id, state=State.DONE)
    thread.join(30)
    versions = [one.version for one in seen]
    assert versions == sorted(set(versions))
    assert seen[-1].state is State.DONE
    assert list(board.follow(job.id, None)) == [board.get(job.id)]
    other = board.add(view(2), limit=9, full=QueueFullError)
    start = time.monotonic()
    assert len(list(board.follow(other.id, 0.1))) == 1
    assert 0.1 <= time.monotonic() - start < 5


def test_old_jobs_are_forgotten(store, tmp_path):
    for number in range(1, 7):
        state = State.QUEUED if number == 1 else State.DONE
        job = store.add(view(number, state=state, ended=float(number)))
        folder = job_folder(tmp_path, job.id)
        folder.mkdir(parents=True)
        (folder / "video.mp4").write_bytes(b"x" * 100)

    def forgotten(**bounds):
        given = {"jobs": None, "size": None} | bounds
        return [one.number for one in to_forget(store.recent(), tmp_path, Bounds(**given), now=10.0)]

    assert forgotten() == []
    assert forgotten(jobs=2) == [4, 3, 2]  # the one in the queue stays, whatever it takes
    assert forgotten(age=6.5) == [3, 2]
    assert forgotten(size=350) == [3, 2]
    assert forgotten(jobs=0) == [6, 5, 4, 3, 2]
    folder = job_folder(tmp_path, view(6).id)
    assert folder_size(folder) == 100
    remove_folder(folder)
    assert not folder.exists()
    assert folder_size(folder) == 0
    remove_folder(folder)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Bounds, {"jobs": -1}, "jobs must be at least 0 or None, got -1"),
        (Settings, {"workers": 0}, "workers must be at least 1, got 0"),
        (Settings, {"workers": 2, "devices": ("cpu",)}, "devices must be 2, one a worker, got 1"),
        (Settings, {"timeout": 0}, "timeout must be above 0 or None, got 0"),
        (Settings, {"grace": -1}, "grace must be at least 0, got -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, given, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(**given)


def test_workers_get_devices():
    assert Settings().device_of(0) == "auto"
    assert Settings(workers=3).device_of(2) == "cuda:2"
    assert Settings(workers=2, devices=("cpu", "cuda:5")).device_of(1) == "cuda:5"


def test_the_state_folder_is_where_the_platform_wants_it(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_state_folder() == Path("/state/ea-app")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_state_folder() == Path.home() / ".local/state/ea-app"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_state_folder() == Path.home() / "Library/Application Support/ea-app"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert default_state_folder() == Path("/local/ea-app")


def submit(tmp_path, prompt="x", timeout=None, **options):
    return make_view(Submission(prompt=prompt, options=options, timeout=timeout), tmp_path)


def test_a_submission_keeps_all_that_decides(tiny_model, media, tmp_path, monkeypatch):
    monkeypatch.chdir(media)
    keyframes = {0: "square.png", -1: "wide.png"}
    made = submit(tmp_path, "红色的圆", model=str(tiny_model), keyframe=keyframes, size="32", frames=5)
    assert made.options["keyframe"] == {"0": "square.png", "last": "wide.png"}
    assert made.options["seed"] == made.seed
    assert made.working_directory == os.fspath(media)
    assert set(made.inputs) == {"keyframe 0", "keyframe -1"}
    assert made.output == job_folder(tmp_path, made.id) / f"{made.id}.mp4"
    again = submit(tmp_path, made.prompt, **json.loads(json.dumps(dict(made.options))))
    assert again.options == made.options
    assert submit(tmp_path, model=str(tiny_model), frames=1).output.suffix == ".png"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"stepz": 1}, "stepz"),
        ({"steps": 0}, "steps"),
        ({"image": "none.png"}, "image"),
        ({"model": "none"}, "model"),
        ({"model": "owner/never-fetched"}, "model"),
        ({"output": "none/a.mp4"}, "output"),
        ({"lora": "none.safetensors"}, "lora"),
        ({"lora_unmatched": "skip"}, "lora-unmatched"),
        ({"timeout": -1}, "timeout"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "\ud83d"}, "prompt"),
    ],
)
def test_a_mistake_is_said_before_anything_is_queued(options, field, tiny_model, tmp_path):
    with pytest.raises(InputError) as found:
        submit(tmp_path, **{"model": str(tiny_model)} | options)
    assert found.value.field == field
    assert not list(tmp_path.glob("jobs/*"))


def test_nothing_here_needs_torch():
    script = "import sys, ea_app.jobs; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
