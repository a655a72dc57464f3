"""Cutting of passes: batches, slices, tiles and their joints."""

from dataclasses import replace

import pytest
import torch

from ea_vae import ExecutionPlan, LatentGeometry
from ea_vae.execution import blend, mix_corner, run_decode, run_encode
from ea_vae.execution.tiles import TileAxis

WHOLE = ExecutionPlan()
TILES = ExecutionPlan(tile_encoder=True, tile_decoder=True, tile_pixels=32, tile_latents=4)
WIDE_TILES = replace(TILES, tile_pixels=(32, 64), tile_latents=(4, 8), tile_overlap=(0.25, 0.5))


class Pooling:
    """Stands in for an autoencoder: 8 x 8 means and their enlargement, local, so tiles are exact."""

    geometry = LatentGeometry(time=1, space=8)

    def encode_frames(self, video_BCTHW, slice_frames):
        return torch.nn.functional.avg_pool3d(video_BCTHW, (1, 8, 8))

    def decode_parts(self, latents_BKTHW, slice_latents):
        yield latents_BKTHW.repeat_interleave(8, -1).repeat_interleave(8, -2)


@pytest.mark.parametrize("size", [(32, 32), (40, 32), (40, 72), (24, 56), (88, 40)])
@pytest.mark.parametrize("plan", [TILES, WIDE_TILES])
def test_tiles_of_a_local_function_are_exact(size, plan):
    video = torch.randn(1, 3, 2, *size)
    latents = run_encode(Pooling(), video, WHOLE)
    assert torch.allclose(run_encode(Pooling(), video, plan), latents, atol=1e-6)
    pixels = run_decode(Pooling(), latents, WHOLE)
    assert torch.allclose(run_decode(Pooling(), latents, plan), pixels, atol=1e-6)


@torch.no_grad()
def test_tiles_of_the_network_keep_the_shape(vae):
    video = torch.rand(1, 3, 5, 40, 72) * 2 - 1
    plan = replace(vae.default_plan, tile_encoder=True, tile_decoder=True, tile_pixels=32, tile_latents=4)
    latents = vae.encode(video, plan=plan).mean
    assert latents.shape == (1, 4, 2, 5, 9)
    assert vae.decode(latents, plan=plan).shape == video.shape


@torch.no_grad()
def test_batches_change_nothing(vae, video):
    plan = vae.default_plan.edited(batch_size=1)
    posterior = vae.encode(video, plan=plan)
    assert torch.allclose(posterior.mean, vae.encode(video).mean, atol=1e-5)
    assert torch.allclose(vae.decode(posterior.mean, plan=plan), vae.decode(posterior.mean), atol=1e-5)


def test_tiles_can_be_differentiated(vae):
    video = torch.randn(1, 3, 1, 40, 40, requires_grad=True)
    plan = replace(vae.default_plan, tile_encoder=True, tile_decoder=True, tile_pixels=32, tile_latents=4)
    vae.decode(vae.encode(video, plan=plan).mean, plan=plan).sum().backward()
    assert video.grad.abs().sum() > 0


def test_blend_fades_rows():
    before, after = torch.zeros(1, 4, 3), torch.ones(1, 4, 3)
    mixed = blend(before, after, dim=-2, extent=2)
    assert mixed[0, :, 0].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert torch.equal(blend(before, after, dim=-1, extent=0), after)
    assert blend(before[..., :1], after, dim=-1, extent=9)[0, 0].tolist() == [0.0, 1.0, 1.0]


def test_the_corner_fades_in_from_its_upper_left_edges():
    mixed = mix_corner(torch.zeros(1, 5, 5), torch.ones(1, 3, 3))[0]
    assert mixed[2:, 2:].tolist() == [[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 1.0]]
    assert mixed[:2].sum() == 0


def test_a_grid_covers_everything():
    grid = ExecutionPlan(tile_pixels=(384, 192), tile_latents=(48, 24), tile_overlap=(0.25, 0.5)).encoder_grid
    assert grid.rows == TileAxis(extent=384, step=288, blend=12, keep=36)
    assert grid.columns == TileAxis(extent=192, step=96, blend=12, keep=12)
    assert [len(row) for row in grid.cut(torch.zeros(400, 1000))] == [11, 11]
    assert not grid.needed(torch.zeros(384, 192))
    assert grid.needed(torch.zeros(384, 200))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1 or None"),
        ({"encoder_slice_frames": 0}, "encoder_slice_frames must be at least 1 or None"),
        ({"tile_overlap": 1.0}, r"tile_overlap must be in \[0, 1\)"),
        ({"tile_overlap": (0.5, 1.0)}, r"tile_overlap must be in \[0, 1\)"),
        ({"tile_encoder": True, "tile_pixels": 1}, "tile_pixels is too small"),
        ({"tile_decoder": True, "tile_latents": (8, 1)}, "tile_latents is too small"),
    ],
)
def test_bad_plans_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ExecutionPlan(**change)


def test_plans_that_do_not_fit_the_network_are_named(vae, video):
    with pytest.raises(ValueError, match="encoder_slice_frames must be a multiple of 4, got 3"):
        vae.encode(video, plan=ExecutionPlan(encoder_slice_frames=3))
    odd = ExecutionPlan(tile_encoder=True, tile_pixels=32, tile_latents=4, tile_overlap=0.3)
    with pytest.raises(ValueError, match="leaves a tile of 4 pixels of 48"):
        vae.encode(torch.zeros(1, 3, 1, 48, 48), plan=odd)
    with pytest.raises(ValueError, match="whole_clip=False"):
        WHOLE.edited(whole_clip=False)
