"""The pipeline on tiny random parts: modes, reproducibility, progress, lengths, refusals."""

from dataclasses import replace

import pytest
import torch
from given import request_of
from tiny import TINY, randomise, tiny_transformer

from ea_dit import save_transformer
from ea_dit.diffusion import FlowMatching
from ea_dit.pipelines import (
    Cancelled,
    Components,
    GenerationPipeline,
    load_pipeline,
    seeded_noise,
)
from ea_dit.pipelines.channels import inpaint_channels, inpaint_condition, mask_video, resize_to_latents
from ea_dit.text.bytes import ByteEncoderConfig, ByteTextEncoder, save_byte_encoder
from ea_vae import MagvitConfig, MagvitVae, save_vae

VAE = MagvitConfig(
    block_out_channels=(4, 4, 8, 8),
    layers_per_block=1,
    norm_num_groups=2,
    latent_channels=4,
    scaling_factor=0.5,
)
BYTES = ByteEncoderConfig(max_bytes=64, width=12, num_layers=1, num_heads=2, num_tokens=3)


def make_components(**changes):
    torch.manual_seed(3)
    return Components(
        transformer=tiny_transformer(replace(TINY, **changes)).eval(),
        vae=randomise(MagvitVae(VAE)).eval(),
        text_encoder=randomise(ByteTextEncoder(BYTES)).eval(),
    )


@pytest.fixture(scope="module")
def pipeline():
    return GenerationPipeline(make_components())


def make(**changes):
    options = {"prompt": "a red circle", "height": 32, "width": 48, "num_frames": 5, "num_steps": 2}
    return request_of(options | changes)


VIDEO = torch.rand(3, 5, 32, 48, generator=torch.Generator().manual_seed(0))
MODES = {
    "text_to_video": {},
    "text_to_image": {"num_frames": 1},
    "first": {"image": VIDEO[:, 0]},
    "last": {"last_image": VIDEO[:, -1]},
    "both": {"image": VIDEO[:, :2], "last_image": VIDEO[:, -1]},
    "video_to_video": {"video": VIDEO, "strength": 0.6},
    "masked_video": {"video": VIDEO, "mask": (VIDEO[0] > 0.5)},
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_gives_frames_and_the_same_ones_again(pipeline, name):
    request = make(**MODES[name])
    result = pipeline(request)
    assert result.frames.shape == (1, 3, request.num_frames, 32, 48)
    assert result.frames.dtype == torch.float32
    assert 0 <= result.frames.min() <= result.frames.max() <= 1
    assert result.frames_uint8().shape == (1, request.num_frames, 32, 48, 3)
    assert torch.equal(pipeline(request).frames, result.frames)
    other = replace(request, seed=1)
    assert not torch.equal(pipeline(other).frames, result.frames)


@pytest.mark.parametrize("frames", [2, 3, 4, 6])
def test_lengths_in_between_are_cropped(pipeline, frames):
    assert pipeline(make(num_frames=frames, num_steps=1)).frames.shape[2] == frames
    pictures = {"image": VIDEO[:, 0]} if frames < 3 else {"image": VIDEO[:, 0], "last_image": VIDEO[:, 1]}
    assert pipeline(make(num_frames=frames, num_steps=1, **pictures)).frames.shape[2] == frames


def test_uint8_and_float_pixels_are_the_same_job(pipeline):
    bytes_video = (VIDEO * 255).round().to(torch.uint8)
    mask = VIDEO[0] > 0.5
    one = pipeline(make(video=bytes_video, mask=mask.to(torch.uint8) * 255))
    two = pipeline(make(video=bytes_video.float() / 255, mask=mask.float()))
    assert torch.equal(one.frames, two.frames)


def test_the_prompt_and_the_negative_prompt_matter(pipeline):
    base = pipeline(make()).frames
    assert not torch.equal(base, pipeline(make(prompt="ein blauer Kreis")).frames)
    assert not torch.equal(base, pipeline(make(negative_prompt="blurred")).frames)
    unguided = pipeline(make(guidance_scale=1.0)).frames
    assert torch.equal(unguided, pipeline(make(guidance_scale=1.0, negative_prompt="blurred")).frames)


def test_progress_and_timings(pipeline):
    calls = []
    result = pipeline(make(), on_progress=lambda *call: calls.append(call))
    assert calls == [
        ("text", 0, 1),
        ("text", 1, 1),
        ("conditions", 0, 1),
        ("conditions", 1, 1),
        ("denoise", 0, 2),
        ("denoise", 1, 2),
        ("denoise", 2, 2),
        ("decode", 0, 1),
        ("decode", 1, 1),
    ]
    assert set(result.timings) == {"text", "conditions", "denoise", "decode", "total"}


def test_a_run_can_be_stopped(pipeline):
    steps = []
    with pytest.raises(Cancelled):
        pipeline(
            make(num_steps=5),
            on_progress=lambda stage, step, total: steps.append(step),
            should_stop=lambda: len(steps) > 6,
        )


def test_the_initial_noise_is_the_first_draw(pipeline):
    expected = seeded_noise(5)((1, 4, 2, 4, 6))
    seen = []
    pipeline(make(seed=5, image=VIDEO[:, 0]), on_latents=lambda step, latents: seen.append(latents))
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 40}, "height must be a multiple of 16 for this model, got 40; 32 and 48 are nearest"),
        ({"prompt": "x" * 65}, "prompt is 65 bytes"),
        ({"reference": torch.rand(3, 8, 8)}, "reference cannot be used: this model supports"),
    ],
)
def test_wrong_requests_are_refused(pipeline, change, message):
    with pytest.raises(ValueError, match=message):
        pipeline(make(**change))


