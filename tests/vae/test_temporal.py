"""How V2, V3 and V4 go through a clip, and what is done about its joints."""

import pytest
import torch

from ea_vae import ExecutionPlan, latents_to_frames
from ea_vae.families.magvit.presets import PRESETS
from ea_vae.layers import streaming
from ea_vae.layers.attention import ClipAttention
from ea_vae.layers.streaming import cut_frames

ROUNDING = 2e-5
OLD = ["v2", "v3", "v4", "v4-frame-norm"]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def clip(num_frames, height=8, width=8):
    return torch.rand(1, 3, num_frames, height, width, generator=torch.Generator().manual_seed(2)) * 2 - 1


def latents_of(count, seed=3):
    return torch.randn(1, 4, count, 2, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("num_frames", [1, 12, 17])
def test_any_length_comes_back_after_padding(generation, name, num_frames):
    vae, video = generation(name), clip(num_frames)
    latents = vae.encode(vae.geometry.pad_frames(video)).mode()
    assert latents.shape == vae.geometry.latent_shape(
        batch=1, channels=4, num_frames=num_frames, height=8, width=8
    )
    assert vae.decode(latents, num_frames=num_frames).shape == video.shape


@pytest.mark.parametrize(
    ("name", "num_frames", "num_latents", "decoded"),
    [("v2", 21, 7, 19), ("v2", 12, 4, 10), ("v3", 12, 3, 9), ("v3", 4, 1, 1), ("v4", 17, 5, 20)],
)
def test_lengths_that_do_not_survive_are_those_of_the_original(
    generation, name, num_frames, num_latents, decoded
):
    """V2 and V3 shrink some clips, V4 lengthens odd ones. The same input gives the same output; the geometry
    says that these lengths are not whole, so that callers pad before."""
    vae = generation(name)
    latents = vae.encode(clip(num_frames)).mode()
    assert latents.shape[2] == num_latents
    assert vae.decode(latents).shape[2] == decoded == vae.geometry.pixel_frames(num_latents)
    assert not vae.geometry.is_whole(num_frames)
    with pytest.raises(ValueError, match=f"num_frames must be from 1 to {decoded}, got 40"):
        vae.decode(latents, num_frames=40)


@pytest.mark.parametrize("name", ["v4", "v5.1"])
def test_past_and_slice_may_be_joined_by_a_kernel(generation, name, monkeypatch):
    """On a GPU, that is; here its place is taken by the reference, and norms round as they do elsewhere."""
    vae, video = generation(name), clip(9)
    joined = []
    expected = (latents := vae.encode(video).mode()), vae.decode(latents)
    monkeypatch.setattr(streaming, "joins_in_one_pass", lambda x: joined.append(x.shape) or True)
    for ours, theirs in zip((vae.encode(video).mode(), vae.decode(latents)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=ROUNDING, rtol=0)
    assert joined


@pytest.mark.parametrize("name", OLD)
def test_slices_are_part_of_the_function(generation, name):
    """The passes for training cut as the config says; with tiles they would blend, so they make none."""
    vae = generation(name, use_tiling=True, tile_sample_min_size=16)
    untiled = vae.default_plan.edited(tiling=False)
    video = clip(18 if name == "v2" else 24, height=20)
    latents = vae.encode_clip(video).mean
    assert torch.equal(latents, vae.encode(video, plan=untiled).mean)
    assert torch.equal(vae.decode_clip(latents), vae.decode(latents, plan=untiled))
    assert not torch.allclose(latents, vae.encode(video).mean, atol=1e-3)


@pytest.mark.parametrize("name", ["v2", "v3", "v4"])
def test_every_parameter_learns_through_the_slices(generation, name):
    with torch.enable_grad():
        vae = generation(name)
        video = clip(18 if name == "v2" else 16)
        reconstruction, posterior = vae(video, torch.Generator().manual_seed(0))
        ((reconstruction - video).abs().mean() + 1e-6 * posterior.kl().mean()).backward()
    dead = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # What is the same for every key moves no attention weight.
    assert [name for name in dead if not name.endswith("key.bias")] == []


def test_a_slice_of_v2_is_a_clip_of_its_own(generation):
    vae, video = generation("v2"), clip(18)
    parts = [vae.encode(part).mean for part in video.split(9, dim=2)]
    assert torch.equal(vae.encode(video).mean, torch.cat(parts, dim=2))


@pytest.mark.parametrize(("changed", "near"), [(0, range(16)), (5, range(8, 24))])
def test_a_slice_of_v3_sees_its_neighbours_only(generation, changed, near):
    vae, latents = generation("v3"), latents_of(6)
    other = latents.clone()
    other[:, :, changed] = 0.0
    before, after = vae.decode(latents), vae.decode(other)
    differs = [not torch.equal(before[:, :, frame], after[:, :, frame]) for frame in range(24)]
    assert differs == [frame in near for frame in range(24)]


def test_the_lone_first_latent_of_v3_is_seen_by_nothing_else(generation):
    vae, latents = generation("v3"), latents_of(5)
    other = latents.clone()
    other[:, :, 0] = 0.0
    assert torch.equal(vae.decode(latents)[:, :, 1:], vae.decode(other)[:, :, 1:])


@pytest.mark.parametrize("length", [1, 3, None])
def test_the_decoder_of_v4_does_not_depend_on_slices_when_norms_look_at_frames(generation, length):
    vae, latents = generation("v4-frame-norm"), latents_of(6)
    plan = ExecutionPlan(decoder_slice_latents=length)
    assert torch.allclose(vae.decode(latents, plan=plan), vae.decode(latents), atol=ROUNDING)


def test_the_cache_can_be_switched_off_after_a_cached_decode(generation):
    """The original crashes when the same object decodes without its cache after it has decoded with it."""
    vae, latents = generation("v5"), latents_of(3)
    cached = vae.decode(latents)
    whole = vae.decode(latents, plan=vae.default_plan.edited(whole_clip=True))
    assert torch.allclose(cached, whole, atol=ROUNDING)


def test_the_whole_clip_may_have_any_length(generation):
    vae = generation("v2", temporal_mode="whole")
    assert vae.encode(clip(12)).mean.shape[2] == 3
    sliced = ExecutionPlan(encoder_slice_frames=4, decoder_slice_latents=1)
    assert vae.encode(clip(12), plan=sliced).mean.shape[2] == 4


@pytest.mark.parametrize(("name", "frames"), [("v3", 6), ("v4", 2), ("v5", 3)])
def test_slices_that_do_not_fit_the_network_are_named(generation, name, frames):
    vae = generation(name)
    with pytest.raises(ValueError, match=f"encoder_slice_frames must be a multiple of 4, got {frames}"):
        vae.encode(clip(8), plan=ExecutionPlan(encoder_slice_frames=frames))


@pytest.mark.parametrize(("name", "count", "slice_frames"), [("v2", 6, 9), ("v3", 6, 8)])
def test_joints_are_smoothed_by_a_second_pass_with_shifted_slices(generation, name, count, slice_frames):
    vae, latents = generation(name), latents_of(count)
    factor = vae.config.scaling_factor
    plain = (vae.decode(latents).clamp(-1, 1) + 1) / 2
    smoothed = latents_to_frames(vae, latents * factor)
    start, end = slice_frames // 2, slice_frames // 2 - slice_frames
    assert torch.allclose(smoothed[:, :, :start], plain[:, :, :start], atol=ROUNDING)
    assert torch.allclose(smoothed[:, :, end:], plain[:, :, end:], atol=ROUNDING)
    assert not torch.allclose(smoothed, plain, atol=1e-3)
    assert torch.equal(latents_to_frames(vae, latents * factor, num_frames=5), smoothed[:, :, :5])
    with pytest.raises(ValueError, match="num_frames must be from 1 to"):
        latents_to_frames(vae, latents, num_frames=99)


@pytest.mark.parametrize(("name", "count"), [("v2", 3), ("v3", 2), ("v4", 6)])
def test_one_slice_and_cached_decoders_need_no_smoothing(generation, name, count):
    vae, latents = generation(name), latents_of(count)
    plain = (vae.decode(latents).clamp(-1, 1) + 1) / 2
    assert torch.allclose(latents_to_frames(vae, latents * vae.config.scaling_factor), plain, atol=ROUNDING)


def test_smoothing_pads_what_would_shrink(generation):
    vae = generation("v2", temporal_mode="whole")
    assert latents_to_frames(vae, latents_of(4)).shape[2] == 13


@pytest.mark.parametrize(
    ("over", "alone"), [("3d", (2, 2, 2)), ("spatial", (1, 2, 2)), ("temporal", (2, 1, 1))]
)
def test_attention_looks_where_it_says(over, alone):
    torch.manual_seed(0)
    attention = ClipAttention(4, over=over, num_heads=2, num_groups=2)
    x_BCTHW = torch.randn(1, 4, 2, 2, 2)
    frames, rows, columns = alone
    part = attention(x_BCTHW[:, :, :frames, :rows, :columns])
    assert torch.allclose(attention(x_BCTHW)[:, :, :frames, :rows, :columns], part, atol=1e-6)


def test_two_attentions_in_a_row_are_numbered_in_the_released_layout(generation):
    vae = generation("v4", mid_attention="spatial_temporal")
    name = "encoder.mid.attentions.0.1.query.weight"
    assert name in vae.state_dict()
    from ea_vae.families.magvit.keymap import KEY_MAP

    assert KEY_MAP.to_released(name) == "encoder.mid_block.attentions.0.1.to_q.weight"
    assert vae.encode(clip(8)).mean.shape == (1, 4, 2, 2, 2)


def test_presets_of_the_old_generations_differ_in_their_way_through_time():
    assert [PRESETS[name].temporal_mode for name in ("v2", "v3", "v4", "v5")] == [
        "slices",
        "neighbours",
        "cached-decoder",
        "cached",
    ]


@pytest.mark.parametrize(
    ("length", "first", "expected"),
    [
        (4, None, [4, 4, 1]),
        (4, 1, [1, 4, 4]),
        (None, None, [9]),
        (None, 1, [1, 8]),
        (20, None, [9]),
        (2, 20, [9]),
    ],
)
def test_cutting_frames(length, first, expected):
    parts = cut_frames(torch.arange(9).view(1, 1, 9, 1, 1), length, first=first)
    assert [part.shape[2] for part in parts] == expected
    assert torch.cat(parts, dim=2).flatten().tolist() == list(range(9))
