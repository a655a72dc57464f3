"""The tasks of the default recipes: batches, losses, what they export."""

import dataclasses
import math
import random
import types

import pytest
import torch

import ea_dit
import ea_vae
from ea_dit.text.bytes import ByteEncoderConfig, ByteTextEncoder, load_byte_encoder
from ea_train import latent_cache
from ea_train.latent_cache import CacheConfig, LatentCache, build_cache
from ea_train.prompts import PromptTable
from ea_train.recipes import default_dit, default_text, default_vae
from ea_train.sources import ProceduralClips
from ea_train.tasks.attributes import NUM_CLASSES, AttributesConfig, AttributesTask
from ea_train.tasks.autoencoder_latents import equalised
from ea_train.tasks.autoencoder_start import start_moving
from ea_train.tasks.base import Place
from ea_train.tasks.denoise_cached import cached_task


def _trains(task, *, step=0, least=0.5):
    """One step gives at least this share of the weights of every group gradients, from finite losses."""
    output = task.step(
        task.batch(0, Place.alone(step), 2), torch.Generator().manual_seed(0), Place.alone(step)
    )
    assert output.losses.keys() == task.trainable.keys()
    for group, names in task.trainable.items():
        assert torch.isfinite(output.losses[group])
        parameters = [p for name in names for p in task.modules[name].parameters() if p.requires_grad]
        gradients = torch.autograd.grad(
            output.losses[group], parameters, allow_unused=True, retain_graph=True
        )
        moved = sum(gradient is not None and bool(gradient.any()) for gradient in gradients)
        assert moved > least * len(parameters)
    return {name: float(loss.detach()) for name, loss in output.losses.items()}


def _same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def autoencoder():
    settings = default_vae.config("tiny")
    changes = {"disc_weight": 0.5, "disc_start": 1, "shapes": ((5, 32, 32, 1.0), (1, 32, 32, 1.0))}
    return default_vae.build(
        dataclasses.replace(settings, task=dataclasses.replace(settings.task, **changes))
    )


def test_an_autoencoder_batch_is_a_function_of_seed_and_step(autoencoder):
    batches = [autoencoder.batch(0, Place.alone(step), 2)["video"] for step in range(6)]
    assert torch.equal(batches[2], autoencoder.batch(0, Place.alone(2), 2)["video"])
    # The voxel budget: single frames come in batches five times as large.
    assert {tuple(b.shape[2:]) for b in batches} == {(5, 32, 32), (1, 32, 32)}
    assert {b.shape[0] * b.shape[2] for b in batches} <= {1, 2, 3, 5}


def test_the_discriminator_counts_from_its_step_on(autoencoder):
    before = _trains(autoencoder, step=0)["generator"]
    autoencoder.config = dataclasses.replace(autoencoder.config, disc_start=0)
    after = _trains(autoencoder, step=0)["generator"]
    assert before != after


def test_an_exported_autoencoder_has_latents_of_unit_variance(autoencoder, tmp_path):
    autoencoder.config = dataclasses.replace(autoencoder.config, scaling_clips=8)
    autoencoder.export(tmp_path, {"steps": "0"})
    vae = ea_vae.load_vae(tmp_path)
    clips = torch.stack([ProceduralClips(0).clip(i, num_frames=5, height=32, width=32) for i in range(8)])
    with torch.no_grad():
        posterior = vae.encode(clips)
        before = autoencoder.vae.decode_clip(autoencoder.vae.encode_clip(clips).mode())
        after = vae.decode(posterior.mode())
    assert vae.config.scaling_factor == 1.0
    variance = posterior.mean.var((0, 2, 3, 4)) + posterior.logvar.exp().mean((0, 2, 3, 4))
    assert torch.allclose(variance, torch.ones(16), atol=0.01), variance
    assert torch.allclose(posterior.mean.mean((0, 2, 3, 4)), torch.zeros(16), atol=0.01)
    # The shift and the scale are undone behind the latents.
    assert torch.allclose(before, after, atol=1e-4), (before - after).abs().max()


def test_latents_need_a_positive_deviation(autoencoder):
    with pytest.raises(ValueError, match="std_K must be positive"):
        equalised(autoencoder.vae, torch.zeros(16), torch.zeros(16))


