"""Transformers against recorded outputs of the original, from both checkpoint layouts."""

import json
from dataclasses import replace

import pytest
import torch
from discovery import assert_close, goldens, unknown, variants
from safetensors.torch import load_file, save_file

import ea_dit
from ea_dit.layers.rope import fit_grid, rope_2d, rope_3d
from ea_dit.pipelines.teacache import Skipping, StepCache

pytestmark = pytest.mark.parity

MMDIT = "EasyAnimateTransformer3DModel"
HUNYUAN3D = "HunyuanTransformer3DModel"
PIXART = ("Transformer2DModel", "Transformer3DModel")
SUPPORTED_CLASSES = {MMDIT, HUNYUAN3D, *PIXART}
NOT_YET: dict[str, str] = {}
ATOL = 1e-4

# Original name, name in the layout of diffusers; written out here a second time on purpose.
DIFFUSERS_NAMES = (
    ("attn2.to_q.", "attn1.add_q_proj."),
    ("attn2.to_k.", "attn1.add_k_proj."),
    ("attn2.to_v.", "attn1.add_v_proj."),
    ("attn2.to_out.0.", "attn1.to_add_out."),
    ("attn2.norm_q.", "attn1.norm_added_q."),
    ("attn2.norm_k.", "attn1.norm_added_k."),
)


def index_of(folder):
    return json.loads((folder / "case.json").read_text(encoding="utf-8"))


def folders_of(*classes):
    return [folder for folder in variants("transformer") if index_of(folder)["model_class"] in classes]


def cases_of(folders):
    return [
        pytest.param(folder, name, id=f"{folder.name}-{name}")
        for folder in folders
        for name in index_of(folder)["cases"]
    ]


FOLDERS = folders_of(*SUPPORTED_CLASSES)
CASES = cases_of(FOLDERS)
WITH_DIFFUSERS_LAYOUT = folders_of(MMDIT)
HUNYUAN3D_CASES = cases_of(folders_of(HUNYUAN3D))


def mmdit_inputs(tensors):
    conditioning = ea_dit.Conditioning(
        inpaint_latents=tensors.get("inpaint_latents"),
        control_latents=tensors.get("control_latents"),
        ref_latents=tensors.get("ref_latents"),
        clip_states=tensors.get("clip_encoder_hidden_states"),
    )
    return {"conditioning": conditioning}


def hunyuan3d_inputs(tensors):
    conditioning = ea_dit.Conditioning(
        inpaint_latents=tensors.get("inpaint_latents"),
        clip_states=tensors.get("clip_encoder_hidden_states"),
        clip_mask=tensors.get("clip_attention_mask"),
        size_ids=tensors["image_meta_size"],
    )
    return {
        "conditioning": conditioning,
        "text_mask_BM": tensors["text_embedding_mask"],
        "second_text_mask_BN": tensors["text_embedding_mask_t5"],
    }


def pixart_inputs(tensors):
    conditioning = ea_dit.Conditioning(
        inpaint_latents=tensors.get("inpaint_latents"),
        clip_states=tensors.get("clip_encoder_hidden_states"),
        clip_mask=tensors.get("clip_attention_mask"),
        resolution=tensors.get("added_cond_kwargs.resolution"),
        aspect_ratio=tensors.get("added_cond_kwargs.aspect_ratio"),
    )
    # The image model calls its mask by another name.
    mask = tensors.get("text_embedding_mask", tensors.get("encoder_attention_mask"))
    return {"conditioning": conditioning, "text_mask_BM": mask}


INPUTS = {"MMDiT": mmdit_inputs, "Hunyuan3D": hunyuan3d_inputs, "PixArtMotion": pixart_inputs}


def run(model, tensors):
    texts = [tensors["encoder_hidden_states"]]
    if "encoder_hidden_states_t5" in tensors:
        texts.append(tensors["encoder_hidden_states_t5"])
    given = INPUTS[type(model).__name__](tensors)
    hidden = tensors["hidden_states"]
    with torch.no_grad():
        if hidden.ndim == 4:  # a picture, for the image model
            return model(hidden.unsqueeze(2), tensors["timestep"], *texts, **given).squeeze(2)
        return model(hidden, tensors["timestep"], *texts, **given)


def write_diffusers_layout(folder, target):
    def renamed(name):
        for original, other in DIFFUSERS_NAMES:
            name = name.replace(original, other)
        return name

    state = load_file(folder / "model.safetensors")
    save_file({renamed(name): tensor for name, tensor in state.items()}, target / "model.safetensors")
    (target / "config.json").write_text((folder / "config.json").read_text())


def test_every_fixture_is_known():
    found = {index_of(folder)["model_class"] for folder in variants("transformer")}
    assert found, f"no transformer fixtures below {goldens()}"
    assert unknown(found, supported=SUPPORTED_CLASSES, not_yet=NOT_YET) == []


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_output(folder, name):
    case = index_of(folder)["cases"][name]
    tensors = load_file(folder / case["file"])
    model = ea_dit.load_transformer(folder, dtype=torch.float32)
    # V4's rotary rule is that of the release unless the config says otherwise.
    expected = tensors.get("output_v4_release", tensors["output"])
    assert_close("output", run(model, tensors), expected, atol=ATOL)


@pytest.mark.parametrize(("folder", "name"), HUNYUAN3D_CASES)
def test_output_under_the_later_rotary_rule(folder, name, tmp_path):
    model = ea_dit.load_transformer(folder)
    model.config = replace(model.config, rope_in_first_block=False)
    ea_dit.save_transformer(model, tmp_path)
    tensors = load_file(folder / index_of(folder)["cases"][name]["file"])
    later = ea_dit.load_transformer(tmp_path, dtype=torch.float32)
    assert_close("output", run(later, tensors), tensors["output"], atol=ATOL)


