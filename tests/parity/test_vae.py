"""Autoencoders against recorded outputs of the original program, and against diffusers as second witness."""

import json
import warnings

import pytest
import torch
from discovery import assert_close, discover, goldens, unknown, variants
from safetensors.torch import load_file

import ea_vae
from ea_kernels.runtime.weights import check_shapes
from ea_vae.execution import run_encode

pytestmark = pytest.mark.parity

ATOL = 5e-5
SUPPORTED = {"v5", "v5_midattn"}
NOT_YET = {
    "v1": "image autoencoder, frame by frame",
    "v2": "independent temporal slices (slice_mag_vae)",
    "v3": "slices that look at their neighbours (slice_compression_vae)",
    "v4": "cached decoder behind an independent encoder (cache_compression_vae)",
    "v4_spatialnorm": "as v4 with norms per frame",
    "cogvideox": "CogVideoX-style network",
}
RELEASE_PRESETS = {"v5_v5_1": "v5.1", "v5_midattn": "v5-mid-attention"}
RELEASE_NOT_YET = {"v2_v3_v4_mid3d": "V2 to V4 networks", "cogvideox": "CogVideoX-style network"}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def build(case):
    """The case's model: weights of the variant under the config that the case overrides."""
    config = json.loads((case.folder / "config.json").read_text(encoding="utf-8"))
    config |= case.info.get("constructor_overrides", {})
    loaded = ea_vae.load_vae(case.folder)
    model = ea_vae.MagvitVae(ea_vae.MagvitConfig.from_dict(config))
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
    latents = ea_vae.unscale_latents(tensors["latents_scaled"], model.config.scaling_factor)
    frames = ea_vae.to_unit_range(model.decode(latents, plan=plan))
    assert_close("frames", frames, tensors["frames"], atol=ATOL)


CHECKS = {
    "roundtrip": check_roundtrip,
    "decode": check_decode,
    "decode_no_cache": check_decode,
    "pipeline_decode": check_pipeline_decode,
}


def check_padded_instead_of_refused(model, shape):
    """The original refuses lengths that are not 4n + 1; we pad and give the same length back."""
    video = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = model.encode(video).mode()
    assert latents.shape[2] == model.geometry.latent_frames(shape[2])
    assert list(model.decode(latents, num_frames=shape[2]).shape) == list(shape)


def test_every_variant_is_known():
    names = [folder.name for folder in variants("vae")]
    assert unknown(names, supported=SUPPORTED, not_yet=NOT_YET) == []


@pytest.mark.parametrize("case", discover("vae", supported=SUPPORTED))
def test_recorded_case(case):
    model = build(case)
    if case.info.get("expect_error"):
        check_padded_instead_of_refused(model, case.info["video_shape"])
    else:
        assert case.kind in CHECKS, f"unknown kind of case {case.kind!r}"
        CHECKS[case.kind](model, plan_of(case, model), case.tensors())


def release_keys():
    return sorted(goldens().glob("vae/release_keys/*.json"))


def test_every_release_key_list_is_known():
    names = [path.stem for path in release_keys()]
    assert unknown(names, supported=RELEASE_PRESETS, not_yet=RELEASE_NOT_YET) == []


@pytest.mark.parametrize("name", [path.stem for path in release_keys() if path.stem in RELEASE_PRESETS])
def test_released_checkpoint_maps_onto_the_preset_with_nothing_left_over(name):
    path = goldens() / "vae" / "release_keys" / f"{name}.json"
    released = {key: tuple(shape) for key, shape in json.loads(path.read_text(encoding="utf-8")).items()}
    spec = ea_vae.FAMILIES["magvit"]
    with torch.device("meta"):
        model = spec.model(spec.presets[RELEASE_PRESETS[name]])
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    check_shapes(released, ours, key_map=spec.key_map, where=path.name)
    assert {spec.key_map.to_released(name) for name in ours} == released.keys()


@pytest.fixture(scope="module")
def magvit_witness():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers = pytest.importorskip("diffusers")
        return diffusers.AutoencoderKLMagvit


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
def test_diffusers_agrees(case, magvit_witness):
    model, video = build(case), case.tensors()["video"]
    witness = witness_of(model, magvit_witness, case.folder)
    latents = model.encode(video).mode()
    assert_close("mean", latents, witness.encode(video).latent_dist.mode(), atol=ATOL)
    assert_close("decoded", model.decode(latents), witness.decode(latents).sample, atol=ATOL)


def test_a_checkpoint_that_diffusers_wrote_loads(magvit_witness, tmp_path):
    torch.manual_seed(0)
    witness = magvit_witness(block_out_channels=(8, 8, 16, 16), norm_num_groups=4, layers_per_block=1).eval()
    witness.save_pretrained(tmp_path)
    model = ea_vae.load_vae(tmp_path)
    video = torch.rand(1, 3, 9, 16, 24) * 2 - 1
    latents = model.encode(video).mode()
    assert_close("mean", latents, witness.encode(video).latent_dist.mode(), atol=ATOL)
    assert_close("decoded", model.decode(latents), witness.decode(latents).sample, atol=ATOL)
