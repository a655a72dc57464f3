"""Models that hold only what differs from another one."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from ea_app import catalog, derived
from ea_app.api.engine import Engine


@pytest.fixture
def box(tiny_model, tmp_path, monkeypatch):
    """A folder of models: `tiny`, and `control` that holds a grown first layer; the cache beside them."""
    import torch

    from ea_dit import load_transformer, save_transformer
    from ea_dit.pipelines.growing import widened

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "cache_folder", lambda: tmp_path / "cache")
    shutil.copytree(tiny_model, tmp_path / "box" / "tiny")
    grown = widened(load_transformer(tiny_model / "transformer", dtype=torch.float32), 48)
    torch.nn.init.normal_(grown.patch_embed.weight.data[:, 16:], std=0.3)
    folder = tmp_path / "box" / "control" / "transformer"
    save_transformer(grown, folder, dtype=torch.float16)
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({"proj.weight": weights["proj.weight"]}, folder / derived.CHANGES)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    card = json.loads((tiny_model / "model.json").read_text()) | {"name": "control", "base": "tiny"}
    (tmp_path / "box" / "control" / "model.json").write_text(json.dumps(card))
    return tmp_path / "box"


def test_the_whole_is_put_together_once(box, tmp_path):
    model = catalog.find(str(box / "control"))
    assert model.directory.parent == tmp_path / "cache"
    assert {path.name for path in model.directory.iterdir()} >= {"vae", "text_encoder", "transformer"}
    base = load_file(box / "tiny" / "transformer" / "diffusion_pytorch_model.safetensors")
    whole = load_file(model.directory / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {name for name in base if base[name].shape != whole[name].shape} == {"proj.weight"}
    assert "base" not in json.loads((model.directory / "model.json").read_text())
    assert not (model.directory / "transformer" / derived.CHANGES).exists()
    made = (model.directory / "model.json").stat().st_mtime_ns
    again = catalog.find(str(box / "control"))
    assert again.directory == model.directory
    assert (again.directory / "model.json").stat().st_mtime_ns == made


def test_other_weights_make_another_whole(box):
    first = catalog.find(str(box / "control")).directory
    path = box / "control" / "transformer" / derived.CHANGES
    save_file({name: value * 2 for name, value in load_file(path).items()}, path)
    assert catalog.find(str(box / "control")).directory != first


def test_a_derived_model_is_found_by_its_name_and_follows_a_control_video(
    box, media, tmp_path, monkeypatch, capsys
):
    from ea_app.cli import main
    from ea_data.media import read_metadata, read_video

    monkeypatch.setattr(catalog, "_bundled_root", lambda: box)
    assert catalog.bundled_names() == ("control", "tiny")
    assert main(["models"]) == 0
    assert "control: 32x32x5" in capsys.readouterr().out
    common = ["--model", "control", "--size", "32x32", "--frames", "5", "--device", "cpu", "--seed", "1"]
    given = ["--control-from", str(media / "clip.mp4"), "--control", "canny"]
    for name, options in (("followed", given), ("free", [])):
        assert (
            main(["generate", "a circle", *common, *options, "--output", str(tmp_path / f"{name}.mp4")]) == 0
        )
    followed, free = (read_video(tmp_path / f"{name}.mp4").frames for name in ("followed", "free"))
    assert followed.shape == free.shape == (5, 32, 32, 3)
    assert (followed != free).any()
    assert "canny" in read_metadata(tmp_path / "followed.mp4")
    assert Engine.load("control", device="cpu").model.name == "control"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("../tiny", "base must be the name of a folder beside it, got '../tiny'"),
        (3, "base must be the name of a folder beside it, got 3"),
        ("other", "base 'other' is no whole model beside control"),
        ("control", "base 'control' is no whole model beside control"),
    ],
)
def test_a_base_that_cannot_be_is_named(base, message, box):
    card = json.loads((box / "control" / "model.json").read_text()) | {"base": base}
    (box / "control" / "model.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=message):
        catalog.find(str(box / "control"))


def test_changes_that_do_not_fit_or_cannot_be_read_are_named(box, tmp_path):
    import torch

    path = box / "control" / "transformer" / derived.CHANGES
    save_file({"other.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"changes\.safetensors: the base has no tensor 'other\.weight'"):
        catalog.find(str(box / "control"))
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"changes\.safetensors cannot be read"):
        catalog.find(str(box / "control"))
    assert not list((tmp_path / "cache").glob("*")), "nothing half-made is left"


def test_a_cache_that_cannot_be_written_is_named(box, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(derived, "cache_folder", lambda: tmp_path / "file" / "models")
    with pytest.raises(ValueError, match=r"control: cannot be put together in .*models: "):
        catalog.find(str(box / "control"))
