"""Every generation from a released layout of a model directory to frames, and directories that are wrong."""

import json
import shutil

import pytest
import torch
from given import request_of
from safetensors.torch import load_file, save_file

from ea_dit import load_transformer, save_transformer
from ea_dit.diffusion import DdpmSchedule, FlowMatching
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.families.pixart_motion import PixArtMotion
from ea_dit.pipelines import Frames, load_components, load_pipeline
from ea_dit.pipelines.channels import encode_video
from ea_dit.pipelines.tiny import MOTION_FILE, OPEN_SORA_FILE, TINY, make_tiny
from ea_dit.text.bert_t5 import BertT5TextEncoder
from ea_dit.text.clip_image import ClipImageEncoder
from ea_dit.text.padded import PaddedTextEncoder
from ea_dit.text.qwen2_vl import Qwen2VLTextEncoder

HEIGHT, WIDTH, FRAMES = 32, 64, 5
VIDEO = torch.rand(3, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
RAYS = torch.randn(6, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
HALF = torch.arange(WIDTH).expand(HEIGHT, WIDTH) >= WIDTH // 2
FIRST_TWO = torch.arange(FRAMES)[:, None, None].expand(FRAMES, HEIGHT, WIDTH) >= 2

TEXT = {"text_to_video": {}, "text_to_image": {"num_frames": 1}}
REDO = {"video_to_video": {"video": VIDEO, "strength": 0.5}}
PICTURES = {
    "image_to_video": {"image": VIDEO[:, 0]},
    "first_frames_and_last": {"image": VIDEO[:, :2], "last_image": VIDEO[:, -1]},
    "keyframe": {"conditions": [Frames(pixels=VIDEO[:, 2], at=2)]},
}
MASKED = {"masked_video": {"video": VIDEO, "mask": HALF}}
CONTROL = {"control": {"control": VIDEO}}
REFERENCE = {"reference": {"control": VIDEO, "reference": VIDEO[:, 0]}}
CAMERA = {"camera": {"camera": RAYS}, "camera_with_reference": {"camera": RAYS, "reference": VIDEO[:, 0]}}
INPAINT = TEXT | REDO | PICTURES | MASKED

# The contract: every row of releases with every mode that its release has.
ROWS = {
    "v1-t2v": TEXT | REDO,
    "v1-image": {"text_to_image": {"num_frames": 1}},
    "v2-t2v": TEXT | REDO,
    "v3-inp": INPAINT,
    "v4-inp": INPAINT,
    "v4-t2v": TEXT,
    **{f"{size}-t2v": TEXT for size in ("v5-7b", "v5-12b", "v5.1-7b", "v5.1-12b")},
    **{f"{size}-inp": INPAINT for size in ("v5-7b", "v5-12b", "v5.1-7b", "v5.1-12b")},
    **{f"{size}-control": TEXT | CONTROL for size in ("v5-7b", "v5-12b")},
    **{f"{size}-control": TEXT | CONTROL | REFERENCE for size in ("v5.1-7b", "v5.1-12b")},
    **{f"{size}-camera": CAMERA for size in ("v5.1-7b", "v5.1-12b")},
    "open-sora-1.0": TEXT | REDO | PICTURES | {"masked_video": {"video": VIDEO, "mask": FIRST_TWO}},
    "open-sora-1.1": TEXT | REDO | PICTURES | {"masked_video": {"video": VIDEO, "mask": FIRST_TWO}},
}


# The networks of V5 are those of V5.1 without its other modes; 12B has no other modes than 7B.
REPEATED = {"v4-t2v", "v5-7b-t2v", "v5-7b-control", "v5-12b-inp", "v5-12b-control"}
REPEATED |= {"v5.1-12b-t2v", "v5.1-12b-inp"}
CASES = [
    pytest.param(family, mode, id=f"{family}-{mode}", marks=pytest.mark.slow if family in REPEATED else ())
    for family, modes in ROWS.items()
    for mode in modes
]


def make(**changes):
    options = {"prompt": "a red fox", "height": HEIGHT, "width": WIDTH, "num_frames": FRAMES, "num_steps": 2}
    return request_of(options | changes)


@pytest.fixture
def copy(directory, tmp_path):
    """A directory that a test may spoil."""

    def get(family):
        return shutil.copytree(directory(family), tmp_path / family)

    return get


def load(folder, **options):
    return load_components(folder, dtype="float32", device="cpu", **options)


def test_every_family_is_a_row():
    assert set(ROWS) == set(TINY)


@pytest.mark.parametrize(("family", "mode"), CASES)
def test_a_prompt_or_media_goes_in_and_frames_come_out(pipeline, family, mode):
    request = make(**ROWS[family][mode])
    result = pipeline(family)(request)
    assert result.frames.shape == (1, 3, request.num_frames, HEIGHT, WIDTH)
    assert 0 <= float(result.frames.min()) < float(result.frames.max()) <= 1
    assert bool(torch.isfinite(result.latents).all())


@pytest.mark.parametrize(
    "family",
    [
        "v1-t2v",
        pytest.param("v3-inp", marks=pytest.mark.slow),
        "v4-inp",
        pytest.param("v5-7b-inp", marks=pytest.mark.slow),
        "v5.1-7b-camera",
        "open-sora-1.1",
    ],
)
def test_released_precision(directory, family):
    run = load_pipeline(directory(family), dtype="bfloat16", device="cpu")
    assert run.components.dtype == torch.bfloat16
    for name, change in ROWS[family].items():
        if name in ("image_to_video", "masked_video", "camera_with_reference", "text_to_image"):
            frames = run(make(**change)).frames
            assert bool(torch.isfinite(frames).all()), name


@pytest.mark.parametrize("family", ["v1-t2v", "v4-inp", "open-sora-1.1"])
def test_prompts_and_seeds_matter_and_nothing_else_does(pipeline, family):
    run = pipeline(family)
    base = run(make()).frames
    assert torch.equal(run(make()).frames, base)
    for change in ({"prompt": "blue"}, {"negative_prompt": "dull"}, {"seed": 1}, {"guidance_scale": 3.0}):
        assert not torch.equal(run(make(**change)).frames, base), change
    unguided = run(make(guidance_scale=1.0)).frames
    assert torch.equal(run(make(guidance_scale=1.0, negative_prompt="dull")).frames, unguided)


@pytest.mark.parametrize(
    ("family", "kind", "schedule", "image"),
    [
        ("v1-t2v", PaddedTextEncoder, DdpmSchedule, False),
        ("v3-inp", PaddedTextEncoder, DdpmSchedule, True),
        ("v4-inp", BertT5TextEncoder, DdpmSchedule, True),
        ("v5-7b-inp", BertT5TextEncoder, DdpmSchedule, False),
        ("v5.1-7b-inp", Qwen2VLTextEncoder, FlowMatching, False),
        ("open-sora-1.0", PaddedTextEncoder, Iddpm, False),
    ],
)
def test_parts_are_those_of_the_release(pipeline, family, kind, schedule, image):
    parts = pipeline(family).components
    assert isinstance(parts.text_encoder, kind)
    assert isinstance(parts.process, schedule)
    assert isinstance(parts.image_encoder, ClipImageEncoder) == image


def test_released_schedules(pipeline):
    v1, v4, v5 = (pipeline(name).components.process for name in ("v1-t2v", "v4-inp", "v5-7b-t2v"))
    assert (v1.prediction_type, v1.beta_end) == ("epsilon", 0.02)
    assert (v4.prediction_type, v4.beta_end, v4.rescale_betas_zero_snr) == ("v_prediction", 0.03, False)
    assert (v5.prediction_type, v5.beta_end, v5.rescale_betas_zero_snr) == ("v_prediction", 0.012, True)
    first, second = (pipeline(f"open-sora-{name}").components.process for name in ("1.0", "1.1"))
    assert (first.table_dtype, second.table_dtype) == ("float64", "float32")


@pytest.mark.parametrize("family", ["v3-inp", "v4-inp"])
def test_the_picture_is_also_read_by_clip_in_the_last_steps(pipeline, family):
    run = pipeline(family)
    given = {"image": VIDEO[:, 0], "num_steps": 4}
    none, last, all_of_them = (run(make(**given, clip_apply_ratio=share)).frames for share in (0.0, 0.4, 1.0))
    assert not torch.equal(none, last)
    assert not torch.equal(last, all_of_them)
    same, other = (run(make(**given, clip_image=picture)).frames for picture in (VIDEO[:, 0], VIDEO[:, 1]))
    assert torch.equal(same, last)
    assert not torch.equal(other, last)


@pytest.mark.parametrize("family", ["open-sora-1.0", "open-sora-1.1"])
def test_frames_that_are_given_come_out_close(pipeline, family):
    """They join in the last step only, at its small noise; from weights at random that is not exact."""
    run = pipeline(family)
    parts = run.components
    with torch.no_grad():
        latents = encode_video(parts.vae, VIDEO[None, :, :1] * 2 - 1)
    made = run(make(image=VIDEO[:, 0], num_steps=20)).latents
    far = run(make(num_steps=20)).latents
    assert float((made[:, :, 0] - latents[:, :, 0]).abs().max()) < 0.1
    assert float((far[:, :, 0] - latents[:, :, 0]).abs().max()) > 0.1


def test_open_sora_is_told_length_and_rate(pipeline):
    run, seen = pipeline("open-sora-1.1"), []
    handle = run.components.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["conditioning"]), with_kwargs=True
    )
    run(make(fps=8, num_steps=1))
    run(make(num_frames=1, num_steps=1))
    handle.remove()
    assert [float(given.fps[0]) for given in seen] == [24.0, 120.0]
    assert [float(given.num_frames[0]) for given in seen] == [5.0, 1.0]
    assert seen[0].resolution.tolist() == [[32.0, 64.0]] * 2
    assert seen[0].aspect_ratio.tolist() == [[0.5]] * 2


