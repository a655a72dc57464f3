"""Group norm of clips whose channels come last, against float64, where torch's kernel loses digits."""

import pytest
import torch
import torch.nn.functional as F

from ea_kernels import channels_last, norms, ops

GROUPS = 3
SHAPES = [(2, 6, 3, 20, 28), (1, 12, 1, 23, 45), (1, 12, 4, 1, 5), (2, 3, 2, 3, 5), (1, 6, 2, 512, 2)]
"""B, C, T, H, W: pieces of even and odd length, some with a rest, pictures of one row."""


@pytest.fixture(autouse=True)
def _also_small_clips(monkeypatch):
    monkeypatch.setattr(channels_last, "SMALL", 0)


def clip(shape, mean=100.0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) + mean
    return x.contiguous(memory_format=torch.channels_last_3d)


def affine(channels):
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(2, channels, generator=generator).unbind()


def exact(x, weight, bias, *, per_frame, silu):
    x, weight, bias = (None if t is None else t.double() for t in (x, weight, bias))
    sets = x.transpose(1, 2).flatten(0, 1) if per_frame else x
    normed = F.group_norm(sets, GROUPS, weight, bias, 1e-6)
    normed = normed.unflatten(0, (len(x), -1)).transpose(1, 2) if per_frame else normed
    return F.silu(normed) if silu else normed


def assert_exact(found, expected):
    # A mean of 100 times the deviation takes two of float32's seven digits.
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("with_affine", [True, False])
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("per_frame", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_values_far_from_zero_keep_their_digits(shape, per_frame, silu, with_affine):
    x = clip(shape)
    weight, bias = affine(shape[1]) if with_affine else (None, None)
    found = channels_last.group_norm_last(x, GROUPS, weight, bias, 1e-6, per_frame=per_frame, silu=silu)
    assert_exact(found, exact(x, weight, bias, per_frame=per_frame, silu=silu))
    assert found.stride() == x.stride()


@torch.no_grad()
def test_torchs_own_kernel_would_lose_them():
    x = clip((1, 6, 4, 40, 40))
    lost = F.group_norm(x, GROUPS, eps=1e-6) - exact(x, None, None, per_frame=False, silu=False)
    assert lost.abs().max() > 1e-3


@pytest.mark.parametrize("per_frame", [True, False])
@torch.no_grad()
def test_a_part_of_a_clip_is_written_to_a_part_of_another(per_frame):
    x, (weight, bias) = clip((2, 6, 7, 9, 11)), affine(6)
    target = torch.full_like(x, 7.0)
    part, out = x[:, :, 1:4], target[:, :, 3:6]
    found = ops.group_norm_silu(part, GROUPS, weight, bias, per_frame=per_frame, out=out)
    assert found.data_ptr() == out.data_ptr()
    assert_exact(out, exact(part, weight, bias, per_frame=per_frame, silu=True))
    assert target[:, :, :3].eq(7).all()
    assert target[:, :, 6:].eq(7).all()


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@torch.no_grad()
def test_any_memory_and_backend_can_write_to_a_place(backend, memory_format):
    x, (weight, bias) = clip((1, 6, 3, 5, 4), mean=0.0), affine(6)
    out = torch.empty_like(x, memory_format=memory_format)
    for laid_out in (x, x.contiguous()):
        ops.group_norm_silu(laid_out, GROUPS, weight, bias, per_frame=True, out=out, backend=backend)
        assert_exact(out, exact(x, weight, bias, per_frame=True, silu=True))


@pytest.mark.parametrize("small", [0, 1 << 40])
@pytest.mark.parametrize("gradient", [True, False])
def test_every_way_through_the_op_keeps_the_digits(gradient, small, monkeypatch):
    monkeypatch.setattr(channels_last, "SMALL", small)
    x, (weight, bias) = clip((1, 6, 3, 30, 20)), affine(6)
    with torch.set_grad_enabled(gradient):
        assert_exact(
            ops.group_norm(x, GROUPS, weight, bias), exact(x, weight, bias, per_frame=False, silu=False)
        )
        found = ops.group_norm_silu(x, GROUPS, weight, bias, per_frame=True)
    assert_exact(found, exact(x, weight, bias, per_frame=True, silu=True))


def test_gradients_of_clips_with_channels_last_are_those_of_others():
    weight, bias = (p.requires_grad_() for p in affine(6))
    x = clip((1, 6, 3, 6, 5), mean=3.0)
    found, expected = (
        torch.autograd.grad(
            ops.group_norm_silu(y, GROUPS, weight, bias, per_frame=True).pow(2).sum(), (y, weight, bias)
        )
        for y in (x.detach().requires_grad_(), x.contiguous().requires_grad_())
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_other_clips_are_left_to_torch():
    x = clip((1, 6, 3, 5, 4))
    for other in (x.contiguous(), x.double(), x.bfloat16(), x.to("meta")):
        assert not channels_last.rounds_coarsely(other)
        expected = F.group_norm(other, GROUPS)
        if other.device.type == "cpu":
            assert torch.equal(norms.group_norm(other, GROUPS, eps=1e-5), expected)
