"""Loading and saving in released layouts, and what is refused."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import ea_vae
from ea_vae.registry import detect_family


@pytest.fixture
def saved(vae, tmp_path):
    ea_vae.save_vae(vae, tmp_path / "vae", metadata={"origin": "a test"})
    return tmp_path / "vae"


def weights(folder):
    return folder / "diffusion_pytorch_model.safetensors"


def edit(folder, change):
    state = load_file(weights(folder))
    change(state)
    save_file(state, weights(folder))


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@torch.no_grad()
def test_round_trip(vae, saved, video):
    loaded = ea_vae.load_vae(saved, device="auto" if not torch.cuda.is_available() else "cpu")
    assert loaded.config == vae.config
    assert not loaded.training
    assert torch.equal(loaded.encode(video).mean, vae.encode(video).mean)
    assert "encoder.down_blocks.0.convs.0.norm1.weight" in load_file(weights(saved))
    assert not list(saved.glob("*.partial"))


def test_number_types(vae, saved):
    assert {p.dtype for p in ea_vae.load_vae(saved, dtype="bf16").parameters()} == {torch.bfloat16}
    ea_vae.save_vae(vae, saved, dtype=torch.float16)
    assert {p.dtype for p in ea_vae.load_vae(saved).parameters()} == {torch.float16}
    assert {p.dtype for p in ea_vae.load_vae(saved, dtype=torch.float32).parameters()} == {torch.float32}


def test_missing_tensor(saved):
    edit(saved, lambda state: state.pop("decoder.conv_norm_out.bias"))
    with pytest.raises(ValueError, match=r"vae: missing tensor 'decoder\.conv_norm_out\.bias'$"):
        ea_vae.load_vae(saved)


def test_extra_tensors(saved):
    edit(saved, lambda state: state.update(one=torch.zeros(1), two=torch.zeros(1)))
    with pytest.raises(ValueError, match=r"vae: unexpected tensor 'one' and 1 more$"):
        ea_vae.load_vae(saved)


def test_misshapen_tensor(saved):
    edit(saved, lambda state: state.update({"quant_conv.bias": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"'quant_conv\.bias' has shape \[3\], expected \[8\]$"):
        ea_vae.load_vae(saved)


def test_pickle_is_refused_unless_allowed(saved):
    torch.save(load_file(weights(saved)), saved / "diffusion_pytorch_model.bin")
    weights(saved).unlink()
    with pytest.raises(ValueError, match=r"\.bin: is a pickle"):
        ea_vae.load_vae(saved)
    assert ea_vae.load_vae(saved, allow_pickle=True).config.latent_channels == 4


def test_a_pickle_with_code_never_runs(saved):
    torch.save({"a": print}, saved / "diffusion_pytorch_model.bin")
    weights(saved).unlink()
    with pytest.raises(ValueError, match="not a plain dictionary of tensors"):
        ea_vae.load_vae(saved, allow_pickle=True)


def test_broken_files(saved):
    weights(saved).write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        ea_vae.load_vae(saved)
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not valid JSON"):
        ea_vae.load_vae(saved)
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        ea_vae.load_vae(saved / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_chanels": 4}, r"config\.json: vae config: unknown key 'latent_chanels'"),
        ({"down_block_types": ["DownBlock4D"] * 4}, "belong to no supported autoencoder"),
        ({"down_block_types": ["CogVideoXDownBlock3D"] * 4}, "unknown key 'use_tiling_encoder'"),
    ],
)
def test_bad_config(saved, changes, message):
    edit_config(saved, **changes)
    with pytest.raises(ValueError, match=message):
        ea_vae.load_vae(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, "dtype must be"),
        ({"device": "tpu"}, "device must be"),
        ({"device": "cuda:99"}, "is not there"),
    ],
)
def test_bad_arguments(saved, arguments, message):
    with pytest.raises(ValueError, match=message):
        ea_vae.load_vae(saved, **arguments)


FAMILY_OF = {"image_vae": "kl2d", "vae": "magvit", "cogvideox": "cogvideox"}


@pytest.fixture(params=FAMILY_OF)
def any_vae(request):
    return request.getfixturevalue(request.param)


@torch.no_grad()
def test_every_family_is_detected_and_written_back(any_vae, tmp_path, video):
    ea_vae.save_vae(any_vae, tmp_path)
    loaded = ea_vae.load_vae(tmp_path)
    assert type(loaded) is type(any_vae)
    assert loaded.config == any_vae.config
    assert torch.equal(loaded.encode(video).mean, any_vae.encode(video).mean)


@pytest.mark.parametrize("name", ["AutoencoderKL", "Whatever", None])
def test_the_class_name_does_not_decide(any_vae, tmp_path, name):
    """V2-era configs call the video autoencoder by the name of the image one."""
    ea_vae.save_vae(any_vae, tmp_path)
    edit_config(tmp_path, _class_name=name)
    assert type(ea_vae.load_vae(tmp_path)) is type(any_vae)


def test_without_stage_names_the_tensors_decide(any_vae, tmp_path):
    ea_vae.save_vae(any_vae, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    stages = config.pop("down_block_types")
    # Missing keys take the defaults of the class that wrote them, which for one family is a single stage.
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = detect_family(config, load_file(weights(tmp_path)))
    assert spec.name in FAMILY_OF.values()
    assert spec is detect_family({"down_block_types": stages})
    with pytest.raises(ValueError, match="down_block_types None belong to no supported autoencoder"):
        detect_family(config)


def test_a_misshapen_tensor_of_any_family_is_named(any_vae, tmp_path):
    ea_vae.save_vae(any_vae, tmp_path)
    name = next(
        name
        for name in load_file(weights(tmp_path))
        if name.endswith("conv_in.weight") or "conv_in.conv" in name
    )
    edit(tmp_path, lambda state: state.update({name: torch.zeros(3, 5)}))
    with pytest.raises(ValueError, match=rf"tensor '{re.escape(name)}' has shape \[3, 5\], expected"):
        ea_vae.load_vae(tmp_path)


def test_weights_of_another_family_are_refused(image_vae, vae, tmp_path):
    ea_vae.save_vae(image_vae, tmp_path / "image")
    ea_vae.save_vae(vae, tmp_path / "video")
    weights(tmp_path / "image").replace(weights(tmp_path / "video"))
    with pytest.raises(ValueError, match=r"video: .*tensor '"):
        ea_vae.load_vae(tmp_path / "video")
