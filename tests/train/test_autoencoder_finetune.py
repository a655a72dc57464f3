"""Finetuning of released autoencoders: objective, networks that judge, cuts, starts, resuming."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ea_vae
from ea_data.media import write_video
from ea_train import cli, schema
from ea_train.config import OptimConfig
from ea_train.objectives import reconstruction as losses
from ea_train.objectives.discriminators import ClipDiscriminator, FrameDiscriminator
from ea_train.objectives.perceptual import Lpips
from ea_train.objectives.quality import ssim, with_interval
from ea_train.recipes import vae as recipe
from ea_train.tasks.autoencoder_clips import CutSize, ManifestCuts, ProceduralCuts
from ea_train.tasks.autoencoder_finetune import FinetuneConfig, FinetuneTask
from ea_train.tasks.autoencoder_inherit import inflate, slice_from_magvit
from ea_train.tasks.base import Place
from ea_vae.families.cogvideox.config import CogVideoXConfig
from ea_vae.families.magvit.config import DOWN_BLOCKS, UP_BLOCKS
from ea_vae.families.magvit.presets import PRESETS as MAGVIT

_SIZES = {"block_out_channels": (4, 4, 8, 8), "layers_per_block": 1, "norm_num_groups": 2}
_T8 = {"down_block_types": (DOWN_BLOCKS[1],) * 4, "up_block_types": (UP_BLOCKS[1],) * 4}
_FAMILIES = {
    "v2": (lambda: ea_vae.MagvitVae(MAGVIT["v2"].edited(**_SIZES)), 9),
    "v3": (lambda: ea_vae.MagvitVae(MAGVIT["v3"].edited(**_SIZES)), 9),
    "v3-t8": (
        lambda: ea_vae.MagvitVae(MAGVIT["v3"].edited(**_SIZES, **_T8, decoder_slice_latents=1)),
        17,
    ),
    "v4": (lambda: ea_vae.MagvitVae(MAGVIT["v4"].edited(**_SIZES)), 8),
    "v5.1": (lambda: ea_vae.MagvitVae(MAGVIT["v5.1"].edited(**_SIZES)), 9),
    "image": (lambda: ea_vae.ImageVae(ea_vae.ImageVaeConfig(**_SIZES)), 3),
    "cogvideox": (lambda: ea_vae.CogVideoXVae(CogVideoXConfig(**_SIZES)), 9),
}


def _vae(family):
    torch.manual_seed(0)
    return _FAMILIES[family][0]()


def _task(family="v5.1", **changes):
    base = recipe.config("tiny").task
    config = dataclasses.replace(base, num_frames=_FAMILIES[family][1], **changes)
    return FinetuneTask(
        _vae(family), config, train=ProceduralCuts(0), heldout=ProceduralCuts(1, split="heldout")
    )


def _step(task, step=0, size=2):
    place = Place.alone(step)
    return task.step(task.batch(0, place, size), torch.Generator().manual_seed(step), place)


@pytest.fixture
def lpips_files(tmp_path):
    """A narrow VGG-16 under torchvision's names, and heads under those of LPIPS."""
    torch.manual_seed(1)
    widths, convolutions, channels = (4, 4, 6, 6, 8), {}, 3
    for width, numbers in zip(
        widths, ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), strict=True
    ):
        for number in numbers:
            convolutions[f"features.{number}.weight"] = torch.randn(width, channels, 3, 3)
            convolutions[f"features.{number}.bias"] = torch.randn(width)
            channels = width
    convolutions["classifier.0.weight"] = torch.randn(2, 2)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate(widths)}
    save_file(convolutions, tmp_path / "vgg.safetensors")
    save_file(heads, tmp_path / "heads.safetensors")
    return tmp_path / "vgg.safetensors", tmp_path / "heads.safetensors"


@pytest.mark.parametrize(
    ("family", "image_share"),
    [
        *((family, 0.0) for family in _FAMILIES),
        *(
            pytest.param(family, 1.0, marks=() if family in ("v2", "v5.1") else pytest.mark.slow)
            for family in _FAMILIES
        ),
    ],
)
def test_every_family_is_trained_on_clips_and_pictures(family, image_share, tmp_path):
    task = _task(family, image_share=image_share, disc_start=1)
    output = _step(task)
    assert output.losses.keys() == {"generator", "discriminator"}
    for group, names in task.trainable.items():
        parameters = [p for name in names for p in task.modules[name].parameters()]
        found = torch.autograd.grad(output.losses[group], parameters, allow_unused=True, retain_graph=True)
        moved = sum(one is not None and bool(one.any()) for one in found)
        assert moved > 0.9 * len(parameters), (group, moved, len(parameters))
    task.export(tmp_path, {})
    again = ea_vae.load_vae(tmp_path)
    assert again.config == task.vae.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), task.vae.parameters(), strict=True))


