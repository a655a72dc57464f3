"""The option --memory, from the command to the record."""

from __future__ import annotations

import json

import pytest

from ea_app import Engine, InputError

QFLOAT8 = "model_cpu_offload_and_qfloat8"


def _record(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())


def test_frames_depend_on_the_mode_only_where_weights_are_rounded(command, tmp_path):
    made = {}
    for mode in ("auto", "sequential_cpu_offload", QFLOAT8):
        code, _, error = command("generate", "x", "--seed", 3, "--memory", mode, "--output", f"{mode}.webp")
        assert code == 0
        assert "memory:" not in error  # on a CPU there is nothing to choose
        made[mode] = _record(tmp_path / f"{mode}.webp")
    hashes = {mode: record["frames"]["xxh3"] for mode, record in made.items()}
    assert hashes["auto"] == hashes["sequential_cpu_offload"] != hashes[QFLOAT8]
    assert [record["machine"]["memory"] for record in made.values()] == [
        "model_full_load", "sequential_cpu_offload", QFLOAT8,
    ]  # fmt: skip
    for mode in ("sequential_cpu_offload", QFLOAT8):
        code, out, _ = command("replay", f"{mode}.webp")
        assert (code, "identical frames" in out) == (0, True)


def test_products_in_eight_bits_are_asked_for_by_the_environment(command, tmp_path, monkeypatch):
    options = ("x", "--seed", 3, "--memory", QFLOAT8, "--output")
    monkeypatch.setenv("EA_LINEAR", "float8")  # no CPU does
    code, _, error = command("generate", *options, "float8.webp")
    assert code == 2
    assert error.count("\n") == 1
    assert "EA_LINEAR: linear 'float8' is not available: it needs a GPU" in error
    assert not (tmp_path / "float8.webp").exists()
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    monkeypatch.setenv("EA_LINEAR", "int8")
    assert command("generate", *options, "int8.webp")[0] == 0
    assert _record(tmp_path / "int8.webp")["machine"]["linear"] == "int8"
    assert command("replay", "int8.webp")[0] == 0
    monkeypatch.delenv("EA_LINEAR")
    code, _, error = command("replay", "int8.webp", "--output", "other.webp")
    assert (code, "linear was int8, is restored" in error) == (1, True)


def test_graphs_are_asked_for_by_the_environment(command, tmp_path, monkeypatch):
    monkeypatch.setenv("EA_CUDA_GRAPHS", "1")
    code, _, error = command("generate", "x", "--output", "x.webp")
    assert (code, error.count("\n")) == (2, 1)
    assert (
        "error: EA_CUDA_GRAPHS: cannot be used: CUDA graphs need a GPU, the network is used on 'cpu'" in error
    )
    code, _, error = command("generate", "x", "--memory", "sequential_cpu_offload", "--output", "x.webp")
    assert (code, error.count("\n")) == (2, 1)
    assert "EA_CUDA_GRAPHS cannot be used: memory sequential_cpu_offload moves weights" in error
    assert not (tmp_path / "x.webp").exists()


def test_wrong_modes_are_one_clear_line(command, tiny_model):
    code, _, error = command("generate", "x", "--memory", "none")
    assert code == 2
    assert error.startswith(
        "ea-app: error: memory: must be one of auto, model_full_load, model_cpu_offload, "
    )
    assert error.endswith("low_gpu_memory_mode; got 'none'\n")
    with pytest.raises(InputError, match=r"^memory: must be one of auto, .*; got 'none'"):
        Engine.load(str(tiny_model), device="cpu", memory="none")


def test_an_automatic_choice_is_told_once(command, monkeypatch):
    monkeypatch.setattr(Engine, "memory_note", "memory: model_cpu_offload; because")
    _, _, error = command("generate", "x", "--seed", 3, "--output", "out.webp")
    assert error.count("memory: model_cpu_offload; because") == 1
