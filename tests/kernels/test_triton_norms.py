"""Adaptive norms, gated residuals, per-head norms and group norms by Triton, against the reference."""

import pytest
import torch
from kernel_cases import DEVICES, TYPES, compare, need_triton, strided

from ea_kernels import ops

# One row, odd and prime sizes, a batch, a whole tile, no tokens at all.
SHAPES = [(1, 1, 2), (2, 6, 31), (1, 3, 257), (2, 5, 64), (2, 0, 8), (0, 3, 8)]
REAL = [
    pytest.param((2, 1536, 3072), marks=pytest.mark.gpu),
    pytest.param((1, 331, 3072), marks=pytest.mark.gpu),
]
HEADS = [(1, 1, 1, 2), (2, 5, 3, 24), (1, 13, 2, 64), (1, 3, 1, 72), (2, 0, 3, 16)]


def sizes(device, shapes, real=((2, 1536, 3072), (1, 331, 3072))):
    return [*shapes, *(real if device == "cuda" else ())]


def modulations(shape, groups, dtype, device, count):
    batch, _, width = shape
    sized = (batch, width) if groups is None else (batch, groups, width)
    return [strided(*sized, dtype=dtype, device=device) for _ in range(count)]


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_modulated_layer_norm(device, dtype):
    need_triton(device)
    for shape in sizes(device, SHAPES):
        if shape[-1] == 2:
            continue  # two numbers normalise to -1 and 1: no gradient worth comparing
        x = strided(*shape, dtype=dtype, device=device)
        scale, shift = modulations(shape, None, dtype, device, 2)
        weight, bias = (torch.randn(shape[-1]).to(device, dtype) for _ in range(2))
        compare(ops.modulated_layer_norm, (x, scale, shift, weight, bias))
        compare(ops.modulated_layer_norm, (x, scale, shift))


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("device", DEVICES)
def test_one_modulation_per_frame_or_token(device, groups):
    need_triton(device)
    x, update = (strided(2, 6, 31, dtype=torch.float32, device=device) for _ in range(2))
    scale, shift, gate = modulations((2, 6, 31), groups, torch.float32, device, 3)
    weight, bias = (torch.randn(31, device=device) for _ in range(2))
    compare(ops.modulated_layer_norm, (x, scale, shift, weight, bias))
    compare(ops.gated_residual, (x, gate, update))
    compare(fused, (x, gate, update, scale, shift, weight, bias))


@pytest.mark.parametrize("device", DEVICES)
def test_modulations_with_different_groups(device):
    need_triton(device)
    x, update = (strided(2, 6, 31, dtype=torch.float32, device=device) for _ in range(2))
    for groups in ((3, None, 1), (None, 3, 6)):
        scale, shift, gate = (modulations((2, 6, 31), g, torch.float32, device, 1)[0] for g in groups)
        compare(ops.modulated_layer_norm, (x, scale, shift))
        compare(fused, (x, gate, update, scale, shift, None, None))


def fused(x, gate, update, scale, shift, weight, bias, backend):
    return ops.gated_residual_norm(x, gate, update, (scale, shift), (weight, bias), backend=backend)


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_gated_residual_and_its_norm(device, dtype):
    need_triton(device)
    for shape in sizes(device, SHAPES[1:]):
        x, update = (strided(*shape, dtype=dtype, device=device) for _ in range(2))
        gate, scale, shift = modulations(shape, None, dtype, device, 3)
        weight, bias = (torch.randn(shape[-1]).to(device, dtype) for _ in range(2))
        compare(ops.gated_residual, (x, gate, update))
        compare(fused, (x, gate, update, scale, shift, weight, bias))
        compare(fused, (x, gate, update, scale, shift, None, None))


@pytest.mark.parametrize("device", DEVICES)
def test_a_float32_stream_with_updates_in_half_precision(device):
    need_triton(device)
    x = strided(2, 5, 24, dtype=torch.float32, device=device)
    update = strided(2, 5, 24, dtype=torch.float16, device=device)
    gate, scale, shift = modulations((2, 5, 24), None, torch.float16, device, 3)
    weight, bias = (torch.randn(24, device=device) for _ in range(2))
    compare(fused, (x, gate, update, scale, shift, weight, bias))


