"""Frames of the past, a slice, and what is kept of them: equal to the bit, whatever lies where in memory."""

import pytest
import torch
from kernel_cases import DEVICES, TYPES, compare, need_triton

from ea_kernels import ops

# B, C, past frames, frames, H, W: single numbers, odd sizes, more numbers than a block, one channel.
SHAPES = [
    (1, 1, 1, 1, 1, 1),
    (2, 2, 2, 3, 5, 7),
    (1, 3, 1, 1, 23, 91),
    (2, 1, 1, 1, 4, 4),
    (1, 8, 2, 1, 3, 1),
]
FORMATS = [torch.contiguous_format, torch.channels_last_3d]


def clips(shape, dtype, device, memory):
    batch, channels, before, frames, *sides = shape
    return [
        torch.randn(batch, channels, count, *sides).to(device, dtype).contiguous(memory_format=memory)
        for count in (before, frames)
    ]


def same(past, x, keep):
    actual, expected = (ops.join_frames(past, x, keep=keep, backend=name) for name in ("triton", "reference"))
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(ours, theirs)
    assert actual[1].untyped_storage().nbytes() == actual[1].nbytes
    return actual


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_it_is_the_same_to_the_bit(device, dtype, memory):
    need_triton(device)
    for shape in [*SHAPES, *([(1, 256, 2, 4, 65, 63)] if device == "cuda" else [])]:
        past, x = clips(shape, dtype, device, memory)
        for keep in (1, shape[2] + shape[3]):
            joined, tail = same(past, x, keep)
            if shape[1] > 1 and memory == torch.channels_last_3d and shape[4] * shape[5] > 1:
                assert joined.is_contiguous(memory_format=memory)
                assert tail.is_contiguous(memory_format=memory)


@pytest.mark.parametrize("memory", FORMATS)
@pytest.mark.parametrize("device", DEVICES)
def test_parts_of_clips_and_frames_that_are_repeated(device, memory):
    need_triton(device)
    past, x = clips((1, 4, 3, 4, 4, 6), torch.float32, device, memory)
    same(past[:, :, 1:], x[:, :, 2:4], 2)  # some frames
    same(x[:, :, :1].expand(-1, -1, 2, -1, -1), x, 2)  # the first frame as its own past
    same(past[:, ::2], x[:, 1::2], 1)  # every other channel
    same(past[..., 1:], x[..., :-1], 2)  # cropped
    same(past.transpose(3, 4), x.transpose(3, 4), 2)
    other = FORMATS[memory == FORMATS[0]]
    same(past.contiguous(memory_format=other), x, 2)  # two formats


@pytest.mark.parametrize("device", DEVICES)
def test_gradients(device):
    need_triton(device)
    past, x = clips((1, 2, 2, 2, 3, 5), torch.float32, device, torch.contiguous_format)
    for keep in (0, 3):
        compare(lambda p, x, backend, keep=keep: ops.join_frames(p, x, keep=keep, backend=backend), (past, x))


def autoencoder(device):
    from ea_vae import MagvitConfig
    from ea_vae.families.magvit.model import MagvitVae

    sizes = {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4}
    return MagvitVae(MagvitConfig(**sizes, latent_channels=4, use_tiling=False)).to(device).eval()


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_an_autoencoder_decodes_the_same_with_kernels(device, monkeypatch):
    need_triton(device)
    vae, latents = autoencoder(device), torch.randn(1, 4, 3, 1, 1, device=device)
    monkeypatch.setenv("EA_KERNELS", "torch")
    with torch.no_grad():
        expected = vae.decode(latents)
        monkeypatch.setenv("EA_KERNELS", "triton")
        out = vae.decode(latents)
    # Convolutions on a GPU round to 10 bits.
    torch.testing.assert_close(out, expected, atol=1e-4 if device == "cpu" else 1e-2, rtol=0)


def test_what_does_not_fit_is_one_clear_line():
    x = torch.randn(1, 2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"^past_BCPHW must be like x_BCTHW but for frames, got \(1, 2"):
        ops.join_frames(x[..., :4], x, keep=1)
    with pytest.raises(ValueError, match="float64"):
        ops.join_frames(x.double(), x, keep=1)
    with pytest.raises(ValueError, match=r"^keep must be 0 to 6, got 7"):
        ops.join_frames(x, x, keep=7)