def test_pictures_become_clips_without_blur(autoencoder):
    vae = autoencoder.vae
    clip = torch.stack([ProceduralClips(0).clip(3, num_frames=5, height=32, width=32)])
    with torch.no_grad():
        picture = vae.encode_clip(clip[:, :, :1]).mode()
        start_moving(vae)
        assert torch.allclose(vae.encode_clip(clip[:, :, :1]).mode(), picture, atol=1e-4)
        # Every latent frame of the clip is that of the picture it ends with.
        last = vae.encode_clip(clip[:, :, 4:]).mode()
        assert torch.allclose(vae.encode_clip(clip).mode()[:, :, 1:], last, atol=1e-4)


def test_a_decoder_is_trained_for_the_same_latents(tmp_path):
    settings = default_vae.config("tiny")
    default_vae.build(settings).export(tmp_path / "first", {})
    frozen = dataclasses.replace(settings, task=dataclasses.replace(settings.task, freeze_encoder=True))
    task = default_vae.build(frozen, init=tmp_path / "first")
    task.step(task.batch(0, Place.alone(0), 2), torch.Generator().manual_seed(0), Place.alone(0)).losses[
        "generator"
    ].backward()
    assert all(p.grad is None for p in (*task.vae.encoder.parameters(), *task.vae.quant_conv.parameters()))
    assert all(p.grad is not None for p in task.vae.decoder.parameters())
    task.export(tmp_path / "second", {})
    first, second = ea_vae.load_vae(tmp_path / "first"), ea_vae.load_vae(tmp_path / "second")
    clip = ProceduralClips(0).clip(0, num_frames=5, height=16, width=16)[None]
    assert torch.equal(first.encode(clip).mode(), second.encode(clip).mode())
    assert first.config == second.config
    with pytest.raises(ValueError, match=r"task\.freeze_encoder .* give --init"):
        default_vae.build(frozen)


def test_short_shapes_are_cut_from_whole_clips(autoencoder):
    settings = dataclasses.replace(autoencoder.config, whole_frames=9, shapes=((5, 32, 32, 1.0),))
    autoencoder.config = settings
    seen = []

    def clip(index, *, num_frames, height, width):
        seen.append(num_frames)
        return torch.arange(num_frames).view(1, -1, 1, 1).expand(3, -1, height, width).float()

    autoencoder.train_clips = types.SimpleNamespace(clip=clip)
    batches = [autoencoder.batch(0, Place.alone(step), 4)["video"][:, 0, :, 0, 0] for step in range(8)]
    assert set(seen) == {9}
    assert {int(row[0]) for batch in batches for row in batch} == set(range(5))
    assert all(torch.equal(row.diff(), torch.ones(4)) for batch in batches for row in batch)


def test_a_fresh_autoencoder_keeps_brightness():
    vae = default_vae.build(default_vae.config("tiny")).vae
    levels = torch.tensor([-0.6, 0.0, 0.6])
    video = levels.view(3, 1, 1, 1, 1).expand(3, 3, 5, 32, 32).clone()
    video[:, :, :, ::2, ::2] += 0.2  # a norm has nothing to divide by in a flat picture
    with torch.no_grad():
        output = vae.decode_clip(vae.encode_clip(video).mode())
    found = output.mean(dim=(1, 2, 3, 4))
    assert bool((found.diff() > 0.3).all()), found


@pytest.fixture
def attributes():
    return default_text.build(default_text.config("tiny"))


def test_caption_batches_state_what_the_captions_say(attributes):
    batch = attributes.batch(0, Place.alone(3), 64)
    assert _same(batch, attributes.batch(0, Place.alone(3), 64))
    limits = torch.tensor(list(NUM_CLASSES.values()))
    assert batch["classes"].shape == (64, len(NUM_CLASSES))
    assert bool(((batch["classes"] >= 0) & (batch["classes"] <= limits)).all())
    silent = (batch["ids"] == 256).all(dim=1)
    assert bool((batch["classes"][silent] == 0).all())
    assert bool((batch["classes"][~silent, 0] > 0).all())


def test_a_caption_encoder_trains_and_exports(attributes, tmp_path):
    _trains(attributes)
    figures = attributes.validate()
    assert 0.0 <= figures["val/all_attributes_right"] <= 1.0
    assert figures["val/all_attributes_right_interval"] >= 0.0
    attributes.export(tmp_path, {"steps": "0"})
    again = load_byte_encoder(tmp_path)
    ids = again.tokenize(["a red circle", "红色圆形"])
    with torch.no_grad():
        assert torch.equal(again(ids), attributes.encoder(ids))


