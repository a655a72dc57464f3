"""An autoencoder in another number type than the rest."""

import pytest
import torch
from given import request_of

from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.pipelines import load_pipeline
from ea_dit.pipelines.decoding import decode_windows, load_decoder
from ea_dit.pipelines.number_types import NumberTypes, resolve_vae_dtype
from ea_dit.pipelines.variants import traits_of

SIZE = 32
PICTURE = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
EVERY = {**HUNYUAN3D, **MMDIT, **PIXART, **STDIT}


def make(**changes):
    return request_of(
        {"prompt": "x", "height": SIZE, "width": SIZE, "num_steps": 2, "num_frames": 5, **changes}
    )


@pytest.mark.parametrize("family", ["v5-7b-inp", "v4-inp", "v2-t2v"])
def test_it_is_wider_where_it_overflows_in_float16(family, directory):
    run = load_pipeline(directory(family), dtype="float16", device="cpu")
    parts = run.components
    assert (parts.dtype, parts.vae_dtype) == (torch.float16, torch.float32)
    given = {"image": PICTURE} if family.endswith("inp") else {}
    result = run(make(**given))
    assert result.latents.dtype == torch.float16
    assert result.frames.dtype == torch.float32
    # Decoding alone takes the same type by itself.
    vae = load_decoder(directory(family), dtype="float16", device="cpu")
    again = torch.cat(list(decode_windows(vae, result.request, [result.latents])), dim=2)
    assert torch.equal(again, result.frames)


def test_it_comes_nearer_to_float32_than_float16_does(directory, pipeline):
    exact = pipeline("v5-7b-t2v")
    latents = [exact(make()).latents]
    frames = torch.cat(list(decode_windows(exact.components.vae, make(), latents)), dim=2)
    apart = {}
    for name in ("auto", "same", "bfloat16"):
        vae = load_decoder(directory("v5-7b-t2v"), dtype=NumberTypes("float16", name), device="cpu")
        seen = torch.cat(list(decode_windows(vae, make(), [latents[0].half()])), dim=2)
        apart[name] = (seen - frames).abs().max()
    assert apart["auto"] < apart["same"] < apart["bfloat16"]


def test_which_generations_overflow():
    """As released: the autoencoders of video from V2 to V5, but not the image one of V1, nor V5.1."""
    told = {name: traits_of(config).vae_overflows for name, config in EVERY.items()}
    wrong = [name for name, found in told.items() if found != name.startswith(("v2", "v3", "v4", "v5-"))]
    assert not wrong
    assert len(set(told.values())) == 2


def test_what_follows_from_the_names():
    half, full, brain = torch.float16, torch.float32, torch.bfloat16
    before, after = (traits_of(MMDIT[name]) for name in ("v5-12b-inp", "v5.1-12b-inp"))
    assert [resolve_vae_dtype("auto", kind, before) for kind in (half, full, brain)] == [full, full, brain]
    assert [resolve_vae_dtype("auto", kind, after) for kind in (half, full, brain)] == [half, full, brain]
    assert resolve_vae_dtype("same", half, before) == half
    assert resolve_vae_dtype("bf16", half, before) == brain
    assert resolve_vae_dtype(full, half, after) == full
    for wrong in ("int8", "", torch.int8, "SAME"):
        with pytest.raises(
            ValueError, match=r"^vae_dtype must be one of auto, same, float32, bfloat16, float16"
        ):
            resolve_vae_dtype(wrong, half, before)