@pytest.mark.parametrize(
    ("family", "sampler"),
    [
        ("v2-t2v", "DPM++"),
        ("v5-12b-t2v", "Euler A"),
        ("open-sora-1.0", "DDIM"),
        ("open-sora-1.1", "DPM-Solver"),
    ],
)
def test_a_sampler_can_be_chosen(pipeline, family, sampler):
    run = pipeline(family)
    assert not torch.equal(run(make(sampler=sampler)).frames, run(make()).frames)


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("v1-t2v", {"width": 48}, "width must be a multiple of 32 for this model, got 48"),
        ("v1-t2v", {"image": VIDEO[:, 0]}, "image cannot be used: this model supports text_to_image"),
        ("v1-image", {}, "num_frames 5 cannot be used: this model supports text_to_image"),
        ("v1-t2v", {"sampler": "Flow"}, "sampler must be one of Euler, .* for a DDPM schedule, got 'Flow'"),
        ("open-sora-1.0", {"video": VIDEO, "mask": HALF}, "mask must keep or redo whole frames"),
        (
            "open-sora-1.0",
            {"image": VIDEO[:, 0], "sampler": "DPM-Solver"},
            "sampler must be IDDPM or DDIM where frames are kept",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused(pipeline, family, change, message):
    with pytest.raises(ValueError, match=message):
        pipeline(family)(make(**change))


# ------------------------------------------------------------------------------------------------ directories


def test_the_same_directory_every_time(directory, tmp_path):
    again = make_tiny("v1-image", tmp_path / "again")
    first = directory("v1-image")
    names = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
    assert names == sorted(path.relative_to(again) for path in again.rglob("*.safetensors"))
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    with pytest.raises(ValueError, match="must be a new or an empty directory"):
        make_tiny("v1-image", again)
    with pytest.raises(ValueError, match=r"family must be one of v1-t2v, .*, got 'v6'"):
        make_tiny("v6", tmp_path / "other")


def test_an_image_model_and_motion_modules_are_v1(copy, tmp_path):
    folder = copy("v1-t2v")
    assert isinstance(load(folder).transformer, PixArtMotion)
    assert load(folder).traits.moves
    elsewhere = shutil.move(folder / MOTION_FILE, tmp_path / "mm.safetensors")
    assert not load(folder).traits.moves
    assert load(folder, motion_module=elsewhere).traits.moves


def test_a_personalised_base_is_swapped_in(copy, pipeline):
    folder = copy("v1-t2v")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    personal = folder.parent / "personal.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, personal)
    swapped = load(folder, transformer_weights=personal).transformer.state_dict()
    plain = pipeline("v1-t2v").components.transformer.state_dict()
    for name, tensor in plain.items():
        torch.testing.assert_close(swapped[name], tensor if ".motion." in name else tensor * 1.5)


def shard(folder):
    """Cuts the weights of a transformer in two."""
    whole = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(whole)
    names = sorted(state)
    table = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: state[name] for name in part}, folder / file)
        table |= dict.fromkeys(part, file)
    whole.unlink()
    index = {"metadata": {"total_size": 0}, "weight_map": table}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return sorted(folder.glob("*-of-*.safetensors"))


