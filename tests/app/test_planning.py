"""What a request will need, beside numbers that are known otherwise."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from ea_app.catalog import find
from ea_app.cli import main
from ea_app.options import InputError
from ea_app.planning import find_machine, plan
from ea_app.planning.autoencoder import AutoencoderCosts
from ea_app.planning.transformer import TransformerCosts
from ea_kernels.runtime.weights import stored_shapes

V5_1 = {
    "_class_name": "EasyAnimateTransformer3DModel",
    "num_layers": 48,
    "mmdit_layers": 48,
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "text_embed_dim": 3584,
    "add_norm_text_encoder": True,
}
VAE = {
    "_class_name": "AutoencoderKLMagvit",
    "block_out_channels": [128, 256, 512, 512],
    "latent_channels": 16,
    "layers_per_block": 2,
    "down_block_types": ["SpatialDownBlock3D", *["SpatialTemporalDownBlock3D"] * 3],
    "up_block_types": ["SpatialUpBlock3D", *["SpatialTemporalUpBlock3D"] * 3],
}


@pytest.fixture
def large(tmp_path):
    """The configs of V5.1 without any weights."""
    for part, config in (("transformer", V5_1), ("vae", VAE), ("text_encoder", {})):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(config))
    info = replace(find("default").info, native_width=512, native_height=512, native_frames=49)
    card = replace(info, max_side=1344, max_frames=49, steps=50).to_dict()
    (tmp_path / "model.json").write_text(json.dumps(card))
    return find(str(tmp_path))


def test_parameters_are_those_of_the_files():
    directory = find("default").directory / "transformer"
    stored = sum(math.prod(shape) for shape in stored_shapes(directory).values())
    config = json.loads((directory / "config.json").read_text())
    assert TransformerCosts(config).parameters() == stored


def test_the_large_transformer():
    costs = TransformerCosts(V5_1)
    assert costs.parameters() == pytest.approx(11.799e9, rel=1e-3)
    assert costs.flops(3328, 256) == pytest.approx(46.6e12, rel=2e-3)
    assert costs.flops(13312, 256) == pytest.approx(256.1e12, rel=2e-3)
    assert costs.flops(53248, 256) == pytest.approx(2270e12, rel=2e-3)


def test_the_large_autoencoder():
    costs = AutoencoderCosts(VAE)
    layers = list(costs.decoder(13, 512, 512))
    assert sum(layer.flops / layer.share for layer in layers) == pytest.approx(185.6e12, rel=0.01)
    assert sum(layer.flops for layer in layers) == pytest.approx(152.9e12, rel=0.01)
    assert sum(layer.flops for layer in costs.encoder(49, 512, 512)) == pytest.approx(117.2e12, rel=0.01)
    assert layers[-1].frames == 49


def test_memory_modes_need_less_and_less(large):
    machine = find_machine("H200")
    peaks = [
        plan(large, machine, memory=mode).peak_gigabytes
        for mode in (
            "model_full_load",
            "model_cpu_offload",
            "model_cpu_offload_and_qfloat8",
            "sequential_cpu_offload",
        )
    ]
    assert peaks == sorted(peaks, reverse=True)
    # 11.8 and 0.25 billion numbers of two bytes, and activations.
    assert peaks[0] == pytest.approx(28, abs=4)
    small = find_machine("A10")
    assert plan(large, small).memory == "sequential_cpu_offload"
    assert plan(large, small).fits
    assert plan(large, machine).memory == "model_full_load"
    assert not plan(large, small, memory="model_full_load").fits


def test_what_decides_and_how(large):
    machine = find_machine("H200")
    base = plan(large, machine)
    assert base.tokens == 13 * 32 * 32
    denoise, decode = base.stages
    assert denoise.teraflops == pytest.approx(50 * 2 * 256.1, rel=2e-3)
    assert plan(large, machine, guidance=1).stages[0].teraflops == pytest.approx(denoise.teraflops / 2)
    assert plan(large, machine, steps=25).stages[0].seconds == pytest.approx(denoise.seconds / 2)
    assert plan(large, machine, frames=1).tokens == 32 * 32
    assert plan(large, machine, size="1024x1024").stages[1].gigabytes > decode.gigabytes
    windows = plan(large, machine, frames=97, overlap=1, window=49)
    assert windows.settings["windows"] == 2
    assert windows.seconds == pytest.approx(2 * base.seconds)
    assert windows.peak_gigabytes == base.peak_gigabytes
    cpu = plan(large, find_machine("cpu"))
    assert cpu.weights_gigabytes == pytest.approx(2 * base.weights_gigabytes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "500x512"}, "size: width and height must be"),
        ({"steps": 0}, "steps"),
        ({"prompt": "a cat"}, "prompt: decides nothing here; what does: size, frames"),
    ],
)
def test_wrong_options_are_named(large, options, message):
    with pytest.raises(InputError, match=message):
        plan(large, find_machine("cpu"), **options)


@pytest.mark.parametrize("name", ["cuda:7", "TPU", ""])
def test_an_unknown_device_is_refused(name, monkeypatch):
    monkeypatch.setattr("ea_app.planning.machine._gpus", lambda: ["NVIDIA H200"])
    with pytest.raises(InputError, match=r"device: .*give cpu, or one of: A10, A100, H100, H200"):
        find_machine(name)


def test_the_gpu_that_is_here_is_recognised(monkeypatch):
    monkeypatch.setattr("ea_app.planning.machine._gpus", lambda: ["NVIDIA A100-SXM4-80GB", "NVIDIA A10"])
    assert find_machine("auto").name == find_machine("cuda").name == "NVIDIA A100"
    assert find_machine("cuda:1").name == "NVIDIA A10"
    assert find_machine("cpu").is_cpu


def test_other_families_are_refused(large):
    path = large.directory / "transformer" / "config.json"
    path.write_text(json.dumps({"_class_name": "Transformer3DModel"}))
    with pytest.raises(InputError, match=r"only models of V5 and V5\.1 can be planned; its transformer is"):
        plan(large, find_machine("cpu"))
    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        plan(large, find_machine("cpu"))


def test_the_command(capsys):
    assert main(["plan", "--steps", "10", "--device", "H200"]) == 0
    out = capsys.readouterr().out
    assert "default: 64x64, 17 frames, 10 steps, 80 tokens, model_full_load" in out
    assert "an estimate, not measured" in out
    assert main(["plan", "--device", "cpu", "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert found["seconds"] > 0
    assert found["machine"]["name"] == "cpu"
    assert main(["plan", "--model", "/nowhere"]) == 2
    assert "error: model: unknown model '/nowhere'" in capsys.readouterr().err


def test_planning_does_not_load_torch():
    code = "import sys; from ea_app.cli import main; main(['plan']); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
    )


def test_a_step_cache_takes_memory_of_two_tensors_of_tokens(large):
    machine = find_machine("H200")
    given = {"memory": "model_cpu_offload", "dtype": "bfloat16", "size": (512, 512)}
    plain, cached = (plan(large, machine, **given, **more) for more in ({}, {"teacache": 0.1}))
    assert cached.stages[1] == plain.stages[1]
    extra = cached.stages[0].gigabytes - plain.stages[0].gigabytes
    assert extra == pytest.approx(2 * 2 * plain.tokens * 48 * 64 * 2 / 1e9)
    assert cached.stages[0].seconds == plain.stages[0].seconds
    # Which steps are left out is not known before: all of them are counted.
    assert main(["plan", "--model", str(large.directory), "--device", "H200", "--teacache", "0.1"]) in (0, 1)


def test_an_autoencoder_in_another_number_type_counts_as_such(large):
    machine = find_machine("H200")
    given = {"memory": "model_cpu_offload", "dtype": "float16"}
    alike, wide = (plan(large, machine, vae_dtype=name, **given) for name in ("auto", "float32"))
    assert plan(large, machine, vae_dtype="same", **given) == replace(
        alike, settings={**alike.settings, "vae_dtype": "same"}
    )
    of_alike, of_wide = ({stage.name: stage.gigabytes for stage in made.stages} for made in (alike, wide))
    assert of_wide["denoise"] == of_alike["denoise"]
    extra = of_wide["decode"] - machine.base_gigabytes
    assert extra == pytest.approx(2 * (of_alike["decode"] - machine.base_gigabytes))
    # V5, told by its second text encoder, overflows.
    path = large.directory / "transformer" / "config.json"
    path.write_text(json.dumps({**V5_1, "text_embed_dim": 1024, "text_embed_dim_t5": 2048}))
    of_v5 = {stage.name: stage.gigabytes for stage in plan(large, machine, **given).stages}
    assert of_v5["decode"] == of_wide["decode"]
