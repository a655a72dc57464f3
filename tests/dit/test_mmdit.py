"""The MMDiT model itself: shapes, refusals, gradients, precision."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny import TINY, tiny_transformer

from ea_dit import Conditioning, load_transformer, save_transformer
from ea_dit.families.mmdit import MMDiT
from ea_dit.layers.rope import fit_grid, rope_3d
from ea_dit.pipelines import predictor
from ea_kernels.runtime.weights import read_config


def inputs(batch=2, height=4, width=6, frames=3):
    torch.manual_seed(1)
    return {
        "hidden_BCTHW": torch.randn(batch, 4, frames, height, width),
        "timestep_B": torch.rand(batch) * 1000,
        "text_BME": torch.randn(batch, 5, 12),
        "conditioning": Conditioning(inpaint_latents=torch.randn(batch, 5, frames, height, width)),
    }


def test_a_new_model_predicts_zero_and_passes_gradients_to_its_output():
    model = MMDiT(TINY)
    out = model(**inputs())
    assert out.shape == (2, 4, 3, 4, 6)
    assert out.abs().max() == 0
    (out - 1).square().sum().backward()
    assert model.head.projection.weight.grad.abs().max() > 0


@pytest.mark.parametrize("layers", [1, 2, 3], ids=["7b-layout", "7b-layout-2", "12b-layout"])
def test_every_parameter_that_can_matter_gets_a_gradient(layers):
    model = tiny_transformer(replace(TINY, mmdit_layers=layers))
    model(**inputs()).square().sum().backward()
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # After the last block nothing reads the text.
    text_only = (".text.query.", ".text.query_norm.", ".text.out.", "text_mlp.")
    assert all(name.startswith("blocks.2.") and any(part in name for part in text_only) for name in silent)
    assert bool(silent) == (layers == 3)


def test_recompute_changes_nothing():
    model = tiny_transformer()
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model(**inputs(), recompute=recompute).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_samples_of_a_batch_do_not_touch_each_other():
    model, both = tiny_transformer().eval(), inputs()
    with torch.no_grad():
        together = model(**both)
        condition = both["conditioning"].inpaint_latents[1:]
        alone = model(
            both["hidden_BCTHW"][1:],
            both["timestep_B"][1:],
            both["text_BME"][1:],
            conditioning=Conditioning(inpaint_latents=condition),
        )
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_conditions_of_all_steps_at_once_are_those_of_each(dtype):
    model, given = tiny_transformer().to(dtype).eval(), inputs()
    timesteps = torch.tensor([999.0, 500.0, 3.0]).to(dtype)
    with torch.no_grad():
        conditions = model.conditions(timesteps)
        assert len(conditions) == 3
        for timestep, condition in zip(timesteps, conditions, strict=True):
            alone = model(**{**given, "timestep_B": timestep.expand(2)})
            ahead = model(**{**given, "timestep_B": condition})
            share = 1e-5 if dtype == torch.float32 else 3e-2
            assert (alone - ahead).abs().max() <= share * alone.abs().max()


def test_conditions_are_made_in_chunks_that_do_not_depend_on_where_a_run_begins(monkeypatch):
    asked = []

    def conditions(timesteps):
        asked.append(timesteps.tolist())
        return [f"of {t}" for t in timesteps.tolist()]

    monkeypatch.setattr(predictor, "STEPS_AHEAD", 4)
    network = SimpleNamespace(conditions=conditions)
    parts = SimpleNamespace(transformer=network, device=torch.device("cpu"), dtype=torch.float32)
    timesteps = torch.arange(10.0, 0.0, -1.0)
    at = predictor._conditions_ahead(parts, timesteps)
    assert [at(index) for index in (5, 6, 7, 8, 9)] == ["of 5.0", "of 4.0", "of 3.0", "of 2.0", "of 1.0"]
    assert asked == [[6.0, 5.0, 4.0, 3.0], [2.0, 1.0]]
    assert predictor._conditions_ahead(parts, None) is None
    parts.transformer = SimpleNamespace()
    assert predictor._conditions_ahead(parts, timesteps) is None


def test_low_precision_stays_close():
    model, given = tiny_transformer().eval(), inputs()
    with torch.no_grad():
        exact = model(**given)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(**given)
        low = model.to(torch.bfloat16)(**given)
    assert mixed.dtype == low.dtype == torch.bfloat16
    for rough in (mixed, low):
        assert (rough.float() - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditioning": None}, "takes 9 input channels .* got 4$"),
        ({"conditioning": Conditioning(inpaint_latents=torch.randn(2, 3, 3, 4, 6))}, r"got 4 \+ 3$"),
        ({"second_text_BNE": torch.randn(2, 5, 12)}, "has no input for a second text encoder"),
        (
            {"hidden_BCTHW": torch.randn(2, 9, 3, 5, 6), "conditioning": None},
            "latent height and width must be multiples of 2, got 5 x 6",
        ),
    ],
)
def test_wrong_inputs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        tiny_transformer()(**inputs() | change)


def test_reference_and_image_tokens_need_a_model_that_has_them():
    given = inputs()
    latents = given["conditioning"].inpaint_latents
    reference = Conditioning(inpaint_latents=latents, ref_latents=torch.randn(2, 4, 1, 4, 6))
    with pytest.raises(ValueError, match="built without ref_channels"):
        tiny_transformer()(**given | {"conditioning": reference})
    image = Conditioning(inpaint_latents=latents, clip_states=torch.randn(2, 3, 8))
    with pytest.raises(ValueError, match="clip_states need ref_latents"):
        tiny_transformer()(**given | {"conditioning": image})
    model = tiny_transformer(replace(TINY, ref_channels=4))
    assert model(**given | {"conditioning": reference}).shape == (2, 4, 3, 4, 6)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_saving_and_loading(tmp_path, dtype):
    model = tiny_transformer()
    save_transformer(model, tmp_path, dtype=dtype, metadata={"steps": "3"})
    loaded = load_transformer(tmp_path)
    assert loaded.config == model.config
    assert loaded.dtype == (dtype or torch.float32)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(loaded.dtype))
    assert load_transformer(tmp_path, dtype="float32").dtype == torch.float32


def test_an_unknown_class_is_refused(tmp_path):
    save_transformer(tiny_transformer(), tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("EasyAnimateTransformer3DModel", "SomethingElse"))
    assert read_config(tmp_path)["_class_name"] == "SomethingElse"
    with pytest.raises(ValueError, match=r"unknown transformer class 'SomethingElse'.*known: EasyAnimate"):
        load_transformer(tmp_path)


@pytest.mark.parametrize(
    ("grid", "base", "rows", "columns"),
    [
        ((30, 45), (30, 45), (0, 30), (0, 45)),
        ((10, 15), (30, 45), (0, 30), (0, 45)),
        ((24, 42), (30, 45), (2, 26), (0, 45)),
        ((8, 8), (30, 45), (0, 30), (8, 30)),
        ((2, 1), (30, 45), (0, 30), (15, 15)),
        ((1, 2), (30, 45), (4, 22), (0, 45)),
    ],
)
def test_grids_are_fitted_and_centred(grid, base, rows, columns):
    assert fit_grid(grid, base) == (rows, columns)


def test_rotary_angles_are_laid_out_time_row_column():
    cos, sin = rope_3d((2, 4, 4), 16, base=(4, 4))
    angles = torch.atan2(sin, cos).view(2, 4, 4, 8)
    frame, row, column = angles[..., 0], angles[..., 2], angles[..., 5]
    assert torch.allclose(frame, torch.arange(2.0)[:, None, None].expand(2, 4, 4))
    assert torch.allclose(row, torch.arange(4.0)[None, :, None].expand(2, 4, 4), atol=1e-6)
    assert torch.allclose(column, torch.arange(4.0)[None, None].expand(2, 4, 4), atol=1e-6)
    with pytest.raises(ValueError, match="head_dim must be a multiple of 16"):
        rope_3d((1, 2, 2), 24, base=(4, 4))
