"""Autoencoders against recorded outputs of the original program, and against diffusers as second witness."""

import json
import warnings

import pytest
import torch
from discovery import assert_close, discover, goldens, unknown, variants
from safetensors.torch import load_file, save_file

import ea_vae
from ea_kernels.runtime.weights import check_shapes
from ea_vae.execution import run_encode

pytestmark = pytest.mark.parity

ATOL = 5e-5
SUPPORTED = {"v1", "v2", "v3", "v4", "v4_spatialnorm", "v5", "v5_midattn", "cogvideox"}
# Family, preset and published number of parameters.
RELEASED = {
    "v2_v3_v4_mid3d": ("magvit", ("v2", "v3", "v4", "v4-frame-norm"), 245_979_879),
    "v5_v5_1": ("magvit", ("v5", "v5.1"), 244_375_507),
    "v5_midattn": ("magvit", ("v5-mid-attention",), 246_478_803),
    "cogvideox": ("cogvideox", ("cogvideox", "cogvideox-diffusers"), 215_583_907),
}
LEGACY_WEIGHTS = "model_legacy_keys.safetensors"


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def build(case):
    """The case's model: weights of the variant under the config that the case overrides."""
    config = json.loads((case.folder / "config.json").read_text(encoding="utf-8"))
    config |= case.info.get("constructor_overrides", {})
    loaded = ea_vae.load_vae(case.folder)
    model = type(loaded)(type(loaded.config).from_dict(config))
    model.load_state_dict(loaded.state_dict())
    return model.eval()


def plan_of(case, model):
    plan = model.default_plan
    if case.info.get("enable_slicing"):
        plan = plan.edited(batch_size=1)
    return plan.edited(whole_clip=True) if case.kind == "decode_no_cache" else plan


def check_roundtrip(model, plan, tensors):
    posterior = model.encode(tensors["video"], plan=plan)
    outputs = {
        "moments": run_encode(model, tensors["video"], plan),
        "mean": posterior.mode(),
        "logvar": posterior.logvar,
        "latents_scaled": ea_vae.scale_latents(posterior.mean, model.config.scaling_factor),
        "decoded": model.decode(posterior.mean, plan=plan),
    }
    if "noise" in tensors:
        outputs["sample"] = posterior.at(tensors["noise"])
    recorded = tensors.keys() - {"video", "noise"}
    assert recorded <= outputs.keys()
    for name in recorded:
        assert_close(name, outputs[name], tensors[name], atol=ATOL)


def check_decode(model, plan, tensors):
    assert_close("decoded", model.decode(tensors["latents"], plan=plan), tensors["decoded"], atol=ATOL)


def check_pipeline_decode(model, plan, tensors):
    frames = ea_vae.latents_to_frames(model, tensors["latents_scaled"], plan=plan)
    assert_close("frames", frames, tensors["frames"], atol=ATOL)


CHECKS = {
    "roundtrip": check_roundtrip,
    "decode": check_decode,
    "decode_no_cache": check_decode,
    "pipeline_decode": check_pipeline_decode,
}


def check_padded_instead_of_refused(model, shape):
    """The original refuses lengths (not 4n + 1 in V5, 2 or 3 in CogVideoX); we pad and give them back."""
    video = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode(video).mode()
    assert latents.shape[2] == model.geometry.latent_frames(shape[2])
    assert list(model.decode(latents, num_frames=shape[2]).shape) == list(shape)


def test_every_variant_is_known():
    names = [folder.name for folder in variants("vae")]
    assert unknown(names, supported=SUPPORTED, not_yet=()) == []


@pytest.mark.parametrize("case", discover("vae", supported=SUPPORTED))
def test_recorded_case(case):
    model = build(case)
    if case.info.get("expect_error"):
        check_padded_instead_of_refused(model, case.info.get("video_shape", (1, 3, 3, 16, 24)))
    else:
        assert case.kind in CHECKS, f"unknown kind of case {case.kind!r}"
        CHECKS[case.kind](model, plan_of(case, model), case.tensors())


@pytest.mark.parametrize("folder", [folder for folder in variants("vae") if folder.name in SUPPORTED])
def test_a_fixture_is_written_back_bit_by_bit(folder, tmp_path):
    vae = ea_vae.load_vae(folder)
    written = load_file(ea_vae.save_vae(vae, tmp_path))
    released = load_file(folder / "model.safetensors")
    assert written.keys() == released.keys()
    assert [name for name in released if not torch.equal(written[name], released[name])] == []
    assert ea_vae.load_vae(tmp_path).config == vae.config