def test_a_text_model_takes_no_pictures_but_redoes_videos():
    pipeline = GenerationPipeline(make_components(in_channels=4))
    assert pipeline.supports == {"text_to_image", "text_to_video", "video_to_video"}
    assert pipeline(make(**MODES["video_to_video"])).frames.shape[2] == 5
    with pytest.raises(ValueError, match="image cannot be used"):
        pipeline(make(**MODES["first"]))


def test_control_models_refuse_the_other_kind_of_signal():
    camera = GenerationPipeline(make_components(in_channels=4 + 6))
    rays = torch.randn(6, 5, 32, 48)
    assert camera(make(camera=rays)).frames.shape[2] == 5
    with pytest.raises(ValueError, match="takes a camera path instead"):
        camera(make(control=VIDEO))
    with pytest.raises(ValueError, match="takes no reference image"):
        camera(make(camera=rays, reference=VIDEO[:, 0]))
    control = GenerationPipeline(make_components(in_channels=4 + 8))
    assert control(make(control=VIDEO, reference=VIDEO[:, 0])).frames.shape[2] == 5
    with pytest.raises(ValueError, match="takes a control video instead"):
        control(make(camera=rays))


def test_a_saved_model_directory_gives_the_same_frames(tmp_path, pipeline):
    parts = pipeline.components
    save_transformer(parts.transformer, tmp_path / "transformer")
    save_vae(parts.vae, tmp_path / "vae")
    save_byte_encoder(parts.text_encoder, tmp_path / "text_encoder")
    loaded = load_pipeline(tmp_path, device="cpu")
    assert loaded.components.process == FlowMatching()
    assert torch.equal(loaded(make()).frames, pipeline(make()).frames)
    with pytest.raises(ValueError, match=r"vae/config\.json is missing"):
        load_pipeline(tmp_path / "transformer")
    save_vae(MagvitVae(replace(VAE, latent_channels=8)), tmp_path / "vae")
    with pytest.raises(ValueError, match=r"latent channels of the transformer must be .*, got 4 and 8"):
        load_pipeline(tmp_path, device="cpu")


def test_masking_pixels():
    video, generate = torch.rand(2, 3, 5, 4, 4), torch.rand(2, 1, 5, 4, 4) > 0.5
    video[0, :, 0] = 0.0
    noise = torch.ones_like(video)
    masked = mask_video(video, generate, noise_BCTHW=noise, noise_strength=torch.tensor([0.1, 0.2]))
    where = generate.expand_as(video)
    assert bool((masked[where] == -1).all())
    assert bool((masked[0, :, 0] == -1).all()), "black pixels get no noise"
    kept = ~where
    kept[0, :, 0] = False
    strength = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(masked[kept], (video * 2 - 1 + strength)[kept])
    assert torch.equal(mask_video(video, ~generate & generate), video * 2 - 1)


def test_a_batch_of_conditions_is_the_conditions_of_its_samples():
    vae = randomise(MagvitVae(VAE)).eval()
    torch.manual_seed(0)
    video, noise = torch.rand(3, 3, 5, 16, 24), torch.randn(3, 3, 5, 16, 24)
    generate = torch.ones(3, 1, 5, 16, 24, dtype=torch.bool)
    generate[0, :, 0] = False
    generate[1, :, :, :8] = False
    with torch.no_grad():
        batch = inpaint_condition(vae, video, generate, noise_BCTHW=noise, noise_strength=0.1)
        for i in range(3):
            alone = inpaint_condition(
                vae, video[i : i + 1], generate[i : i + 1], noise_BCTHW=noise[i : i + 1], noise_strength=0.1
            )
            torch.testing.assert_close(batch[i : i + 1], alone, atol=1e-5, rtol=1e-5)
    assert batch.shape == (3, 5, 2, 2, 3)
    assert bool((batch[2] == 0).all()), "everything generated: no condition"
    assert bool((batch[0, 0, 0] == 0.5).all()), "kept frame: scaling factor"
    assert bool((batch[0, 0, 1] == 0).all())


def test_a_kept_last_frame_does_not_show_in_the_mask():
    generate = torch.ones(1, 1, 9, 16, 16, dtype=torch.bool)
    generate[:, :, -1] = False
    kept = resize_to_latents(~generate, (3, 2, 2))
    assert bool((kept == 0).all())
    channels = inpaint_channels(generate, torch.ones(1, 4, 3, 2, 2), 0.5)
    assert bool((channels[:, 0] == 0).all())
    assert bool((channels[:, 1:] == 1).all())
