"""Jobs on real workers: queue, progress, cancel, time-outs, crashes, memory, restarts."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from ea_app.jobs import Bounds, JobReader, JobsError, NoSuchJobError, QueueFullError, Reason, Settings, State
from ea_app.jobs.folders import job_folder
from ea_app.jobs.supervisor import Supervisor
from ea_app.options import InputError

LONG = 1000
"""Steps of a job that is not meant to end by itself."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    """The tiny model with a map for previews, and sizes that need much memory."""
    folder = tmp_path_factory.mktemp("previewed") / "tiny"
    shutil.copytree(tiny_model, folder)
    info = json.loads((folder / "model.json").read_text())
    rows = [[0.1, 0.0, -0.1]] * 16 + [[0.5, 0.5, 0.5]]
    info |= {"latent_rgb": rows, "max_side": 4096, "max_frames": 49}
    (folder / "model.json").write_text(json.dumps(info))
    return str(folder)


@pytest.fixture(scope="module")
def jobs(model, tmp_path_factory):
    """A supervisor with one worker, shared: a worker takes seconds to start."""
    settings = Settings(preload=model, grace=20.0, step_seconds=0.0, queue_limit=5)
    with Supervisor(tmp_path_factory.mktemp("state"), settings) as supervisor:
        yield supervisor


@pytest.fixture
def submit(jobs, model):
    """Queue a job on the tiny model."""

    def queue(prompt="a red circle", **options):
        return jobs.submit(prompt, model=model, device="cpu", **options).id

    return queue


def reach(jobs, job_id, step=2, timeout=120.0):
    """Wait until a job has denoised so many steps."""
    for view in jobs.follow(job_id, timeout):
        if view.stage == "denoise" and view.step >= step:
            return view
        assert not view.over, view.error
    raise AssertionError(f"{jobs.get(job_id)} got nowhere")


def done(jobs, job_id, timeout=120.0):
    """Wait for a job that succeeds."""
    view = jobs.wait(job_id, timeout)
    assert view.state is State.DONE, (view.state, view.error)
    return view


def frames_hash(view):
    return view.record["frames"]["xxh3"]


def runs(pid):
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition, timeout=60.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_three_jobs_in_order(jobs, submit):
    queued = [submit(f"prompt {number}", seed=number) for number in range(3)]
    views = [done(jobs, job) for job in queued]
    assert [view.number for view in views] == sorted(view.number for view in views)
    for before, after in pairwise(views):
        assert before.ended <= after.started
    for number, view in enumerate(views):
        assert view.record["request"]["prompt"] == f"prompt {number}"
        assert view.output.name == f"{view.id}.mp4"
        assert view.output.is_file()
        assert json.loads(Path(f"{view.output}.json").read_text()) == view.record
        assert (view.seed, view.attempts, view.error) == (number, 1, None)
        assert {"load", "denoise", "decode", "write", "job"} <= set(view.timings)
    assert [view.id for view in jobs.recent(3)] == queued[::-1]


def test_what_a_job_tells(jobs, submit):
    seen = list(jobs.follow(submit(steps=30), 120.0))
    states = list(dict.fromkeys(view.state for view in seen))
    order = [State.QUEUED, State.LOADING, State.RUNNING, State.DECODING, State.SAVING, State.DONE]
    assert [state for state in order if state in states] == states  # short ones may be missed
    assert {State.RUNNING, State.DONE} <= set(states)
    steps = [view for view in seen if view.stage == "denoise" and view.step]
    assert all(view.total == 30 for view in steps)
    assert any(view.remaining for view in steps[1:-1])
    last = seen[-1]
    assert (last.remaining, last.stage) == (None, "save")
    for picture in (last.preview, last.thumbnail):
        assert max(Image.open(io.BytesIO(picture.read_bytes())).size) == 256
    assert (job_folder(jobs.folder, last.id) / "latents-0000.safetensors").is_file()
    with JobReader(jobs.folder) as reader:
        assert reader.get(last.id) == jobs.get(last.id)


def test_mistakes_and_files_that_change_end_one_job(jobs, submit, media, tmp_path):
    with pytest.raises(InputError, match=r"^steps: "):
        submit(steps=-1)
    blocker = submit(steps=LONG)
    picture = shutil.copy(media / "square.png", tmp_path / "a.png")
    changed = submit(image=picture)
    refused = submit(sampler="none")
    shutil.copy(media / "wide.png", picture)
    pid = jobs.workers()[0].pid
    jobs.cancel(blocker)
    view = jobs.wait(changed, 120.0)
    assert (view.state, view.reason, view.error_field) == (State.FAILED, Reason.MISTAKE, "image")
    assert view.error == f"image: {picture} has changed since the job was queued"
    view = jobs.wait(refused, 120.0)
    assert (view.reason, view.error_field) == (Reason.MISTAKE, "sampler")
    assert jobs.workers()[0].pid == pid  # nothing was wrong with the worker


def test_cancelling(jobs, submit):
    running, waiting = submit(steps=LONG), submit(steps=LONG)
    reach(jobs, running)
    pid = jobs.workers()[0].pid
    jobs.cancel(waiting)
    assert jobs.wait(waiting, 60.0).state is State.CANCELLED
    assert jobs.get(running).state is State.RUNNING
    jobs.cancel(running)
    view = jobs.wait(running, 60.0)
    assert (view.state, view.error) == (State.CANCELLED, None)
    assert not view.output.exists()
    done(jobs, submit())
    assert jobs.workers()[0].pid == pid  # it stopped by itself
    assert jobs.cancel(view.id).state is State.CANCELLED  # again changes nothing
    with pytest.raises(NoSuchJobError):
        jobs.cancel("0" * 24)


def test_a_cancelled_job_goes_on_where_it_was(jobs, submit):
    job = submit(steps=60, seed=5, sampler="Flow_Unipc")
    reach(jobs, job, 5)
    jobs.cancel(job)
    assert jobs.wait(job, 60.0).state is State.CANCELLED
    jobs.resume(job)
    first = next(view.step for view in jobs.follow(job, 120.0) if view.stage == "denoise" and view.step)
    assert first >= 5
    view = done(jobs, job)
    assert view.attempts == 1
    assert frames_hash(view) == frames_hash(done(jobs, submit(steps=60, seed=5, sampler="Flow_Unipc")))
    with pytest.raises(
        JobsError, match=r"is done: this is for jobs that are cancelled or failed or interrupted"
    ):
        jobs.resume(job)


def test_a_killed_worker_ends_one_job_which_goes_on(jobs, submit):
    job, after = submit(steps=60, seed=6), submit(seed=7)
    reach(jobs, job, 5)
    pid = jobs.workers()[0].pid
    os.kill(pid, signal.SIGKILL)
    view = jobs.wait(job, 60.0)
    assert (view.state, view.reason) == (State.FAILED, Reason.CRASH)
    assert view.error == ("its worker process was ended by SIGKILL, as the system does where memory runs out")
    done(jobs, after)
    assert jobs.workers()[0].pid != pid
    jobs.resume(job)
    assert frames_hash(done(jobs, job)) == frames_hash(done(jobs, submit(steps=60, seed=6)))


def test_a_worker_that_does_not_stop_is_killed(jobs, submit):
    job = submit(steps=LONG)
    reach(jobs, job)
    pid = jobs.workers()[0].pid
    os.kill(pid, signal.SIGSTOP)
    object.__setattr__(jobs._settings, "grace", 0.5)
    try:
        jobs.cancel(job)
        assert jobs.wait(job, 60.0).state is State.CANCELLED
    finally:
        object.__setattr__(jobs._settings, "grace", 20.0)
    until(lambda: not runs(pid))
    done(jobs, submit())


def test_a_job_that_takes_too_long(jobs, submit):
    job = submit(steps=LONG, timeout=1.0)
    view = jobs.wait(job, 60.0)
    assert (view.state, view.reason) == (State.FAILED, Reason.TIMEOUT)
    assert view.error == "it took longer than 1 s"
    done(jobs, submit())


def test_the_queue_is_bounded_and_jobs_are_deleted(jobs, submit):
    running = submit(steps=LONG)
    reach(jobs, running, 1)
    waiting = [submit() for _ in range(5)]
    folders = set((jobs.folder / "jobs").iterdir())
    with pytest.raises(QueueFullError, match=r"^5 jobs wait already; try again later$"):
        submit()
    assert set((jobs.folder / "jobs").iterdir()) == folders
    assert [view.ahead for view in jobs.unfinished()] == [0, 0, 1, 2, 3, 4]
    with pytest.raises(JobsError, match=r"is running: this is for jobs that are cancelled or done or "):
        jobs.delete(running)
    for job in waiting:
        jobs.delete(job)
        assert not job_folder(jobs.folder, job).exists()
        with pytest.raises(NoSuchJobError):
            jobs.get(job)
    jobs.cancel(running)
    jobs.wait(running, 60.0)
    jobs.delete(running)


def test_memory_that_is_not_there(model, tmp_path):
    """A worker with little memory: a large job fails, and a small one does not."""
    settings = Settings(preload=model, memory_limit=400_000_000, bounds=Bounds(jobs=1))
    with Supervisor(tmp_path, settings) as jobs:
        large = jobs.submit("x", model=model, device="cpu", size=4096, frames=49)
        small = jobs.submit("x", model=model, device="cpu")
        view = jobs.wait(large.id, 120.0)
        assert (view.state, view.reason) == (State.FAILED, Reason.MEMORY), view.error
        assert view.error == "there was not enough memory; try a smaller size or fewer frames"
        done(jobs, small.id)
        jobs.prune()
        assert [one.id for one in jobs.recent()] == [small.id]  # no more than one is remembered
    with pytest.raises(JobsError, match="the supervisor is closed"):
        jobs.submit("x", model=model)


SCRIPT = """
import sys, time
from ea_app.jobs import Settings, Supervisor
folder, model = sys.argv[1:]
jobs = Supervisor(folder, Settings(step_seconds=0.0))
first = jobs.submit("红色的圆", model=model, device="cpu", seed=8, steps=60)
second = jobs.submit("second", model=model, device="cpu", seed=9)
for view in jobs.follow(first.id):
    if view.stage == "denoise" and view.step >= 5:
        print(first.id, second.id, jobs.workers()[0].pid, flush=True)
        break
