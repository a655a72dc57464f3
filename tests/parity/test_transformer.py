"""Transformers against recorded outputs of the original, from both checkpoint layouts."""

import json

import pytest
import torch
from discovery import assert_close, goldens, unknown, variants
from safetensors.torch import load_file, save_file

import ea_dit
from ea_dit.layers.rope import fit_grid, rope_3d

pytestmark = pytest.mark.parity

SUPPORTED_CLASSES = {"EasyAnimateTransformer3DModel"}
NOT_YET = {
    "Transformer2DModel": "V1's image model comes with the PixArt family",
    "Transformer3DModel": "V1 to V3 come with the PixArt family",
    "HunyuanTransformer3DModel": "V4 comes with its own family",
}
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


def supported():
    return [
        folder for folder in variants("transformer") if index_of(folder)["model_class"] in SUPPORTED_CLASSES
    ]


FOLDERS = supported()
CASES = [
    pytest.param(folder, name, id=f"{folder.name}-{name}")
    for folder in FOLDERS
    for name in index_of(folder)["cases"]
]


def run(model, tensors):
    conditioning = ea_dit.Conditioning(
        inpaint_latents=tensors.get("inpaint_latents"),
        control_latents=tensors.get("control_latents"),
        ref_latents=tensors.get("ref_latents"),
        clip_states=tensors.get("clip_encoder_hidden_states"),
    )
    with torch.no_grad():
        return model(
            tensors["hidden_states"],
            tensors["timestep"],
            tensors["encoder_hidden_states"],
            tensors.get("encoder_hidden_states_t5"),
            conditioning=conditioning,
        )


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
    assert_close("output", run(model, tensors), tensors["output"], atol=ATOL)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_diffusers_layout_gives_the_same_model(folder, tmp_path):
    write_diffusers_layout(folder, tmp_path)
    original = ea_dit.load_transformer(folder).state_dict()
    other = ea_dit.load_transformer(tmp_path).state_dict()
    assert original.keys() == other.keys()
    assert all(torch.equal(original[name], other[name]) for name in original)


@pytest.mark.parametrize("diffusers", [False, True], ids=["easyanimate", "diffusers"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_saving_gives_back_the_released_names(folder, diffusers, tmp_path):
    model = ea_dit.load_transformer(folder)
    ea_dit.save_transformer(model, tmp_path / "saved", diffusers=diffusers)
    write_diffusers_layout(folder, tmp_path)
    expected = load_file((tmp_path if diffusers else folder) / "model.safetensors")
    saved = load_file(next((tmp_path / "saved").glob("*.safetensors")))
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in expected)
    assert ea_dit.load_transformer(tmp_path / "saved").config == model.config


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_rotary_tables(folder, name):
    case = index_of(folder)["cases"][name]
    tensors, rope = load_file(folder / case["file"]), case["rope"]
    (top, height), (left, width) = fit_grid(tuple(rope["grid"]), tuple(rope["base"]))
    assert [top, left] == rope["crop_start"]
    assert [top + height, left + width] == rope["crop_stop"]
    cos, sin = rope_3d((rope["temporal"], *rope["grid"]), rope["head_dim"], base=tuple(rope["base"]))
    # The original's tables hold every angle twice in a row.
    assert_close("cos", cos.repeat_interleave(2, dim=-1), tensors["image_rotary_emb_cos"], atol=2e-5)
    assert_close("sin", sin.repeat_interleave(2, dim=-1), tensors["image_rotary_emb_sin"], atol=2e-5)


WITNESSED = [param for param in CASES if "7b" not in param.id and "ref-clip" not in param.id]


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