def test_a_length_that_does_not_come_back_is_refused():
    with pytest.raises(ValueError, match=r"task\.num_frames 9: .* the nearest that it keeps are 8 and 12"):
        FinetuneTask(
            _vae("v4"), recipe.config("tiny").task, train=ProceduralCuts(0), heldout=ProceduralCuts(1)
        )
    with pytest.raises(ValueError, match=r"task\.side must be a multiple of 8, got 36"):
        _task(side=36)


def test_the_losses_are_the_released_reductions():
    task = _task("v5.1", image_share=0.0, l2_weight=0.5, outlier_weight=10.0, disc_weight=0.0)
    batch = task.batch(0, Place.alone(0), 2)
    output = task.step(batch, torch.Generator().manual_seed(3), Place.alone(0))
    video = batch["video"]
    with torch.no_grad():
        posterior = task.vae.encode_clip(video)
        made = task.vae.decode_clip(posterior.sample(torch.Generator().manual_seed(3)))
    error = made - video
    per_frame = [
        (error[b, :, t].abs() + 0.5 * error[b, :, t] ** 2).sum()
        for b in range(2)
        for t in range(video.shape[2])
    ]
    latents = posterior.mean
    flat = latents.flatten(3)
    beyond = (flat - flat.mean(-1, keepdim=True)).abs() - 3 * flat.std(-1, keepdim=True)
    expected = torch.stack(per_frame).mean() + 1e-6 * posterior.kl().mean() + 10 * beyond.clamp_min(0).mean()
    assert torch.allclose(output.losses["generator"], expected, rtol=1e-4)