def test_every_attribute_needs_a_token():
    encoder = ByteTextEncoder(ByteEncoderConfig(width=16, num_layers=1, num_heads=2, num_tokens=4))
    with pytest.raises(ValueError, match=r"text\.num_tokens must be at least 10"):
        AttributesTask(encoder, AttributesConfig())


@pytest.fixture(scope="module")
def denoiser_parts(tmp_path_factory):
    """A folder with an autoencoder, a text encoder, and latents of clips as soon as somebody needs them."""
    folder = tmp_path_factory.mktemp("denoiser")
    default_vae.build(default_vae.config("tiny")).export(folder / "vae", {})
    default_text.build(default_text.config("tiny")).export(folder / "text", {})
    return folder


@pytest.fixture
def denoiser(denoiser_parts, monkeypatch):
    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 8)
    cache = CacheConfig(
        clips=8, num_frames=9, height=16, width=32, batch_size=4, condition_weights=(1.0, 1.0, 1.0, 1.0, 1.0)
    )
    return default_dit.build(
        dataclasses.replace(default_dit.config("tiny"), caches=(cache,)),
        vae_directory=denoiser_parts / "vae",
        text_directory=denoiser_parts / "text",
        cache_directory=denoiser_parts / "latents",
        device=torch.device("cpu"),
    )


def test_denoiser_batches_draw_lengths(denoiser):
    batches = [denoiser.batch(0, Place.alone(step), 4) for step in range(40)]
    assert _same(batches[7], denoiser.batch(0, Place.alone(7), 4))
    shapes = {tuple(batch["latents"].shape[2:]) for batch in batches}
    assert shapes == {(3, 2, 4), (1, 2, 4)}
    assert {len(batch["latents"]) for batch in batches} == {4}  # 18 tokens against 14: not twice as many fit


def test_pictures_come_in_larger_batches(denoiser):
    denoiser.source.text_encoder.config = dataclasses.replace(
        denoiser.source.text_encoder.config, num_tokens=1
    )
    sizes = {
        batch["latents"].shape[2]: len(batch["latents"])
        for batch in (denoiser.batch(0, Place.alone(s), 4) for s in range(40))
    }
    assert sizes == {3: 4, 1: 8}  # 7 tokens a clip, 3 a picture


def test_denoiser_batches_draw_prompts_and_conditions(denoiser):
    batches = [denoiser.batch(0, Place.alone(step), 4) for step in range(40)]
    assert all(batch["condition"].shape[1] == 17 for batch in batches)
    used = torch.cat([batch["condition"].flatten(1).abs().sum(dim=1) for batch in batches])
    assert 0 < int((used > 0).sum()) < len(used)
    with torch.no_grad():
        nothing = denoiser.source.text_encoder(denoiser.source.text_encoder.tokenize([""])).half().float()
    texts = torch.cat([batch["text"] for batch in batches])
    empty = (texts - nothing).abs().amax((1, 2)) < 1e-3
    assert 0 < int(empty.sum()) < len(empty) // 4


def test_prompts_are_captions_of_the_drawn_clips(denoiser):
    source, rng = ProceduralClips(0), random.Random(0)
    table = PromptTable(denoiser.source.text_encoder, source, clips=3, wordings=2)
    encoder = denoiser.source.text_encoder
    with torch.no_grad():
        canonical = encoder(encoder.tokenize([source.caption(2, variant=0, language="zh")]))
    drawn = torch.cat([table.draw([2], rng, dropout=0.0) for _ in range(40)])
    assert drawn.shape[1:] == (encoder.config.num_tokens, encoder.config.width)
    nearest = (drawn - canonical).abs().amax((1, 2))
    assert 0 < int((nearest < 1e-2).sum()) < 40  # two languages, two wordings
    silent, empty = table.draw([1], rng, dropout=1.0), encoder.tokenize([""])
    with torch.no_grad():
        assert torch.allclose(silent, encoder(empty), atol=1e-2)


