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