def test_the_outlier_penalty_sees_bright_spots():
    latents = torch.randn(1, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spot = latents.clone()
    spot[0, 0, 0, 3, 3] = 40.0
    assert losses.outlier_penalty(latents) < 1e-2 < losses.outlier_penalty(spot)
    assert losses.outlier_penalty(torch.zeros(1, 1, 1, 2, 2)) == 0


def test_discriminators_count_from_their_step_on():
    task = _task(disc_start=3, image_share=0.0)
    before, after = _step(task, 1), _step(task, 2)
    assert before.losses["discriminator"] == 0
    assert "disc_weight" not in before.metrics
    assert after.losses["discriminator"] > 0
    assert after.metrics["disc_weight"] > 0
    # The first optimiser step is number 1: the adversarial term belongs to step 3, index 2.
    plain = _task(disc_weight=0.0, image_share=0.0)
    assert torch.equal(_step(plain, 1).losses["generator"], before.losses["generator"])
    assert not torch.equal(_step(plain, 2).losses["generator"], after.losses["generator"])


def test_the_adversarial_term_pulls_as_hard_as_the_reconstruction():
    task = _task(disc_start=1, image_share=0.0)
    place = Place.alone(0)
    batch = task.batch(0, place, 2)
    last = task.vae.get_parameter("decoder.conv_out.weight")
    with_it = task.step(batch, torch.Generator().manual_seed(0), place).losses["generator"]
    task.config = dataclasses.replace(task.config, disc_start=9)
    without = task.step(batch, torch.Generator().manual_seed(0), place).losses["generator"]
    (pull,) = torch.autograd.grad(without, last)
    (both,) = torch.autograd.grad(with_it, last)
    assert (both - pull).norm() / pull.norm() == pytest.approx(0.5, rel=0.05)


def test_discriminators_have_the_released_shapes():
    frames, clips = FrameDiscriminator(), ClipDiscriminator()
    video = torch.randn(1, 3, 9, 64, 64)
    assert frames(video).shape == (9, 1, 6, 6)
    assert clips(video).shape == (1, 1, 2, 8, 8)
    assert clips(video[:, :, :1]).shape == (1, 1, 1, 8, 8)
    assert [c.out_channels for c in frames.modules() if isinstance(c, nn.Conv2d)] == [64, 128, 256, 512, 1]
    assert {c.out_channels for c in clips.modules() if isinstance(c, nn.Conv3d)} == {64, 128, 256, 1}


def test_one_half_learns_while_the_other_stands_still():
    for learns, still in (("decoder", "encoder"), ("encoder", "decoder")):
        task = _task(learns=learns, disc_start=1, image_share=0.0)
        output = _step(task)
        output.losses["generator"].backward()
        frozen, live = getattr(task.vae, still), getattr(task.vae, learns)
        assert all(p.grad is None for p in frozen.parameters())
        assert all(p.grad is not None for p in live.parameters())
    assert all(not p.requires_grad for p in _task("image", learns="encoder").vae.post_quant_conv.parameters())


def test_lpips_is_what_its_paper_says(lpips_files):
    network = Lpips.from_files(*lpips_files)
    assert not any(p.requires_grad for p in network.parameters())
    first, second = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = network(first, second)
    assert found.shape == (2,)
    assert torch.equal(network(first, first), torch.zeros(2))
    assert torch.allclose(found, network(second, first))
    # By hand, one picture: features of length 1 at every place, weighted squares, mean over places.
    total = 0.0
    a, b = (
        (x[:1] - torch.tensor([-0.03, -0.088, -0.188]).view(1, 3, 1, 1))
        / torch.tensor([0.458, 0.448, 0.45]).view(1, 3, 1, 1)
        for x in (first, second)
    )
    for index, stage in enumerate(network.stages):
        if index:
            a, b = nn.MaxPool2d(2, 2)(a), nn.MaxPool2d(2, 2)(b)
        for layer in stage:
            a, b = layer(a).relu(), layer(b).relu()
        units = [x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (a, b)]
        total += float((network.heads[index].view(1, -1, 1, 1) * (units[0] - units[1]) ** 2).sum(1).mean())
    assert float(found[0]) == pytest.approx(total, rel=1e-4)


def test_lpips_counts_once_per_value_of_a_frame(lpips_files):
    files = tuple(map(str, lpips_files))
    with_it = _task(lpips_weight=2.0, lpips_files=files, disc_weight=0.0, image_share=0.0)
    without = _task(disc_weight=0.0, image_share=0.0)
    one, other = _step(with_it), _step(without)
    difference = one.losses["generator"] - other.losses["generator"]
    assert torch.allclose(difference, 2.0 * one.metrics["lpips"] * 3 * 32 * 32, rtol=1e-3)


def test_lpips_needs_its_weights(lpips_files, tmp_path):
    with pytest.raises(ValueError, match=r"task\.lpips_weight needs the weights of VGG-16"):
        _task(lpips_weight=1.0)
    vgg, heads = lpips_files
    with pytest.raises(ValueError, match=r"no LPIPS head lin0\.model\.1\.weight"):
        Lpips.from_files(vgg)
    with pytest.raises(ValueError, match=r"no VGG-16 convolution features\.0\.weight"):
        Lpips.from_files(heads)
    torch.save({"lin0.model.1.weight": torch.ones(1, 4, 1, 1)}, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match="is a pickle"):
        Lpips.from_files(vgg, tmp_path / "vgg.pth")


def test_ssim_and_its_interval():
    clip = ProceduralCuts(0).cut(0, "video", CutSize(num_frames=3, side=32))[None]
    noisy = clip + 0.3 * torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    assert ssim(clip, clip) == pytest.approx(1.0, abs=1e-5)
    assert ssim(noisy, clip) < 0.9
    # A picture as large as the window has one place; by hand with the window's weights.
    x, y = noisy[:, :, :1, :11, :11].double().clamp(-1, 1), clip[:, :, :1, :11, :11].double()
    taps = torch.exp(-(torch.arange(11.0) - 5).double().square() / 4.5)
    weights = torch.outer(taps, taps) / taps.sum() ** 2

    def mean(values):
        return (values * weights).sum(dim=(-2, -1))

    variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    top = (2 * mean(x) * mean(y) + 0.0004) * (2 * (mean(x * y) - mean(x) * mean(y)) + 0.0036)
    by_hand = (top / ((mean(x) ** 2 + mean(y) ** 2 + 0.0004) * (variances + 0.0036))).mean()
    assert float(ssim(x, y)) == pytest.approx(float(by_hand), abs=1e-4)
    figures = with_interval("x", torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert figures["x"] == 2.5
    assert figures["x_interval"] == pytest.approx(1.96 * 1.2909944 / 2)
    assert with_interval("x", torch.tensor([1.0])) == {"x": 1.0}


def test_a_slice_autoencoder_inherits_every_weight_of_a_magvit():
    magvit = _vae("v2")
    made = slice_from_magvit(magvit)
    assert (made.config.temporal_mode, made.config.encoder_slice_frames) == ("neighbours", 8)
    assert made.config.decoder_slice_latents == 2
    assert all(torch.equal(made.state_dict()[name], value) for name, value in magvit.state_dict().items())
    assert made.geometry.time == 4
    wide = slice_from_magvit(magvit, halve_everywhere=True)
    assert wide.geometry.time == 8
    clip = torch.zeros(1, 3, 33, 16, 16)
    assert wide.encode_clip(clip).mean.shape[2] == 5
    assert wide.decode_clip(wide.encode_clip(clip).mean).shape == clip.shape


@pytest.mark.parametrize(
    "mode", [{"temporal_mode": "slices"}, {"temporal_mode": "cached", "encoder_slice_frames": 8}]
)
def test_an_inflated_autoencoder_does_what_the_image_one_did(mode):
    sizes = {**_SIZES, "layers_per_block": 2}
    torch.manual_seed(2)
    image = ea_vae.ImageVae(ea_vae.ImageVaeConfig(**sizes))
    made = inflate(image, MAGVIT["v2"].edited(**sizes, **mode))
    picture = torch.randn(2, 3, 1, 32, 32)
    with torch.no_grad():
        ours, theirs = made.encode_clip(picture), image.encode_clip(picture)
        assert torch.allclose(ours.mean, theirs.mean, atol=1e-5)
        assert torch.allclose(made.decode_clip(ours.mean), image.decode_clip(theirs.mean), atol=1e-4)
    with pytest.raises(ValueError, match="layers_per_block and attention must agree"):
        inflate(image, MAGVIT["v2"].edited(**_SIZES))
    with pytest.raises(ValueError, match="needs a causal encoder, got temporal_mode 'neighbours'"):
        inflate(image, MAGVIT["v3"].edited(**sizes))


def test_cuts_of_a_manifest_are_functions_of_their_index(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("a.mp4", (12, 48, 64, 3)), ("b.mp4", (9, 64, 48, 3))):
        write_video(tmp_path / name, rng.integers(0, 255, shape, dtype=np.uint8), fps=8)
    write_video(tmp_path / "c.png", rng.integers(0, 255, (1, 40, 40, 3), dtype=np.uint8), fps=8)
    rows = [
        {"file_path": "a.mp4", "text": "a", "type": "video"},
        {"file_path": "b.mp4", "text": "b", "type": "video"},
    ]
    rows.append({"file_path": "c.png", "text": "c", "type": "image"})
    (tmp_path / "list.json").write_text(json.dumps(rows))
    cuts = ManifestCuts(tmp_path / "list.json", 0, num_frames=5)
    assert cuts.kinds == ("video", "image")
    size = CutSize(num_frames=5, side=16, strides=2)
    clips = [cuts.cut(index, "video", size) for index in range(4)]
    assert {tuple(clip.shape) for clip in clips} == {(3, 5, 16, 16)}
    assert torch.equal(clips[1], cuts.cut(1, "video", size))
    assert not torch.equal(clips[0], clips[1])
    assert cuts.cut(0, "image", size).shape == (3, 1, 16, 16)
    with pytest.raises(ValueError, match=r"b\.mp4 has 9 frames; 11 are needed"):
        ManifestCuts(tmp_path / "list.json", 0, num_frames=11)


def test_a_list_of_pictures_alone_trains_on_pictures(tmp_path):
    write_video(tmp_path / "c.png", np.full((1, 40, 40, 3), 90, dtype=np.uint8), fps=8)
    (tmp_path / "list.json").write_text(json.dumps([{"file_path": "c.png", "text": "c", "type": "image"}]))
    settings = recipe.config("tiny")
    ea_vae.save_vae(_vae("v5.1"), tmp_path / "vae")
    task = recipe.build(settings, model=tmp_path, data=tmp_path / "list.json")
    assert {tuple(task.batch(0, Place.alone(step), 2)["video"].shape) for step in range(4)} == {
        (2, 3, 1, 32, 32)
    }
    assert task.validate()["val/psnr"] > 0


def test_training_raises_the_quality_of_held_out_clips(tmp_path, trainer, settings):
    del settings
    base = recipe.config("tiny")
    ea_vae.save_vae(_vae("v5.1"), tmp_path / "vae")
    config = dataclasses.replace(
        base,
        loop=dataclasses.replace(base.loop, steps=40, ema_decay=0.0, log_every=40),
        optim=OptimConfig(lr=3e-3, warmup_steps=0, decay="constant", max_grad_norm=0.0),
        task=dataclasses.replace(base.task, disc_start=30),
    )
    task = recipe.build(config, model=tmp_path)
    before = task.validate()
    run = trainer(task, config)
    run.fit()
    after = task.validate()
    assert after["val/psnr"] > before["val/psnr"] + 2
    assert after["val/ssim_interval"] >= 0


@pytest.mark.parametrize("preset", recipe.PRESETS)
def test_every_preset_survives_json(preset):
    config = recipe.config(preset)
    plain = json.loads(json.dumps(schema.to_mapping(config)))
    assert schema.from_mapping(type(config), plain) == config


def test_the_released_presets_are_the_released_recipes():
    task = recipe.config("released-slice").task
    assert (task.num_frames, task.side, task.l1_weight, task.l2_weight) == (25, 256, 1.0, 0.0)
    assert (task.lpips_weight, task.kl_weight, task.disc_weight, task.disc_start) == (1.0, 1e-6, 0.5, 50_001)
    decoder = recipe.config("released-slice-decoder-only").task
    assert (decoder.learns, decoder.l1_weight, decoder.l2_weight) == ("decoder", 0.0, 1.0)
    assert recipe.config("released-slice").optim.betas == (0.5, 0.9)
    assert recipe.config("released-mag-v2").task.num_frames == 49
    with pytest.raises(ValueError, match="preset must be one of tiny, finetune, released-mag"):
        recipe.config("large")


def test_starts_that_do_not_fit_are_refused(tmp_path):
    ea_vae.save_vae(_vae("image"), tmp_path / "vae")
    settings = dataclasses.replace(recipe.config("tiny"), start="slice")
    with pytest.raises(ValueError, match=r"start 'slice' needs an autoencoder of V2 to V5\.1, got ImageVae"):
        recipe.build(settings, model=tmp_path)
    with pytest.raises(ValueError, match="no autoencoder there"):
        recipe.build(settings, model=tmp_path / "nowhere")


def test_a_magvit_becomes_a_slice_autoencoder_in_the_recipe(tmp_path):
    ea_vae.save_vae(_vae("v2"), tmp_path / "vae")
    settings = dataclasses.replace(recipe.config("tiny"), start="slice")
    task = recipe.build(settings, model=tmp_path)
    assert task.vae.config.temporal_mode == "neighbours"
    task.export(tmp_path / "slice", {})
    again = recipe.build(settings, model=tmp_path / "slice")
    assert again.vae.config == task.vae.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_weight": -1.0}, r"task\.kl_weight must not be negative, got -1\.0"),
        ({"l1_weight": 0.0, "lpips_weight": 0.0}, "nothing would be learned"),
        ({"image_share": 1.5}, r"task\.image_share must be from 0 to 1, got 1\.5"),
        ({"disc_start": 0}, r"task\.disc_start must be at least 1, got 0"),
        ({"side": 8, "disc_weight": 0.0}, r"task\.side must be at least 16 with LPIPS"),
        ({"side": 16}, r"task\.side must be at least 24 with discriminators"),
        ({"disc_width": 12}, r"task\.disc_width must be a multiple of 8, got 12"),
    ],
)
def test_an_objective_that_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**changes)


def test_the_command_trains_and_exports(tmp_path, capsys):
    ea_vae.save_vae(_vae("v3"), tmp_path / "model/vae")
    arguments = ["vae", "--preset", "tiny", "--device", "cpu", "--output", str(tmp_path / "run")]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == (
        "ea-train: error: --model: give the folder of an autoencoder, or of a model with one\n"
    )
    assert cli.main([*arguments, "--model", str(tmp_path / "model")]) == 0
    assert ea_vae.load_vae(tmp_path / "run/export").config.temporal_mode == "neighbours"
    assert "val/psnr_interval" in capsys.readouterr().out
    assert cli.main(["vae", "--dry-run", "--output", "x", "--preset", "released-slice"]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == "slice"


def test_the_command_knows_every_preset():
    assert set(cli.VAE_PRESETS) == set(recipe.PRESETS)
