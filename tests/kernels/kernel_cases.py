"""How Triton kernels are tested: every output and every gradient against the eager reference.

On a CPU in Triton's interpreter with small sizes; with `-m gpu` on a device, in bfloat16 too, at real sizes.
"""

import pytest
import torch

from ea_kernels.triton_ops.availability import why_not

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# The interpreter truncates where it stores bfloat16 and multiplies it wrongly: a device decides about that.
TYPES = [
    ("cpu", torch.float32),
    ("cpu", torch.float16),
    *(
        pytest.param("cuda", dtype, marks=pytest.mark.gpu)
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
    ),
]
# Error allowed, as a share of the largest number that is expected.
_SHARE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def need_triton(device):
    """Skip where kernels cannot run at all."""
    reason = why_not(torch.device(device))
    if reason is not None:
        pytest.skip(reason)


def strided(*shape, dtype, device, scale=1.0):
    """Random numbers whose rows are not next to each other in memory."""
    wide = torch.randn(*shape[:-1], 2 * shape[-1]) * scale
    return wide.to(device, dtype)[..., : shape[-1]]


def compare_values(function, inputs, *, backend):
    """Outputs where no gradient is wanted, and the inputs afterwards, which nobody allowed to be reused."""
    kept = [x.clone() for x in inputs]
    with torch.no_grad():
        results = [function(*inputs, backend=name) for name in (backend, "reference")]
    _same(*(r if isinstance(r, tuple) else (r,) for r in results))
    assert all(torch.equal(x, before) for x, before in zip(inputs, kept, strict=True))


def compare(function, inputs, *, share=None, backend="triton"):
    """A backend against the reference; each output weighs differently in the gradients."""
    results = []
    for name in (backend, "reference"):
        leaves = [None if x is None else _leaf(x) for x in inputs]
        outputs = function(*leaves, backend=name)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        generator = torch.Generator().manual_seed(len(outputs))
        total = 0.0
        for out in outputs:
            weight = torch.randn(out.shape, generator=generator).to(out.device, torch.float32)
            total = total + (out.float() * weight).sum()
        total.backward()
        results.append([*outputs, *(leaf.grad for leaf in leaves if leaf is not None)])
    _same(*results, share=share)


def _same(ours, reference, *, share=None):
    for index, (actual, expected) in enumerate(zip(ours, reference, strict=True)):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        if expected.numel() == 0:
            continue
        allowed = (share or _SHARE[expected.dtype]) * max(1.0, expected.float().abs().max().item())
        torch.testing.assert_close(
            actual.float(), expected.float(), atol=allowed, rtol=0, msg=lambda m, index=index: f"{index}: {m}"
        )


def _leaf(x):
    """A leaf with the same strides: clone() would make it contiguous."""
    copy = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).copy_(x)
    return copy.requires_grad_()
