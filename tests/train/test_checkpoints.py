"""Checkpoints: whole or absent, checked before they are read; damaged ones and full disks."""

import errno
import json
import random
import subprocess
import sys
import textwrap

import pytest
import torch

from ea_train.loop import checkpoint
from ea_train.loop.manifest import damage_of


def _tensors(value):
    return [("module-net", {"weight": torch.full((64, 8), float(value)), "bias": torch.zeros(8)})]


@pytest.fixture
def three(tmp_path):
    """A folder with checkpoints of steps 1, 2 and 3."""
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, _tensors(step), {"batches": step})
    return tmp_path


def test_a_checkpoint_is_read_as_it_was_written(three):
    tensors, state = checkpoint.load(three, 2)
    assert torch.equal(tensors["module-net"]["weight"], torch.full((64, 8), 2.0))
    assert state == {"batches": 2, "step": 2}
    manifest = json.loads((three / "step-00000002" / "manifest.json").read_text())
    assert manifest["files"].keys() == {"module-net.safetensors", "state.json"}
    assert damage_of(three / "step-00000002", 2) is None
    assert sorted(path.name for path in three.iterdir()) == [f"step-{step:08d}" for step in (1, 2, 3)]


def test_tied_weights_are_kept(tmp_path):
    weight = torch.arange(6.0).view(2, 3)
    checkpoint.save(tmp_path, 1, [("module-net", {"a": weight, "b": weight})], {})
    tensors, _ = checkpoint.load(tmp_path, 1)
    assert torch.equal(tensors["module-net"]["b"], weight)


def _tampered(folder, rng):
    """Change, cut, lengthen, empty, remove or add one file; returns what was done."""
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "flip", "flip", "flip", "cut", "longer", "remove", "add", "swap"])
    place = rng.randrange(len(content))
    if kind == "flip":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "longer":
        content += bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
    elif kind == "swap":
        other = (place + rng.randrange(1, len(content))) % len(content)
        if content[place] == content[other]:
            content[other] ^= 1
        content[place], content[other] = content[other], content[place]
    if kind == "remove":
        path.unlink()
    elif kind == "add":
        (folder / "optimizer-other-0.safetensors").write_bytes(bytes(content))
    else:
        path.write_bytes(bytes(content))
    return f"{kind} {path.name} at {place}"


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_a_tampered_checkpoint_is_named_and_the_one_before_is_used(count, tmp_path):
    rng, missed = random.Random(count), []
    for number in range(count):
        folder = tmp_path / str(number)
        for step in (1, 2):
            checkpoint.save(folder, step, _tensors(step), {"batches": step})
        done = _tampered(folder / "step-00000002", rng)
        lines = []
        if checkpoint.newest_whole(folder, lines.append) != 1 or len(lines) != 1:
            missed.append(done)
        assert "step-00000002 is damaged (" in lines[0]
        assert lines[0].endswith("kept as damaged-step-00000002, continuing from step 1")
        assert checkpoint.checkpoint_steps(folder) == [1]
    assert missed == []


def test_several_damaged_checkpoints_are_passed_over(three):
    for step in (2, 3):
        (three / f"step-{step:08d}" / "state.json").unlink()
    (three / "damaged-step-00000003").mkdir()
    lines = []
    assert checkpoint.newest_whole(three, lines.append) == 1
    assert "state.json is missing" in lines[0]
    assert "kept as damaged-step-00000003-2" in lines[0]
    assert len(lines) == 2


def test_where_all_are_damaged_nothing_is_touched(three):
    for step in (1, 2, 3):
        (three / f"step-{step:08d}" / "manifest.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"step-00000003 is damaged \(manifest.json is not .* no earlier one"
    ):
        checkpoint.newest_whole(three, print)
    assert checkpoint.checkpoint_steps(three) == [1, 2, 3]


def test_a_checkpoint_under_another_name_is_damaged(three):
    (three / "step-00000003").rename(three / "step-00000009")
    assert damage_of(three / "step-00000009", 9) == "manifest.json was changed"


def test_a_checkpoint_of_another_version_is_named(three):
    path = three / "step-00000003" / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    assert damage_of(three / "step-00000003", 3) == "manifest.json is of format 2, and 1 is known here"


def test_old_checkpoints_and_drafts_are_removed(three):
    (three / ".step-00000009.1.tmp").mkdir()
    (three / "damaged-step-00000001").mkdir()
    (three / "step-notes").mkdir()
    checkpoint.prune(three, 2)
    names = {path.name for path in three.iterdir()}
    assert names == {"step-00000002", "step-00000003", "damaged-step-00000001", "step-notes"}
    checkpoint.prune(three)
    assert checkpoint.checkpoint_steps(three) == [2, 3]


def _save_with_little_space(folder, limits):
    """Write step 4 again and again where files may have so many bytes; what was said each time."""
    script = f"""
        import json, pathlib, resource, signal, sys, torch
        from ea_train.loop import checkpoint
        from ea_train.loop.manifest import damage_of
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, highest = resource.getrlimit(resource.RLIMIT_FSIZE)
        folder = pathlib.Path({str(folder)!r})
        tensors = {{"weight": torch.full((64, 8), 4.0), "bias": torch.zeros(8)}}
        for limit in {limits}:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, highest))
            try:
                checkpoint.save(folder, 4, [("module-net", tensors)], {{"batches": 4}})
                said = "written"
            except OSError as error:
                said = str(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (highest, highest))
            steps = checkpoint.checkpoint_steps(folder)
            whole = [damage_of(checkpoint.checkpoint_folder(folder, step), step) is None for step in steps]
            print(json.dumps([said, steps, all(whole), len(list(folder.glob(".step*")))]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_without_space_the_earlier_checkpoints_stay(count, three):
    rng = random.Random(count)
    found = _save_with_little_space(three, [0, *(rng.randrange(2300) for _ in range(count)), 100_000])
    for said, steps, whole, drafts in found[:-1]:
        assert said.startswith(f"cannot write the checkpoint of step 4 to {three}: ")
        assert said.endswith("; the checkpoint of step 3 is kept")
        assert (steps, whole, drafts) == ([1, 2, 3], True, 0)
    assert found[-1] == ["written", [1, 2, 3, 4], True, 0]
    assert len(found) == count + 2


def test_a_full_disk_is_one_line_and_leaves_nothing_half(toy, settings, trainer, monkeypatch):
    def refuse(tensors, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    run = trainer(toy(), settings({"steps": 2}))
    run.fit()
    monkeypatch.setattr(checkpoint, "save_file", refuse)
    more = trainer(toy(), settings({"steps": 4}))
    with pytest.raises(
        OSError, match=r"^cannot write .* step 3 .*: No space left on device; .* step 2 is kept$"
    ):
        more.fit()
    monkeypatch.undo()
    again = trainer(toy(), settings({"steps": 4}))
    again.fit()
    assert again.finished_steps == 4