time.sleep(999)
"""


def test_a_killed_supervisor_leaves_the_truth_and_no_process(model, jobs, submit, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), model], stdout=subprocess.PIPE, text=True
    )
    first, second, pid = child.stdout.readline().split()
    assert runs(pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    until(lambda: not runs(pid))
    with JobReader(tmp_path) as reader:
        view = reader.get(first)
        assert view.state is State.INTERRUPTED
        assert view.error.startswith("what ran it is gone; the job was at ")
        assert reader.get(second).state is State.QUEUED
    with Supervisor(tmp_path, Settings(step_seconds=0.0)) as again:
        view = done(again, first)
        assert (view.attempts, view.prompt) == (2, "红色的圆")
        done(again, second)
        assert again.recent(1)[0].id == second
    whole = done(jobs, submit("红色的圆", seed=8, steps=60))
    assert frames_hash(view) == frames_hash(whole)


def test_closing_interrupts_and_a_job_that_always_ends_badly_is_not_begun_for_ever(model, tmp_path):
    with Supervisor(tmp_path, Settings(preload=model)) as jobs:
        job = jobs.submit("x", model=model, device="cpu", steps=LONG).id
        reach(jobs, job)
    with Supervisor(tmp_path, Settings(attempts=1)) as jobs:
        view = jobs.get(job)
        assert view.state is State.INTERRUPTED
        jobs.cancel(job)
        assert jobs.wait(job).state in (State.CANCELLED, State.INTERRUPTED)
        until(lambda: jobs.get(job).state is State.CANCELLED)


def test_many_clients_at_once(jobs, submit):
    """Threads queue, cancel, resume, delete and prune without order; the queue stays whole."""
    known, unexpected, end = [], [], time.monotonic() + 2.0

    def client(number):
        chance = random.Random(number)
        while time.monotonic() < end:
            try:
                call = chance.choice([submit, jobs.cancel, jobs.resume, jobs.delete, jobs.get, jobs.prune])
                if call is submit:
                    known.append(submit(steps=chance.choice([1, 2, LONG])))
                elif call == jobs.prune:
                    jobs.prune()
                elif known:
                    call(chance.choice(known))
                time.sleep(0.01)
            except JobsError:
                continue
            except Exception as error:  # noqa: BLE001
                unexpected.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    assert len(known) > 5
    while waiting := jobs.unfinished():
        for view in waiting:
            jobs.cancel(view.id)
        jobs.wait(waiting[0].id, 10.0)
    done(jobs, submit())


@pytest.mark.slow
def test_two_workers_run_two_jobs(model, tmp_path):
    settings = Settings(workers=2, devices=("cpu", "cpu"), preload=model)
    with Supervisor(tmp_path, settings) as jobs:
        queued = [jobs.submit("x", model=model, steps=LONG).id for _ in range(3)]
        for job in queued[:2]:
            reach(jobs, job)
        assert sorted(worker.job for worker in jobs.workers()) == sorted(queued[:2])
        assert jobs.get(queued[2]).state is State.QUEUED
        pids = {worker.pid for worker in jobs.workers()}
        jobs.cancel(queued[0])
        reach(jobs, queued[2])
        assert jobs.get(queued[1]).active
    until(lambda: not any(map(runs, pids)))


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_fifty_kills(jobs, submit, patience):
    """Whatever a worker is doing when it is killed, the next job succeeds within 10 s."""
    slowest = 0.0  # seconds of a machine where nobody else computes
    for number in range(50):
        job = submit(steps=LONG)
        reach(jobs, job, 1 + number % 7)
        os.kill(jobs.workers()[0].pid, signal.SIGKILL)
        assert jobs.wait(job, patience(60.0)).reason is Reason.CRASH
        start = time.monotonic()
        done(jobs, submit(), patience(120.0))
        slowest = max(slowest, (time.monotonic() - start) / patience())
    print(f"the slowest of 50 took {slowest:.1f} s")
    assert slowest < 10.0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_cancels(jobs, submit, patience):
    """After a cancel the worker is free within 2 s, and never has two jobs."""
    done(jobs, submit())
    pid, slowest = jobs.workers()[0].pid, 0.0
    for number in range(100):
        job = submit(steps=LONG)
        reach(jobs, job, 1 + number % 5)
        start = time.monotonic()
        jobs.cancel(job)
        assert jobs.wait(job, patience(60.0)).state is State.CANCELLED
        assert jobs.workers()[0].job is None
        slowest = max(slowest, (time.monotonic() - start) / patience())
    print(f"the slowest of 100 took {slowest:.2f} s")
    assert slowest < 2.0
    assert jobs.workers()[0].pid == pid
