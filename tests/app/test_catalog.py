"""Model names, model.json and fingerprints."""

from __future__ import annotations

import json
import shutil

import pytest

from ea_app import catalog, fingerprint
from ea_app.model_info import ModelInfo


def test_a_directory_is_a_model(tiny_model):
    model = catalog.find(str(tiny_model))
    assert (model.info.name, model.info.native_width, model.info.max_prompt_bytes) == ("tiny", 32, 256)
    assert ModelInfo.from_dict(model.info.to_dict()) == model.info
    assert model.size() > 10_000


def test_a_released_directory_needs_no_model_json(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "released")
    (tmp_path / "released" / "model.json").unlink()
    info = catalog.find(str(tmp_path / "released")).info
    assert (info.native_width, info.native_height, info.native_frames) == (672, 384, 49)


# Width, height, frames, frames per second, steps, guidance of the programs that came with each release.
RELEASED = {
    "v1-t2v": (512, 512, 80, 12, 30, 6.0),
    "v1-image": (512, 512, 1, 12, 30, 6.0),
    "v2-t2v": (672, 384, 144, 24, 50, 6.0),
    "v3-inp": (672, 384, 144, 24, 25, 7.0),
    "v4-inp": (672, 384, 144, 24, 25, 7.0),
    "v5-7b-inp": (672, 384, 49, 8, 50, 6.0),
    "v5.1-12b-t2v": (672, 384, 49, 8, 50, 6.0),
    "open-sora-1.0": (512, 512, 16, 8, 100, 7.0),
    "open-sora-1.1": (426, 240, 16, 8, 100, 7.0),
}


@pytest.mark.parametrize("family", RELEASED)
def test_a_released_directory_gets_the_defaults_of_its_generation(family, tmp_path):
    from ea_app.api.job import make_job
    from ea_dit.pipelines.tiny import make_tiny

    model = catalog.find(str(make_tiny(family, tmp_path / family)))
    fields = make_job(model, prompt="a fox").fields
    names = ("width", "height", "num_frames", "fps", "num_steps", "guidance_scale")
    assert tuple(fields[name] for name in names) == RELEASED[family]
    assert (
        "zh" in model.info.languages if family.startswith(("v4", "v5")) else model.info.languages == ("en",)
    )


def test_an_image_model_makes_one_frame(tmp_path):
    from ea_app.api.job import make_job
    from ea_app.options import InputError
    from ea_dit.pipelines.tiny import make_tiny

    model = catalog.find(str(make_tiny("v1-image", tmp_path / "image")))
    with pytest.raises(InputError, match="frames: must be 1: this model makes pictures, got 2"):
        make_job(model, prompt="a fox", frames=2)


def test_a_released_directory_that_is_not_understood_is_no_model(tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    (copy / "model.json").unlink()
    config = copy / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "Other"}))
    with pytest.raises(ValueError, match="unknown transformer class 'Other'"):
        catalog.find(str(copy))


def test_the_fingerprint_is_of_contents_only(tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    before = catalog.find(str(tiny_model)).fingerprint()
    assert catalog.find(str(copy)).fingerprint() == before
    (copy / "model_card.md").write_text("hello")
    assert catalog.find(str(copy)).fingerprint() == before
    weights = next((copy / "vae").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert catalog.find(str(copy)).fingerprint() != before


def test_large_files_are_sampled_to_their_last_byte(monkeypatch):
    monkeypatch.setattr(fingerprint, "_SAMPLES", 4)
    monkeypatch.setattr(fingerprint, "_BLOCK", 10)
    assert fingerprint._sample_starts(40) == [0, 10, 20, 30]
    assert fingerprint._sample_starts(41) == [0, 10, 20, 31]
    assert fingerprint._sample_starts(0) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is broken"),
        ("[]", "is broken"),
        ('{"description": "x"}', "name is missing"),
        ('{"name": "x", "colour": 1}', "unknown key 'colour'; known: .*steps"),
        ('{"name": "x", "steps": 0}', "steps must be a whole number"),
        ('{"name": "x", "max_side": "64"}', "max_side must be a whole number"),
        ('{"name": "x", "strength": 1}', "strength must be above 0 and below 1"),
        ('{"name": "x", "guidance": "much"}', "is broken"),
        ('{"name": "x", "max_prompt_bytes": 0}', "max_prompt_bytes must be"),
    ],
)
def test_a_broken_model_json_is_named(content, message, tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    (copy / "model.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        catalog.find(str(copy))


def test_what_is_no_model(tmp_path, tiny_model):
    with pytest.raises(ValueError, match="unknown model 'no such'; give a bundled one"):
        catalog.find("no such")
    with pytest.raises(ValueError, match="unknown model ''"):
        catalog.find("")
    with pytest.raises(ValueError, match="is no model directory: it has no transformer/"):
        catalog.find(str(tmp_path))
    with pytest.raises(ValueError, match="is a file; give the directory that holds transformer/"):
        catalog.find(str(tiny_model / "model.json"))


def test_a_hub_id_that_cannot_be_had(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def offline(name, *, revision, local_dir, ignore_patterns, local_files_only):
        asked.append((name, local_files_only))
        assert (revision, local_dir) == (None, None)
        assert "*.bin" in ignore_patterns
        raise LocalEntryNotFoundError("no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        ValueError, match=r"'owner/name' is neither a directory nor in the local cache, and it"
    ):
        catalog.find("owner/name")
    with pytest.raises(ValueError, match="not downloaded unasked"):
        catalog.find("owner/name", download=False)
    assert asked == [("owner/name", False), ("owner/name", True)]
    for name in ("../name", "/owner/name", "owner/na me", "a/b/c", "a/b@"):
        with pytest.raises(ValueError, match="unknown model"):
            catalog.find(name)
    assert len(asked) == 2


def test_bundled_models_are_complete():
    for model in catalog.bundled():
        assert model.size() <= 48_000_000
        assert (model.directory / "model_card.md").is_file()
        assert json.loads((model.directory / "model.json").read_text())["name"] == model.name


def test_bundled_models_are_small_together():
    files = [path for path in catalog._bundled_root().rglob("*.safetensors") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60_000_000
