"""Open-Sora 1.0 and 1.1 against recorded outputs of the original: networks, diffusion, caption cleaning."""

import json
import shutil

import pytest
import torch
from discovery import discover, goldens, unknown
from safetensors.torch import load_file

import ea_dit
from ea_dit.families.stdit import STDiT, STDiTConfig

pytestmark = pytest.mark.parity

MODELS = {"stdit", "stdit2"}
OTHERS = {"scheduler", "text"}
NOT_YET = {
    "bucket": "aspect buckets come with the data pipeline",
    "data": "frame choice and crops come with the data pipeline",
    "mask": "mask strategies come with the data pipeline",
}
TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


def cases():
    """The index of these fixtures names a case by its file."""
    folders = [goldens() / "opensora" / name for name in sorted(MODELS)]
    found = []
    for folder in folders:
        if not (folder / "case.json").is_file():
            continue
        index = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        found += [
            pytest.param(folder, info, id=f"{folder.name}-{info['file'].removesuffix('.safetensors')}")
            for info in index["cases"]
        ]
    return found


def load(folder, info, tmp_path):
    """The network of a case, some of which change the constructor's arguments."""
    shutil.copy(folder / "model.safetensors", tmp_path)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(values | info.get("config_overrides", {})))
    return ea_dit.load_transformer(tmp_path)


def run(model, given):
    conditioning = ea_dit.Conditioning(
        frame_mask=given.get("x_mask"),
        resolution=torch.stack((given["height"], given["width"]), dim=1) if "height" in given else None,
        aspect_ratio=given["ar"][:, None] if "ar" in given else None,
        num_frames=given.get("num_frames"),
        fps=given.get("fps"),
    )
    mask = given.get("mask")
    with torch.no_grad():
        return model(
            given["x"],
            given["timestep"],
            given["y"][:, 0],
            text_mask_BM=None if mask is None else mask.bool(),
            conditioning=conditioning,
        )


def test_every_fixture_is_known():
    found = [folder.name for folder in (goldens() / "opensora").iterdir() if folder.is_dir()]
    assert found, f"no fixtures of Open-Sora below {goldens()}"
    assert unknown(found, supported=MODELS | OTHERS, not_yet=NOT_YET) == []


@pytest.mark.parametrize(("folder", "info"), cases())
def test_network(folder, info, tmp_path):
    tensors = load_file(folder / info["file"])
    given = {name.removeprefix("in."): tensor for name, tensor in tensors.items() if name.startswith("in.")}
    assert set(given) == set(info["inputs"])
    out = run(load(folder, info, tmp_path), given)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, tensors["out"], **TOLERANCE)