def test_shards_the_layout_of_diffusers_and_bookkeeping(copy, pipeline):
    folder = copy("v5-7b-t2v")
    expected = pipeline("v5-7b-t2v")(make()).frames
    save_transformer(load_transformer(folder / "transformer"), folder / "transformer", diffusers=True)
    shard(folder / "transformer")
    edit(folder / "transformer" / "config.json", decay=0.9999, optimization_step=1000, use_ema_warmup=False)
    assert torch.equal(load_pipeline(folder, dtype="float32", device="cpu")(make()).frames, expected)


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refuses(folder, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)


def test_a_truncated_and_a_misshapen_shard_are_refused(copy):
    folder = copy("v5.1-7b-t2v")
    first, second = shard(folder / "transformer")
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    refuses(folder, r"00001-of-00002\.safetensors: is cut off: it has \d+ bytes, its header promises")
    first.write_bytes(whole)
    state = load_file(second)
    name = next(name for name, tensor in state.items() if tensor.ndim == 2)
    save_file(state | {name: state[name][:-1].contiguous()}, second)
    refuses(folder, rf"tensor '{name}' has shape .*, expected")
    second.unlink()
    refuses(folder, "shard .* is missing")


def test_parts_that_are_missing_are_named(copy):
    folder = copy("v4-inp")
    shutil.move(folder / "text_encoder_2", folder.parent / "gone")
    refuses(folder, r"the transformer reads two text encoders, text_encoder_2/config\.json is missing")
    shutil.move(folder.parent / "gone", folder / "text_encoder_2")
    shutil.rmtree(folder / "image_encoder")
    refuses(folder, "the transformer reads image_encoder, which is missing")
    shutil.rmtree(folder / "vae")
    refuses(folder, r"is no model directory: vae/config\.json is missing")
    shutil.rmtree(folder / "transformer")
    refuses(folder, r"is no model directory: transformer/config\.json is missing")


