"""Workers that Ray places: with a stand-in for Ray, and, behind the marker, with Ray itself."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import sys
import threading
import time
import types

import pytest

from ea_app.jobs import JobsError, Settings, State, Supervisor
from ea_app.jobs import ray_process as module


class FakeRay(types.ModuleType):
    """Actors are objects of this process, their calls run in threads; a killed one answers no more."""

    def __init__(self, **resources):
        super().__init__("ray")
        self.resources, self.started, self.options = resources, False, []
        self.exceptions = types.SimpleNamespace(RayError=RayError)

    def is_initialized(self):
        return self.started

    def init(self, **options):
        if options["address"] == "nowhere:1":
            raise ConnectionError("Could not find any running Ray instance.")
        self.started, self.options = True, [options]

    def shutdown(self):
        self.started = False

    def cluster_resources(self):
        return self.resources

    def remote(self, actor_class):
        ray = self

        class Placed:
            def options(self, **options):
                ray.options.append(options)
                return self

            def remote(self, *arguments):
                return Actor(actor_class, arguments)

        return Placed()

    def get(self, future):
        return future.result()

    def kill(self, actor, no_restart):
        actor.kill()


class RayError(Exception):
    """As ray.exceptions.RayError."""


class Actor:
    def __init__(self, actor_class, arguments):
        self._pool = concurrent.futures.ThreadPoolExecutor(3)
        self._dead = threading.Event()
        self._object = self._error = None
        try:
            self._object = actor_class(*arguments)
        except JobsError as error:
            self._error = error

    def __getattr__(self, name):
        def remote(*arguments):
            return self._pool.submit(self._call, name, arguments)

        return types.SimpleNamespace(remote=remote)

    def _call(self, name, arguments):
        if self._error is not None:
            raise RayError(str(self._error))
        future = concurrent.futures.Future()
        run = threading.Thread(
            target=lambda: future.set_result(getattr(self._object, name)(*arguments)), daemon=True
        )
        run.start()
        while not future.done():
            if self._dead.wait(0.01):
                raise RayError("the actor died")
        return future.result()

    def kill(self):
        if self._object is not None and not self._dead.is_set():
            self._object._process.kill()
        self._dead.set()


@pytest.fixture
def fake_ray(fake_workers, monkeypatch):
    """Ray's stand-in, with a cluster of two GPUs, over workers that make nothing."""
    ray = FakeRay(CPU=4.0, GPU=2.0)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(module, "WorkerProcess", fake_workers)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.2)
    return ray


def _submit(jobs, tiny_model, prompt, **options):
    return jobs.submit(prompt, model=str(tiny_model), seed=1, **options)


def test_jobs_run_on_placed_workers(fake_ray, tiny_model, tmp_path):
    with Supervisor(tmp_path / "state", Settings(workers=2, ray="auto")) as jobs:
        views = [_submit(jobs, tiny_model, f"circle {number}") for number in range(4)]
        done = [jobs.wait(view.id, timeout=20) for view in views]
        assert [view.state for view in done] == [State.DONE] * 4
        assert all(view.output.is_file() for view in done)
        assert [worker.pid > 0 for worker in jobs.workers()] == [True, True]
    connected, *placed = fake_ray.options
    assert connected["address"] == "auto"
    assert placed == [{"num_cpus": 0, "num_gpus": 1, "max_concurrency": 3, "max_restarts": 0}] * 2


def test_a_cancel_reaches_the_worker(fake_ray, tiny_model, tmp_path):
    with Supervisor(tmp_path / "state", Settings(ray="auto")) as jobs:
        slow = _submit(jobs, tiny_model, "slow circle", steps=1000)
        next(view for view in jobs.follow(slow.id, timeout=20) if view.step > 2)
        jobs.cancel(slow.id)
        assert jobs.wait(slow.id, timeout=20).state is State.CANCELLED
        after = _submit(jobs, tiny_model, "circle")
        assert jobs.wait(after.id, timeout=20).state is State.DONE


def test_an_actor_that_dies_fails_one_job_only(fake_ray, tiny_model, tmp_path):
    with Supervisor(tmp_path / "state", Settings(ray="auto")) as jobs:
        slow = _submit(jobs, tiny_model, "slow circle", steps=1000)
        next(view for view in jobs.follow(slow.id, timeout=20) if view.step > 2)
        jobs._slots[0]._process._actor.kill()
        failed = jobs.wait(slow.id, timeout=20)
        assert failed.state is State.FAILED
        assert failed.error == "its worker is gone: the actor died"
        after = _submit(jobs, tiny_model, "circle")
        assert jobs.wait(after.id, timeout=20).state is State.DONE


def test_a_machine_without_the_state_folder_says_so(tmp_path):
    with pytest.raises(JobsError, match=r"does not see .*; the state folder has to be shared"):
        module.RemoteWorker(0, str(tmp_path / "elsewhere"), None)


def test_without_a_cluster_one_line_says_so(fake_ray):
    with pytest.raises(JobsError, match=r"^there is no Ray cluster at 'nowhere:1': Could not find any"):
        module.connect("nowhere:1")
    assert module.connect("local") == {"CPU": 4.0, "GPU": 2.0}
    assert fake_ray.options[0]["include_dashboard"] is False
    module.disconnect()
    assert not fake_ray.started


def test_more_workers_than_gpus_are_refused(fake_ray, command):
    code, _, err = command("serve", "--ray", "--workers", "3")
    assert code == 2
    assert "workers: must be at most 2, one a GPU of the cluster, got 3" in err


def test_without_the_extra_one_line_says_how(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = command("serve", "--ray")
    assert code == 2
    assert err == "ea-app: error: ray: needs Ray, which is not installed: pip install 'ea-app[ray]'\n"


def test_devices_are_those_of_the_machine():
    assert Settings(workers=2).device_of(1) == "cuda:1"
    assert Settings(workers=2, ray="auto").device_of(1) == "auto"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_with_ray_itself(tiny_model, tmp_path):
    """A job, a cancel, and a worker that is killed, on a cluster of this machine."""
    try:
        with Supervisor(tmp_path / "state", Settings(ray="local", grace=5.0)) as jobs:
            first = _submit(jobs, tiny_model, "a circle")
            done = jobs.wait(first.id, timeout=200)
            assert done.state is State.DONE, done.error
            slow = _submit(jobs, tiny_model, "a circle", steps=1000)
            next(view for view in jobs.follow(slow.id, timeout=60) if view.step > 2)
            jobs.cancel(slow.id)
            assert jobs.wait(slow.id, timeout=60).state is State.CANCELLED
            killed = _submit(jobs, tiny_model, "a circle", steps=1000)
            next(view for view in jobs.follow(killed.id, timeout=60) if view.step > 2)
            jobs._slots[0]._process.kill()
            begun = time.monotonic()
            assert jobs.wait(killed.id, timeout=60).state is State.FAILED
            assert time.monotonic() - begun < 10
            after = _submit(jobs, tiny_model, "a circle")
            assert jobs.wait(after.id, timeout=200).state is State.DONE
    finally:
        module.disconnect()
