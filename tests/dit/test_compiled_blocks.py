"""Blocks compiled one by one: no graph breaks, and sizes do not make the compiler start again and again."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, tiny_transformer
from torch._dynamo.testing import CompileCounter

from ea_dit import Conditioning
from ea_kernels.linear import choose_linear
from ea_kernels.runtime.eight_bits import to_eight_bits

SIZES = [(3, 4, 6), (1, 4, 4), (5, 6, 10)]
"""Frames, height and width of buckets."""
KINDS = 2
"""Blocks are compiled alike but the last one, after which nothing reads the text."""


@pytest.fixture(autouse=True)
def _forget():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def inputs(frames, height, width, batch=2):
    return {
        "hidden_BCTHW": torch.randn(batch, 4, frames, height, width),
        "text_BME": torch.randn(batch, 5, 12),
        "conditioning": Conditioning(inpaint_latents=torch.randn(batch, 5, frames, height, width)),
    }


def compiled(model, counter):
    for block in model.blocks:
        block.compile(backend=counter, fullgraph=True)


# torch looks for gradients of what a block is given while it traces.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("learning", [False, True], ids=["inference", "training"])
def test_blocks_compile_whole_and_not_again_for_every_bucket(learning):
    model, counter = tiny_transformer(replace(TINY, mmdit_layers=3)), CompileCounter()
    step, given = torch.tensor([500.0, 20.0]), [inputs(*size) for size in SIZES]
    with torch.set_grad_enabled(learning):
        expected = [model(timestep_B=step, **sizes) for sizes in given]
        compiled(model, counter)
        counts = []
        for sizes, eager in zip(given, expected, strict=True):
            torch.testing.assert_close(model(timestep_B=step, **sizes), eager, atol=1e-5, rtol=1e-5)
            counts.append(counter.frame_count)
    assert counts == [KINDS, 2 * KINDS, 2 * KINDS]  # for one size, then for any


def test_conditions_of_all_steps_at_once_do_not_compile_every_step_anew():
    # More blocks than the compiler makes variants of one function before it gives up.
    model = tiny_transformer(replace(TINY, num_layers=10, mmdit_layers=10))
    counter, given = CompileCounter(), inputs(3, 4, 6)
    with torch.no_grad():
        steps = model.conditions(torch.tensor([900.0, 500.0, 100.0]))
        expected = [model(timestep_B=step, **given) for step in steps]
        compiled(model, counter)
        counts = []
        for step, eager in zip(steps, expected, strict=True):
            torch.testing.assert_close(model(timestep_B=step, **given), eager, atol=1e-5, rtol=1e-5)
            counts.append(counter.frame_count)
    assert counts == [KINDS] * 3


@pytest.mark.parametrize("buckets", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_blocks_that_multiply_in_eight_bits_compile_whole(buckets, monkeypatch):
    monkeypatch.setattr("ea_kernels.linear.multiplies_int8", lambda _: True)
    model, counter = tiny_transformer(replace(TINY, num_layers=2, mmdit_layers=2)), CompileCounter()
    to_eight_bits(model, choose_linear(torch.device("cpu"), "int8").arithmetic)
    step, given, counts = torch.tensor([500.0, 20.0]), [inputs(*size) for size in SIZES[:buckets]], []
    with torch.no_grad():
        expected = [model(timestep_B=step, **sizes) for sizes in given]
        compiled(model, counter)
        for sizes, eager in zip(given, expected, strict=True):
            torch.testing.assert_close(model(timestep_B=step, **sizes), eager)
            counts.append(counter.frame_count)
    assert counts == [KINDS, 2 * KINDS, 2 * KINDS][:buckets]