@pytest.mark.parametrize("device", DEVICES)
def test_one_modulation_for_a_whole_batch(device):
    need_triton(device)
    x = strided(3, 4, 24, dtype=torch.float32, device=device)
    compare(ops.modulated_layer_norm, (x, *modulations((1, 4, 24), None, torch.float32, device, 2)))


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_plain_norms(device, dtype):
    need_triton(device)
    for shape in sizes(device, SHAPES[1:]):
        x = strided(*shape, dtype=dtype, device=device)
        weight, bias = (torch.randn(shape[-1]).to(device, dtype) for _ in range(2))
        compare(ops.layer_norm, (x, weight, bias))
        compare(ops.rms_norm, (x, weight))


@pytest.mark.parametrize(("device", "dtype"), TYPES)
@pytest.mark.parametrize("rms", [False, True])
def test_heads_into_the_joint_buffer(device, dtype, rms):
    need_triton(device)
    for batch, tokens, heads, width in sizes(device, HEADS, [(2, 1311, 48, 64)]):
        if width == 2:
            continue
        text = strided(batch, 3, heads, width, dtype=dtype, device=device)
        video = strided(batch, tokens, heads, width, dtype=dtype, device=device)
        angles = (torch.randn(tokens, width // 2) * 10).to(device)
        affine = [torch.randn(width).to(device, dtype) for _ in range(4)]

        def join(text, video, w, b, v, c, *, backend, angles=angles):
            norms = (
                ops.HeadNorm(w, None if rms else b, 1e-6, rms),
                ops.HeadNorm(v, None if rms else c, 1e-6, rms),
            )
            rope = (angles.cos(), angles.sin())
            out = ops.join_heads(
                text, video, text_norm=norms[0], video_norm=norms[1], rope=rope, backend=backend
            )
            return (out, b + c) if rms else out

        compare(join, (text, video, *affine))


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_rotation_alone(device, dtype):
    need_triton(device)
    for shape in HEADS:
        angles = (torch.randn(shape[1], shape[-1] // 2) * 10).to(device)
        x = strided(*shape, dtype=dtype, device=device)
        compare(lambda x, backend, a=angles: ops.apply_rotary(x, a.cos(), a.sin(), backend=backend), (x,))


@pytest.mark.parametrize("device", DEVICES)
def test_values_are_joined_as_they_are(device):
    need_triton(device)
    text, video = (torch.randn(2, n, 3, 16, device=device) for n in (3, 5))
    assert torch.equal(ops.join_heads(text, video, backend="triton"), torch.cat((text, video), dim=1))


@pytest.mark.parametrize(("device", "dtype"), TYPES)
@pytest.mark.parametrize("per_frame", [False, True])
def test_group_norm_and_silu(device, dtype, per_frame):
    need_triton(device)
    real = [(1, 128, 5, 33, 31), (2, 512, 2, 16, 16)] if device == "cuda" else []
    for shape in [(2, 6, 3, 5, 7), (1, 3, 1, 1, 2), (2, 32, 1, 3, 3), *real]:
        x = (torch.randn(shape) + 3).to(device, dtype)
        weight, bias = (torch.randn(shape[1]).to(device, dtype) for _ in range(2))
        for laid_out in (x, x.contiguous(memory_format=torch.channels_last_3d)):
            compare(
                lambda x, w, b, backend, shape=shape: ops.group_norm_silu(
                    x, 32 if shape[1] % 32 == 0 else 3, w, b, per_frame=per_frame, backend=backend
                ),
                (laid_out, weight, bias),
                share=1e-4 if dtype == torch.float32 else None,
            )


@pytest.mark.parametrize("device", DEVICES)
def test_group_norm_of_numbers_far_from_zero_does_not_cancel(device):
    need_triton(device)
    x = (torch.randn(1, 4, 1, 9, 9) + 1000).to(device)
    out = ops.group_norm(x, 2, backend="triton")
    expected = ops.group_norm(x.double(), 2, backend="torch").float()
    torch.testing.assert_close(out, expected, atol=2e-3, rtol=0)
    assert out.stride(1) == 1  # channels-last