def test_foreign_parts_are_refused(copy, directory):
    folder = copy("v3-inp")
    v5 = directory("v5-7b-inp")
    shutil.copy(v5 / "transformer" / "config.json", folder / "transformer" / "config.json")
    for name in ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"):
        shutil.copytree(v5 / name, folder / name, dirs_exist_ok=True)
    shutil.copytree(v5 / "vae", folder / "vae", dirs_exist_ok=True)
    shutil.copytree(v5 / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    refuses(folder, r"transformer: (unexpected|missing) tensor|transformer: tensor .* has shape")


def test_text_encoders_that_do_not_fit_are_refused(copy, directory):
    folder = copy("v2-t2v")
    edit(folder / "text_encoder" / "config.json", d_model=24)
    refuses(folder, r"config\.json: the text states are 24 wide, but the transformer reads 16")
    edit(folder / "text_encoder" / "config.json", model_type="gpt2")
    refuses(folder, "model_type must be t5 or mt5 .* for this transformer, got 'gpt2'")


def test_a_foreign_schedule_is_refused(copy):
    folder = copy("v1-image")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(Iddpm().to_dict()))
    refuses(folder, "the scheduler must be DdpmSchedule for this transformer, got Iddpm")
    file.write_text(json.dumps({"_class_name": "HeunDiscreteScheduler"}))
    refuses(folder, r"scheduler_config\.json: scheduler config: _class_name must be one of")
    file.unlink()
    assert load(folder).process == DdpmSchedule(class_name="EulerDiscreteScheduler", steps_offset=1)


def test_open_soras_parts_are_told_by_their_content(copy):
    folder = copy("open-sora-1.0")
    (folder / OPEN_SORA_FILE).rename(folder / "anything.safetensors")
    (folder / "t5-v1_1-xxl").rename(folder / "words")
    load(folder)
    (folder / "anything.safetensors").rename(folder / "weights.pth")
    refuses(folder, r"no transformer .* was found in any folder \(weights\.pth is a pickle; allow_pickle")