def test_latent_channels_count_by_their_weights(denoiser):
    config = dataclasses.replace(denoiser.source.config, latent_weights=(1.0,) + (0.0,) * 15)
    parts = (
        denoiser.transformer,
        denoiser.source.text_encoder,
        denoiser.source.caches,
        denoiser.source.captions,
    )
    torch.nn.init.normal_(denoiser.transformer.head.projection.bias)
    plain, first = denoiser.validate()["val/loss"], cached_task(*parts, config).validate()["val/loss"]
    alike = dataclasses.replace(config, latent_weights=(3.0,) * 16)
    assert cached_task(*parts, alike).validate()["val/loss"] == pytest.approx(plain)
    assert first != pytest.approx(plain, rel=1e-3)
    with pytest.raises(ValueError, match=r"task\.latent_weights must be 16 numbers, got 2"):
        cached_task(*parts, dataclasses.replace(config, latent_weights=(1.0, 2.0)))
    for wrong in ((-1.0,) * 16, (0.0,) * 16):
        with pytest.raises(ValueError, match=r"task\.latent_weights must be numbers from 0"):
            dataclasses.replace(config, latent_weights=wrong)
    with pytest.raises(ValueError, match=r"task\.wordings must be at least 1"):
        dataclasses.replace(config, wordings=0)


def test_emphasised_words_are_drawn_more_often(denoiser):
    parts = (
        denoiser.transformer,
        denoiser.source.text_encoder,
        denoiser.source.caches,
        denoiser.source.captions,
    )
    clips = range(len(denoiser.source.caches[0]) - denoiser.source.config.validation_clips)
    words = {clip: denoiser.source.captions.caption(clip, variant=0, language="en").split() for clip in clips}
    word = next(word for word in words[0] if sum(word in text for text in words.values()) < len(clips))
    config = dataclasses.replace(
        denoiser.source.config, emphasis=((word.upper(), 50.0),), latent_lengths=((0, 1.0),)
    )
    drawn = []
    task = cached_task(*parts, config)
    task.source._gather = lambda cache, rows, rng, length: drawn.extend(rows)
    for step in range(20):
        task.batch(0, Place.alone(step), 8)
    assert set(drawn) <= set(clips)
    assert sum(word in words[row] for row in drawn) > 0.9 * len(drawn)
    with pytest.raises(ValueError, match=r"task\.emphasis: no caption has 'hedgehog'"):
        cached_task(*parts, dataclasses.replace(config, emphasis=(("hedgehog", 2.0),)))
    for wrong in (("star", 0.0), ("star", math.inf), (" ", 2.0), ("star",)):
        with pytest.raises(ValueError, match=r"task\.emphasis must list \(word, times above 0\)"):
            dataclasses.replace(config, emphasis=(wrong,))


def test_a_single_frame_is_never_given_as_its_own_condition(denoiser):
    kinds = denoiser.source.caches[0].kind_of
    kinds[kinds == 4] = 0  # a box leaves something to make even in a single frame
    used = {1: 0.0, 3: 0.0}
    for step in range(60):
        batch = denoiser.batch(0, Place.alone(step), 4)
        used[batch["latents"].shape[2]] += float(batch["condition"].abs().sum())
    assert used[1] == 0.0
    assert used[3] > 0.0


def test_a_denoiser_trains_and_exports(denoiser, tmp_path):
    _trains(denoiser, least=0.0)  # a fresh transformer ends in zeros, so little moves in the first step
    assert all(not p.requires_grad for p in denoiser.source.text_encoder.parameters())
    assert denoiser.validate() == denoiser.validate()
    assert {"clips", "text encoder", "autoencoder of cache 0"} == denoiser.inputs.keys()
    denoiser.export(tmp_path / "export", {"steps": "0"})
    again = ea_dit.load_transformer(tmp_path / "export")
    state = denoiser.transformer.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_validation_clips_must_leave_some_to_train_on(denoiser):
    with pytest.raises(ValueError, match=r"task\.validation_clips is 8, but cache 0 holds only 8 clips"):
        cached_task(
            denoiser.transformer,
            denoiser.source.text_encoder,
            denoiser.source.caches,
            denoiser.source.captions,
            dataclasses.replace(denoiser.source.config, validation_clips=8),
        )


def test_a_cache_of_other_latents_is_told_apart(denoiser, tmp_path):
    other = default_vae.build(dataclasses.replace(default_vae.config("tiny"), data_seed=5)).vae
    with torch.no_grad():
        other.quant_conv.weight.add_(0.1)
    config = CacheConfig(clips=8, num_frames=9, height=16, width=32)
    build_cache(other, ProceduralClips(0), tmp_path / "other", config)
    assert LatentCache(tmp_path / "other").autoencoder != denoiser.inputs["autoencoder of cache 0"]