@pytest.mark.parametrize("folder", WITH_DIFFUSERS_LAYOUT, ids=lambda folder: folder.name)
def test_diffusers_layout_gives_the_same_model(folder, tmp_path):
    write_diffusers_layout(folder, tmp_path)
    original = ea_dit.load_transformer(folder).state_dict()
    other = ea_dit.load_transformer(tmp_path).state_dict()
    assert original.keys() == other.keys()
    assert all(torch.equal(original[name], other[name]) for name in original)


def assert_saving_gives_back(folder, source, tmp_path, **options):
    model = ea_dit.load_transformer(folder)
    ea_dit.save_transformer(model, tmp_path / "saved", **options)
    expected = load_file(source / "model.safetensors")
    saved = load_file(next((tmp_path / "saved").glob("*.safetensors")))
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in expected)
    assert ea_dit.load_transformer(tmp_path / "saved").config == model.config


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_saving_gives_back_the_released_names(folder, tmp_path):
    assert_saving_gives_back(folder, folder, tmp_path)


@pytest.mark.parametrize("folder", WITH_DIFFUSERS_LAYOUT, ids=lambda folder: folder.name)
def test_saving_gives_back_the_names_of_diffusers(folder, tmp_path):
    write_diffusers_layout(folder, tmp_path)
    assert_saving_gives_back(folder, tmp_path, tmp_path, diffusers=True)


WITH_ROPE = cases_of(folders_of(MMDIT, HUNYUAN3D))


@pytest.mark.parametrize(("folder", "name"), WITH_ROPE)
def test_rotary_tables(folder, name):
    case = index_of(folder)["cases"][name]
    tensors, rope = load_file(folder / case["file"]), case["rope"]
    (top, height), (left, width) = fit_grid(tuple(rope["grid"]), tuple(rope["base"]))
    assert [top, left] == rope["crop_start"]
    assert [top + height, left + width] == rope["crop_stop"]
    options = {"head_dim": rope["head_dim"], "base": tuple(rope["base"])}
    if rope["kind"] == "2d":
        cos, sin = rope_2d(tuple(rope["grid"]), **options)
    else:
        cos, sin = rope_3d((rope["temporal"], *rope["grid"]), **options)
    # The original's tables hold every angle twice in a row.
    assert_close("cos", cos.repeat_interleave(2, dim=-1), tensors["image_rotary_emb_cos"], atol=2e-5)
    assert_close("sin", sin.repeat_interleave(2, dim=-1), tensors["image_rotary_emb_sin"], atol=2e-5)


WITNESSED = [
    param for param in cases_of(WITH_DIFFUSERS_LAYOUT) if "7b" not in param.id and "ref-clip" not in param.id
]


@pytest.mark.parametrize(("folder", "name"), WITNESSED)
def test_diffusers_agrees_given_the_rotary_tables(folder, name, tmp_path):
    """The second witness, for the layout in which it computes the same function."""
    diffusers = pytest.importorskip("diffusers")
    write_diffusers_layout(folder, tmp_path)
    case = index_of(folder)["cases"][name]
    tensors = load_file(folder / case["file"])
    config = json.loads((folder / "config.json").read_text())
    witness_class = diffusers.EasyAnimateTransformer3DModel
    accepted = set(witness_class.__init__.__wrapped__.__code__.co_varnames)
    witness = witness_class(**{key: value for key, value in config.items() if key in accepted})
    witness.load_state_dict(
        {key: value.float() for key, value in load_file(tmp_path / "model.safetensors").items()}
    )
    tables = (tensors["image_rotary_emb_cos"], tensors["image_rotary_emb_sin"])
    witness.rope_embedding.forward = lambda *_: tables
    with torch.no_grad():
        theirs = witness.eval()(
            tensors["hidden_states"],
            tensors["timestep"],
            encoder_hidden_states=tensors["encoder_hidden_states"],
            encoder_hidden_states_t5=tensors.get("encoder_hidden_states_t5"),
            inpaint_latents=tensors.get("inpaint_latents"),
            control_latents=tensors.get("control_latents"),
            return_dict=False,
        )[0]
    assert_close(
        "diffusers", run(ea_dit.load_transformer(folder, dtype=torch.float32), tensors), theirs, atol=ATOL
    )


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if "teacache" in index_of(folder)])
def test_steps_that_are_left_out(folder):
    """Every decision, its number, and the outputs of a run with the original's step cache."""
    case = index_of(folder)
    recorded, other = load_file(folder / case["teacache"]["file"]), load_file(folder / "case1.safetensors")
    model = ea_dit.load_transformer(folder, dtype=torch.float32)
    threshold = case["teacache"]["rel_l1_thresh"]
    cache = StepCache(Skipping(threshold, tuple(case["teacache"]["coefficients"])))
    total, distances = len(recorded["timestep"]), []
    for index, (hidden, timestep) in enumerate(
        zip(recorded["hidden_states"], recorded["timestep"], strict=True)
    ):
        with torch.no_grad():
            made = model(hidden, timestep, other["encoder_hidden_states"], shortcut=cache.at(index, total))
        distances.append(cache.state.distance)
        assert_close(f"step {index}", made, recorded["output"][index], atol=ATOL)
    assert cache.state.skipped == tuple((recorded["computed"] == 0).nonzero().flatten().tolist())
    assert cache.state.skipped
    torch.testing.assert_close(
        torch.tensor(distances, dtype=torch.float64), recorded["accumulated_distance"], rtol=1e-4, atol=1e-6
    )
