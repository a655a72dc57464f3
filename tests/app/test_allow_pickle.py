"""`--allow-pickle`: models whose weights are pickles, and the one line without the flag."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

PARTS = ("transformer", "vae", "text_encoder")


class Malicious:
    """Writes a file when it is unpickled by a reader that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def model(tiny_model, tmp_path):
    """The tiny model with its transformer and its autoencoder in pickles."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    for part in ("transformer", "vae"):
        file = next((folder / part).glob("*.safetensors"))
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    return folder


def one_line(code, out, err, message, expected=2):
    assert (code, out) == (expected, "")
    assert err.count("\n") == 1, err
    assert message in err


REFUSED = "diffusion_pytorch_model.bin: is a pickle, and pickles can run code; allow_pickle (--allow-pickle)"


def test_convert(model, tiny_model, command, tmp_path):
    arguments = ("convert", model, "there", "--layout", "diffusers")
    one_line(*command(*arguments), REFUSED)
    assert not (tmp_path / "there").exists()
    code, out, err = command(*arguments, "--allow-pickle", "--quiet")
    assert (code, out, err) == (0, "", "")
    assert command("convert", tiny_model, "expected", "--layout", "diffusers", "--quiet")[0] == 0
    assert not list((tmp_path / "there").rglob("*.bin"))
    for part in PARTS:
        one, other = (next((tmp_path / name / part).glob("*.safetensors")) for name in ("there", "expected"))
        made, wanted = load_file(one), load_file(other)
        assert made.keys() == wanted.keys()
        assert all(torch.equal(made[name], wanted[name]) for name in wanted)


def test_inspect_and_verify(model, tiny_model, command):
    one_line(*command("models", "inspect", model), REFUSED)
    code, out, err = command("models", "inspect", model, "--allow-pickle")
    assert (code, err) == (0, "")
    assert out == command("models", "inspect", tiny_model)[1].replace(str(tiny_model), str(model))
    code, out, _ = command("models", "verify", model)
    assert code == 1
    assert REFUSED in out
    assert command("models", "verify", model, "--allow-pickle")[0] == 0


def test_a_pickle_with_code_is_refused_and_never_runs(model, command, tmp_path):
    file = model / "transformer" / "diffusion_pytorch_model.bin"
    torch.save({**torch.load(file), "bad": Malicious(tmp_path / "was-here")}, file)
    refused = "diffusion_pytorch_model.bin: not a plain dictionary of tensors: it names code to be run"
    one_line(*command("models", "inspect", model, "--allow-pickle"), refused)
    one_line(*command("convert", model, "there", "--layout", "diffusers", "--allow-pickle"), refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_truncated_pickle_is_one_line(model, command, tmp_path):
    file = model / "vae" / "diffusion_pytorch_model.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused = "diffusion_pytorch_model.bin: not a plain dictionary of tensors: it is damaged or cut off"
    one_line(*command("convert", model, "there", "--layout", "diffusers", "--allow-pickle"), refused)
    assert not (tmp_path / "there").exists()
