"""What kernels would read beyond the end of is refused in one clear line."""

import pytest
import torch
from kernel_cases import need_triton

from ea_kernels import ops

R = torch.ones


@pytest.fixture(autouse=True)
def _kernels():
    need_triton("cpu")


@pytest.mark.parametrize(
    "others",
    [(R(1, 7, 2, 16),) * 2, (R(2, 7, 1, 16),) * 2, (R(2, 7, 2, 16), R(2, 6, 2, 16)), (R(2, 7, 2, 24),) * 2],
    ids=["samples", "heads", "values", "widths"],
)
def test_keys_and_values_of_other_shapes(others):
    with pytest.raises(ValueError, match=r"^q, k and v must be \(B, L, H, D\) and twice \(B, S, H, D\), got"):
        ops.attention(R(2, 5, 2, 16), *others, backend="triton")


@pytest.mark.parametrize("shape", [(), (1,), (7,), (9,), (1, 8)], ids=str)
def test_parameters_of_another_width(shape):
    x, p = R(2, 3, 8), R(shape)
    heads, clip = R(1, 2, 3, 8), R(1, 8, 2, 3, 3)
    calls = [
        lambda: ops.layer_norm(x, p, backend="triton"),
        lambda: ops.layer_norm(x, R(8), p, backend="triton"),
        lambda: ops.modulated_layer_norm(x, R(2, 8), R(2, 8), p, backend="triton"),
        lambda: ops.gated_residual_norm(x, R(2, 8), x, (R(2, 8), R(2, 8)), (p, None), backend="triton"),
        lambda: ops.rms_norm(x, p, backend="triton"),
        lambda: ops.norm_heads(heads, ops.HeadNorm(p, None, 1e-6), backend="triton"),
        lambda: ops.group_norm(clip, 2, p, backend="triton"),
        lambda: ops.gelu(x, p, backend="triton"),
        lambda: ops.modulated_norm_rows(x, (R(2, 8), R(2, 8)), (None, p), backend="triton"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"^(weight|bias) must have the shape \(8,\), got "):
            call()
    operands = (*ops.quantise_rows(R(3, 8)), *ops.quantise_rows(R(8, 8)))
    with pytest.raises(ValueError, match=r"^bias_O must have the shape \(8,\), got "):
        ops.scaled_linear(*operands, p, backend="triton")


@pytest.mark.parametrize("shape", [(4, 4), (6, 4), (5, 3), (5, 8), (4,)], ids=str)
def test_angles_of_other_tokens_or_widths(shape):
    rope = R(5, 4), R(shape)
    with pytest.raises(ValueError, match=r"^rope must be two tables \(5, 4\) for heads of 8, got one of "):
        ops.apply_rotary(R(1, 5, 2, 8), *rope, backend="triton")
    with pytest.raises(ValueError, match=r"^rope must be two tables \(5, 4\)"):
        ops.join_heads(R(1, 3, 2, 8), R(1, 5, 2, 8), rope=rope, backend="triton")


def test_pairs_of_an_odd_width():
    with pytest.raises(ValueError, match=r"^rope must be two tables \(5, 3\.5\) for heads of 7"):
        ops.apply_rotary(R(1, 5, 2, 7), R(5, 3), R(5, 3), backend="triton")


@pytest.mark.parametrize("text", [(2, 3, 2, 8), (1, 3, 1, 8), (1, 3, 2, 16)], ids=str)
def test_text_that_does_not_fit_the_video(text):
    with pytest.raises(ValueError, match=r"^text and video must differ in tokens only, got \("):
        ops.join_heads(R(text), R(1, 5, 2, 8), backend="triton")


@pytest.mark.parametrize("backend", ["triton", "torch", "reference"])
@pytest.mark.parametrize("shape", [(1, 3, 8), (2, 1, 8), (2, 3, 1), (2, 4, 8)], ids=str)
def test_updates_of_another_shape(shape, backend):
    x, gate, update = R(2, 3, 8), R(2, 8), R(shape)
    with pytest.raises(ValueError, match=r"^update_BLD must have the shape of x_BLD, got \(2, 3, 8\) and \("):
        ops.gated_residual(x, gate, update, backend=backend)
    with pytest.raises(ValueError, match=r"^update_BLD must have the shape of x_BLD"):
        ops.gated_residual_norm(x, gate, update, (gate, gate), backend=backend)


@pytest.mark.parametrize("backend", ["triton", "torch", "reference"])
def test_axes_that_cannot_be_divided(backend):
    with pytest.raises(ValueError, match=r"^geglu splits the last axis in halves, got \(3, 7\)$"):
        ops.geglu(R(3, 7), backend=backend)
    for groups in (0, 4):
        with pytest.raises(ValueError, match=f"^num_groups must divide the 6 channels, got {groups}$"):
            ops.group_norm(R(1, 6, 4), groups, backend=backend)
        with pytest.raises(ValueError, match=r"^num_groups must divide the 6 channels"):
            ops.group_norm_silu(R(1, 6, 4), groups, backend=backend)