@pytest.mark.parametrize(
    "folder", [folder for folder in variants("vae") if (folder / LEGACY_WEIGHTS).is_file()]
)
def test_the_older_spelling_of_attention_is_the_same_network(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(load_file(folder / LEGACY_WEIGHTS), tmp_path / "model.safetensors")
    state, legacy = ea_vae.load_vae(folder).state_dict(), ea_vae.load_vae(tmp_path).state_dict()
    assert state.keys() == legacy.keys()
    assert all(torch.equal(state[name], legacy[name]) for name in state)


def release_keys():
    return sorted(goldens().glob("vae/release_keys/*.json"))


def test_every_release_key_list_is_known():
    names = [path.stem for path in release_keys()]
    assert unknown(names, supported=RELEASED, not_yet=()) == []


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        (path.stem, preset)
        for path in release_keys()
        if path.stem in RELEASED
        for preset in RELEASED[path.stem][1]
    ],
)
def test_released_checkpoint_maps_onto_the_preset_with_nothing_left_over(name, preset):
    path = goldens() / "vae" / "release_keys" / f"{name}.json"
    released = {key: tuple(shape) for key, shape in json.loads(path.read_text(encoding="utf-8")).items()}
    family, _, parameters = RELEASED[name]
    spec = ea_vae.FAMILIES[family]
    with torch.device("meta"):
        model = spec.model(spec.presets[preset])
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_shapes(released, ours, key_map=spec.key_map, where=path.name)
    assert {spec.key_map.to_released(name) for name in ours} == released.keys()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        witness = pytest.importorskip("diffusers")
        # diffusers imports a model on first use.
        _ = witness.AutoencoderKLMagvit, witness.AutoencoderKL, witness.AutoencoderKLCogVideoX
        return witness


def witness_of(model, witness_class, folder):
    config = model.config
    witness = witness_class(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        latent_channels=config.latent_channels,
        block_out_channels=config.block_out_channels,
        down_block_types=config.down_block_types,
        up_block_types=config.up_block_types,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        spatial_group_norm=config.per_frame_norm,
    )
    witness.load_state_dict(load_file(folder / "model.safetensors"))
    return witness.eval()


# diffusers has no mid attention, and places encoder tiles wrongly (see the tiled cases above).
@pytest.mark.parametrize(
    "case",
    [
        parameter
        for parameter in discover("vae", supported={"v5"})
        if parameter.values[0].kind == "roundtrip"
        and parameter.values[0].info.get("file")
        and not parameter.values[0].info.get("constructor_overrides", {}).get("use_tiling")
    ],
)
def test_diffusers_agrees(case, diffusers):
    model, video = build(case), case.tensors()["video"]
    witness = witness_of(model, diffusers.AutoencoderKLMagvit, case.folder)
    latents = model.encode(video).mode()
    assert_close("mean", latents, witness.encode(video).latent_dist.mode(), atol=ATOL)
    assert_close("decoded", model.decode(latents), witness.decode(latents).sample, atol=ATOL)


def test_a_checkpoint_that_diffusers_wrote_loads(diffusers, tmp_path):
    torch.manual_seed(0)
    witness = diffusers.AutoencoderKLMagvit(
        block_out_channels=(8, 8, 16, 16), norm_num_groups=4, layers_per_block=1
    ).eval()
    witness.save_pretrained(tmp_path)
    model = ea_vae.load_vae(tmp_path)
    video = torch.rand(1, 3, 9, 16, 24) * 2 - 1
    latents = model.encode(video).mode()
    assert_close("mean", latents, witness.encode(video).latent_dist.mode(), atol=ATOL)
    assert_close("decoded", model.decode(latents), witness.decode(latents).sample, atol=ATOL)


def test_an_image_autoencoder_that_diffusers_wrote_loads(diffusers, tmp_path):
    torch.manual_seed(0)
    witness = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    ).eval()
    witness.save_pretrained(tmp_path)
    model = ea_vae.load_vae(tmp_path)
    assert isinstance(model, ea_vae.ImageVae)
    video = torch.rand(1, 3, 5, 16, 22) * 2 - 1
    latents = model.encode(video).mode()
    frames = video[0].transpose(0, 1)
    assert_close("mean", latents[0].transpose(0, 1), witness.encode(frames).latent_dist.mode(), atol=ATOL)
    expected = witness.decode(latents[0].transpose(0, 1)).sample
    assert_close("decoded", model.decode(latents)[0].transpose(0, 1), expected, atol=ATOL)


def test_the_released_image_autoencoder_has_the_tensors_that_diffusers_has(diffusers):
    """No list of released names exists for V1; the class that wrote its checkpoint stands in."""
    spec = ea_vae.FAMILIES["kl2d"]
    config = spec.presets["v1"]
    with torch.device("meta"):
        model = spec.model(config)
        released = {name: value for name, value in config.to_dict().items() if not name.startswith("_")}
        witness = diffusers.AutoencoderKL(**released)
    expected = {name: tuple(tensor.shape) for name, tensor in witness.state_dict().items()}
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_shapes(expected, ours, key_map=spec.key_map, where="diffusers")
    assert sum(parameter.numel() for parameter in model.parameters()) == 83_653_863


def test_a_cogvideox_checkpoint_that_diffusers_wrote_loads(diffusers, tmp_path):
    """Diffusers' class encodes in slices of 8 frames, EasyAnimate's in slices of 4; the config tells."""
    torch.manual_seed(0)
    witness = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(4, 4, 8),
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    ).eval()
    witness.save_pretrained(tmp_path)
    model = ea_vae.load_vae(tmp_path)
    assert model.config.encoder_slice_frames == 8
    video = torch.rand(1, 3, 17, 8, 12) * 2 - 1
    latents = model.encode(video).mode()
    assert_close("mean", latents, witness.encode(video).latent_dist.mode(), atol=ATOL)
    assert_close("decoded", model.decode(latents), witness.decode(latents).sample, atol=ATOL)
