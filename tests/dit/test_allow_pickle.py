"""Model directories whose weights are pickles: refused in one line, or read on request to the same frames."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ea_dit import load_transformer
from ea_dit.pipelines import Frames, GenerationRequest, load_pipeline

TEXT_ONLY = GenerationRequest(prompt="a fox", height=32, width=32, num_frames=5, num_steps=1)
REQUEST = replace(TEXT_ONLY, conditions=(Frames(pixels=torch.full((3, 32, 32), 0.5)),))
ROWS = {
    "v1-t2v": TEXT_ONLY,
    "v3-inp": REQUEST,
    "v4-inp": REQUEST,
    "v5.1-7b-inp": REQUEST,
    "open-sora-1.0": REQUEST,
    "open-sora-1.1": REQUEST,
}


def pickled(file):
    """Turns a safetensors file into two shards with an index (text encoders) or into one pickle."""
    state = load_file(file)
    file.unlink()
    if file.name != "model.safetensors" or len(state) < 2:
        target = file.with_suffix(".pth" if file.parent.name == "model" else ".bin")
        torch.save(state, target)
        return target
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, part in shards.items():
        torch.save({name: state[name] for name in part}, file.with_name(shard))
    table = {name: shard for shard, part in shards.items() for name in part}
    index = file.with_name("pytorch_model.bin.index.json")
    index.write_text(json.dumps({"weight_map": table}))
    return file.with_name("pytorch_model-00001-of-00002.bin")


def load(folder, **options):
    return load_pipeline(folder, dtype="float32", device="cpu", **options)


# V3 has the parts of V1 and an image encoder, as V4; Open-Sora 1.0 those of 1.1, and ea_app's own test.
REPEATED = {"v3-inp", "open-sora-1.0"}


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in ROWS]
)
def test_all_parts_as_pickles_make_the_same_frames(directory, pipeline, tmp_path, family):
    folder = Path(shutil.copytree(directory(family), tmp_path / "model"))
    for file in sorted(folder.rglob("*.safetensors")):
        pickled(file)
    with pytest.raises(ValueError, match=r"is a pickle.* \(--allow-pickle\) reads it") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    frames = load(folder, allow_pickle=True)(ROWS[family]).frames
    assert torch.equal(frames, pipeline(family)(ROWS[family]).frames)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder", "text_encoder_2", "image_encoder"])
def test_every_part_is_refused_by_its_file_and_never_runs(directory, tmp_path, part, malicious):
    folder = Path(shutil.copytree(directory("v4-inp"), tmp_path / "model"))
    file = pickled(next((folder / part).glob("*.safetensors")))
    with pytest.raises(ValueError, match=rf"{part}/{file.name}: is a pickle, .*allow_pickle"):
        load(folder)
    trace = tmp_path / "was-here"
    torch.save({**torch.load(file), "bad": malicious(trace)}, file)
    with pytest.raises(ValueError, match=rf"{file.name}: not a plain dictionary of tensors: it names code"):
        load(folder, allow_pickle=True)
    assert not trace.exists()
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=rf"{file.name}: not a plain .*: it is damaged or cut off") as caught:
        load(folder, allow_pickle=True)
    assert "\n" not in str(caught.value)


def test_a_personalised_checkpoint_and_motion_modules_as_pickles(directory, tmp_path):
    folder = Path(shutil.copytree(directory("v1-t2v"), tmp_path / "model"))
    motion = pickled(next((folder / "motion_module").glob("*.safetensors")))
    ours = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    torch.save({"state_dict": ours}, tmp_path / "mine.ckpt")
    options = {"motion_module": motion, "weights": tmp_path / "mine.ckpt"}
    with pytest.raises(ValueError, match="is a pickle"):
        load_transformer(folder / "transformer", **options)
    loaded = load_transformer(folder / "transformer", **options, allow_pickle=True)
    assert len(loaded.config.motion) == 1
    # Without being asked for pickles, nobody looks into them: the image model is there, and is one.
    with pytest.raises(ValueError, match="num_frames 5 cannot be used"):
        load(folder)(TEXT_ONLY)
    assert load(folder, allow_pickle=True)(TEXT_ONLY).frames.shape[2] == 5


def test_tensors_that_a_text_encoder_lacks_are_named(directory, tmp_path):
    folder = Path(shutil.copytree(directory("open-sora-1.1"), tmp_path / "model"))
    file = next((folder / "t5-v1_1-xxl").glob("*.safetensors"))
    state = load_file(file)
    file.unlink()
    name = next(name for name in sorted(state) if "layer" in name)
    state.pop(name)
    torch.save(state, file.with_name("pytorch_model.bin"))
    with pytest.raises(ValueError, match=rf"t5-v1_1-xxl: missing tensor '{name}'"):
        load(folder, allow_pickle=True)
