"""Fixtures of the app's tests: a tiny model and small input files."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


def _tiny_model_module():
    # Test folders are no packages, so a neighbour is loaded by its path.
    spec = importlib.util.spec_from_file_location("tiny_model", Path(__file__).with_name("tiny_model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A complete model directory with random weights."""
    return _tiny_model_module().write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Small input files: square.png, wide.png, clip.mp4 (9 frames), short.mp4 (3), mask.png, black.png."""
    import numpy as np
    from PIL import Image

    from ea_data.media import write_video
    from ea_data.synthetic import render, sample_scene

    folder = tmp_path_factory.mktemp("media")
    clip = render(sample_scene(0, 1), num_frames=9, height=32, width=32)
    write_video(folder / "clip.mp4", clip, fps=12)
    write_video(folder / "short.mp4", clip[:3], fps=12)
    Image.fromarray(clip[0]).save(folder / "square.png")
    wide = render(sample_scene(0, 2), num_frames=1, height=40, width=80)[0]
    Image.fromarray(wide).save(folder / "wide.png")
    mask = np.zeros((32, 32), dtype=np.uint8)
    Image.fromarray(mask).save(folder / "black.png")
    mask[:, :16] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    write_video(folder / "mask.mp4", np.repeat(np.repeat(mask[None, ..., None], 9, axis=0), 3, axis=3))
    (folder / "broken.png").write_bytes((folder / "square.png").read_bytes()[:60])
    (folder / "broken.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:900])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    return folder


@pytest.fixture(scope="session")
def loaded():
    """Loads models, and gives one again while nothing of it has changed."""
    from ea_dit.pipelines import load_pipeline

    return _neighbour("loaded").Loaded(load_pipeline)


@pytest.fixture
def command(tiny_model, loaded, tmp_path, monkeypatch, capsys):
    """Run `ea-app` in this process, in an empty folder, with the tiny model: (code, stdout, stderr)."""
    from ea_app.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ea_app.api.engine.load_pipeline", loaded)

    def run(*arguments):
        given = [str(argument) for argument in arguments]
        if given[:1] == ["generate"]:
            given += [] if "--model" in given else ["--model", str(tiny_model)]
            given += [] if "--device" in given else ["--device", "cpu"]
        code = main(given)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def _neighbour(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_workers(media, monkeypatch):
    """Workers that make nothing, see `fake_worker`."""
    process = _neighbour("fake_worker").FakeProcess
    process.clip, process.order, process.running, process.most_running = media / "clip.mp4", [], 0, 0
    monkeypatch.setattr("ea_app.jobs.slot.WorkerProcess", process)
    return process


@pytest.fixture(scope="session")
def reader():
    """The process that looks at files of strangers, one for all tests."""
    from ea_app.web.reader import Reader

    made = Reader()
    yield made
    made.close()


@pytest.fixture
def catalogue(tiny_model):
    """A catalogue with the tiny model under the id "tiny"."""
    from ea_app.server import Catalogue

    return Catalogue.of([str(tiny_model)])


@pytest.fixture
def open_server(fake_workers, catalogue, reader, tmp_path):
    """Make a client of a server over workers that make nothing: `open_server(queue_limit=..., token=...)`."""
    from contextlib import ExitStack

    from starlette.testclient import TestClient

    from ea_app.jobs import Settings, Supervisor
    from ea_app.server import ServerSettings, create_app

    with ExitStack() as stack:

        def make(*, queue_limit=100, workers=1, state="state", entries=None, **settings):
            devices = ("cpu",) * workers
            jobs = Supervisor(
                tmp_path / state, Settings(queue_limit=queue_limit, workers=workers, devices=devices)
            )
            stack.enter_context(jobs)
            app = create_app(jobs, entries or catalogue, ServerSettings(**settings), reader)
            return stack.enter_context(
                TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
            )

        yield make


@pytest.fixture
def client(open_server):
    """A client of a server over workers that make nothing."""
    return open_server()


@pytest.fixture(scope="session")
def patience():
    """Seconds, and as many times more as there are programs that want a core."""

    def scaled(seconds=1.0):
        return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

    return scaled


@pytest.fixture(scope="session")
def abilities():
    """What the model in the box can do, without asking it."""
    return _neighbour("studio_parts").ABILITIES


@pytest.fixture
def shelf(monkeypatch, tmp_path, abilities):
    """The model in the box, and a folder with a LoRA; nobody is asked in another process."""
    from ea_app.catalog import find
    from ea_app.ui.models import Shelf

    monkeypatch.setattr("ea_app.ui.models.ask", lambda name: (find(name).info, abilities))
    (tmp_path / "loras" / "people").mkdir(parents=True)
    (tmp_path / "loras" / "people" / "a.safetensors").write_bytes(b"")
    (tmp_path / "secret.safetensors").write_bytes(b"")
    return Shelf(loras=tmp_path / "loras")


@pytest.fixture
def uploads(tmp_path, reader):
    """A folder for uploaded files."""
    from ea_app.ui.uploads import Uploads

    return Uploads(tmp_path / "uploads", reader)


@pytest.fixture
def studio(shelf, uploads):
    """The page's business over jobs that nobody runs."""
    from ea_app.ui.studio import Studio

    return Studio(_neighbour("studio_parts").Jobs(), shelf, uploads)
