"""Loops and remainders of kernels that small inputs do not reach: tiles are made small, programs few."""

from functools import partial

import pytest
import torch
from kernel_cases import compare, need_triton

from ea_kernels import ops

R = partial(torch.randn, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _kernels():
    need_triton("cpu")


@pytest.fixture
def few_programs(monkeypatch):
    """Sums are made by at most four programs, which then own several rows, the last one fewer."""
    from ea_kernels.triton_ops import heads, launch

    monkeypatch.setattr(launch, "PROGRAMS", 4)
    monkeypatch.setattr(heads, "BACKWARD_PROGRAMS", 2)


def fused(x, gate, update, scale, shift, weight, bias, backend):
    return ops.gated_residual_norm(x, gate, update, (scale, shift), (weight, bias), backend=backend)


@pytest.mark.parametrize("groups", [(), (2,), (14,)], ids=["sample", "frame", "token"])
@pytest.mark.usefixtures("few_programs")
def test_rows_of_a_program_in_the_backward_pass_of_norms(groups):
    x, update = R(1, 14, 11), R(1, 14, 11)
    gate, scale, shift = (R(1, *groups, 11) for _ in range(3))
    compare(fused, (x, gate, update, scale, shift, R(11), R(11)))
    compare(ops.modulated_layer_norm, (x, scale, shift))


@pytest.mark.usefixtures("few_programs")
def test_more_samples_than_programs():
    compare(ops.modulated_layer_norm, (R(6, 3, 5), R(6, 5), R(6, 5), R(5), R(5)))


@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.usefixtures("few_programs")
def test_tiles_of_a_program_in_the_backward_pass_of_heads(rms, monkeypatch):
    from ea_kernels.triton_ops import heads

    monkeypatch.setattr(heads, "TILE", 64)  # four rows of 16
    angles = R(7, 6)

    def join(text, video, w, v, *, backend):
        norms = {
            "text_norm": ops.HeadNorm(w, None, 1e-6, rms),
            "video_norm": ops.HeadNorm(v, None, 1e-6, rms),
        }
        return ops.join_heads(text, video, **norms, rope=(angles.cos(), angles.sin()), backend=backend)

    compare(join, (R(1, 3, 3, 12), R(1, 7, 3, 12), R(12), R(12)))


# Of pixels that are not there SiLU is 0 by way of an infinity, of which the interpreter's numpy warns.
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.usefixtures("few_programs")
def test_steps_of_a_chunk_of_pixels(per_frame, monkeypatch):
    from ea_kernels.triton_ops import group_norm

    monkeypatch.setattr(group_norm, "TILE", 32)  # four pixels of eight channels
    run = partial(ops.group_norm_silu, num_groups=3, per_frame=per_frame)
    x = R(1, 6, 2, 5, 7) + 100  # merged means are far from zero
    compare(lambda x, w, b, backend: run(x, weight=w, bias=b, backend=backend), (x, R(6), R(6)), share=1e-4)


def test_rows_wider_than_a_block():
    compare(ops.gated_residual, (R(1, 2, 1030), R(1, 1030), R(1, 2, 1030)))
    compare(ops.modulated_layer_norm, (R(1, 1, 1030), R(1, 1030), R(1, 1030)))
    compare(ops.geglu, (R(1, 2060),))


@pytest.mark.parametrize(("rows", "outputs"), [(150, 26), (300, 13), (13, 300), (129, 33)])
def test_bands_of_tiles_of_a_product(rows, outputs):
    operands = (*ops.quantise_rows(R(rows, 40), torch.int8), *ops.quantise_rows(R(outputs, 40), torch.int8))
    out, expected = (ops.scaled_linear(*operands, R(outputs) * 0, backend=b) for b in ("triton", "reference"))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-4)


def test_rows_that_no_program_can_hold():
    x = R(1, 1, 65537)
    for run in (ops.layer_norm, ops.quantise_rows):
        with pytest.raises(ValueError, match=r"takes rows of at most 65536 features, got 65537$"):
            run(x, backend="triton")
