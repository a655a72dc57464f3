"""Model directories of strangers: refused, or read as plain data, and never run.

Every directory brings code that would leave a file behind: pickles, modules named by `auto_map`, links and
paths that lead out of it.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest

from ea_app.api import Engine
from ea_dit.pipelines.tiny import make_tiny

CODE = "from pathlib import Path\nPath({!r}).write_text('it ran')\n"
FEW = 6
"""Of the default run; all of them are behind `slow`."""


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return exec, (CODE.format(str(self.canary)),)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """A tiny model in the released layout, which loads."""
    return make_tiny("v5.1-7b-inp", tmp_path_factory.mktemp("models") / "harmless")


def weights_of(folder):
    return next(folder.glob("*.safetensors"))


def pickled(part, name):
    """The weights are a pickle, under one name or another."""

    def change(folder, canary):
        file = weights_of(folder / part)
        file.unlink()
        (folder / part / (name or file.name)).write_bytes(pickle.dumps(Evil(canary)))

    return change


def configured(part, values, name="config.json"):
    """The config has more values than it should, and a module lies beside it."""

    def change(folder, canary):
        file = folder / part / name
        told = json.loads(file.read_text())
        file.unlink()
        file.write_text(json.dumps(told | values))
        for place in (folder, folder / part):
            (place / "evil.py").write_text(CODE.format(str(canary)))

    return change


def replaced(path, text):
    """A file is something else."""

    def change(folder, _canary):
        (folder / path).unlink()
        (folder / path).write_text(text)

    return change


def indexed(part, shard):
    """A table of shards leads out of the directory."""

    def change(folder, canary):
        file = weights_of(folder / part)
        outside = folder.parent / f"outside-{folder.name}.safetensors"
        shutil.copyfile(file, outside)
        outside.with_suffix(".bin").write_bytes(pickle.dumps(Evil(canary)))
        file.unlink()
        named = shard.format(outside=outside.stem, folder=folder.parent)
        table = {"metadata": {}, "weight_map": {"a": named}}
        (folder / part / f"{file.name}.index.json").write_text(json.dumps(table))

    return change


def linked(part):
    """The weights are a link to a pickle elsewhere."""

    def change(folder, canary):
        outside = folder.parent / f"outside-{folder.name}.bin"
        outside.write_bytes(pickle.dumps(Evil(canary)))
        file = weights_of(folder / part)
        file.unlink()
        file.symlink_to(outside)

    return change


AUTO = {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config", "AutoTokenizer": "evil.T"}}
PARTS = ("transformer", "vae", "text_encoder")
HOSTILE = {
    **{f"{part}: a pickle named safetensors": pickled(part, None) for part in PARTS},
    **{f"{part}: a link to a pickle": linked(part) for part in PARTS},
    "scheduler: no JSON": replaced("scheduler/scheduler_config.json", "{" * 10_000),
    "transformer: a pickle": pickled("transformer", "diffusion_pytorch_model.bin"),
    "vae: a pickle": pickled("vae", "diffusion_pytorch_model.bin"),
    "text_encoder: a pickle": pickled("text_encoder", "pytorch_model.bin"),
    "transformer: a checkpoint": pickled("transformer", "diffusion_pytorch_model.ckpt"),
    "vae: a checkpoint": pickled("vae", "diffusion_pytorch_model.pt"),
    **{f"{part}: {shard}": indexed(part, shard) for part in PARTS
       for shard in ("../../{outside}.safetensors", "{folder}/{outside}.safetensors", "../../{outside}.bin")},
    **{f"{part}: auto_map of a class that is none": configured(part, AUTO | kind) for part, kind in (
        ("transformer", {"_class_name": "evil.Model"}), ("vae", {"_class_name": "evil.Model"}),
        ("text_encoder", {"model_type": "evil", "architectures": ["Evil"]}))},
    "transformer: a class of the system": configured("transformer", {"_class_name": "os.system"}),
    "scheduler: a class of the system": configured(
        "scheduler", {"_class_name": "os.system"}, "scheduler_config.json"),
    "tokenizer: a class that is none": configured(
        "tokenizer", AUTO | {"tokenizer_class": "Evil"}, "tokenizer_config.json"),
    "transformer: a key of python": configured("transformer", {"__class__": "evil", "num_layers": 1}),
    "vae: a number without end": configured("vae", {"latent_channels": 10**9}),
    **{f"{part}: no JSON": replaced(f"{part}/config.json", "[" * 100_000) for part in PARTS},
}  # fmt: skip


def _cases():
    for number, (name, change) in enumerate(HOSTILE.items()):
        marks = [] if number % (len(HOSTILE) // FEW) == 0 else [pytest.mark.slow]
        yield pytest.param(change, id=name, marks=marks)


def test_there_are_enough():
    assert len(HOSTILE) >= 30


@pytest.mark.parametrize("change", list(_cases()))
def test_a_hostile_directory_is_refused_before_its_code_runs(change, harmless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(harmless, tmp_path / "model", copy_function=os.link))
    canary = tmp_path / "canary"
    change(folder, canary)
    with pytest.raises((ValueError, OSError)) as refused:
        Engine.load(str(folder), device="cpu")
    assert not canary.exists()
    assert str(refused.value)
