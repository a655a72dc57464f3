"""flash-attn 3 and 2: chosen or named where they are installed. Stubs stand for the packages."""

import sys

import pytest
import torch

from ea_kernels.attention import AttentionShape, choose, describe, select
from ea_kernels.attention.flash import MODULES, flash2, flash3
from ea_kernels.ops import attention

HOPPER = AttentionShape("cuda", (9, 0), torch.bfloat16, 64)
STUB = """
import torch
from ea_kernels.reference.attention import attention

calls = []

def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
    calls.append(q.shape)
    assert not causal and dropout_p == 0.0
    out = attention(q, k, v, scale=softmax_scale)
    return {returned}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a stub where Python finds it, under the name of a package."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("EA_ATTENTION", raising=False)

    def put(name, returned="out"):
        (tmp_path / f"{MODULES[name]}.py").write_text(STUB.format(returned=returned))
        select._choose.cache_clear()

    select._choose.cache_clear()
    yield put
    select._choose.cache_clear()
    for module in MODULES.values():
        sys.modules.pop(module, None)


def test_without_the_packages_torch_is_chosen_and_says_why(install):
    if any(select.installed(name) for name in MODULES):
        pytest.skip("a real package is installed")
    assert choose(HOPPER).name == "torch"
    assert choose(HOPPER).reason.endswith("flash3: flash_attn_interface is not installed")
    with pytest.raises(ValueError, match="'flash2' is not available: flash_attn is not installed"):
        choose(HOPPER, "flash2")


def test_version_3_is_chosen_where_it_can_compute(install):
    install("flash3")
    assert choose(HOPPER).name == "flash3"
    assert choose(HOPPER).reason == "flash-attn 3 is installed and takes these shapes"
    for other in (
        AttentionShape("cuda", (8, 0), torch.bfloat16, 64),
        AttentionShape("cuda", (10, 0), torch.bfloat16, 64),
        AttentionShape("cuda", (9, 0), torch.float32, 64),
        AttentionShape("cuda", (9, 0), torch.bfloat16, 60),
        AttentionShape("cuda", (9, 0), torch.bfloat16, 64, "keys"),
        AttentionShape("cpu", (0, 0), torch.bfloat16, 64),
    ):
        assert choose(other).name == "torch"
    with pytest.raises(ValueError, match="'flash3' is not available: it takes no mask"):
        choose(AttentionShape("cuda", (9, 0), torch.bfloat16, 64, "keys"), "flash3")


def test_version_2_has_to_be_named(install, monkeypatch):
    install("flash2")
    assert choose(HOPPER).name == "torch"
    assert choose(HOPPER, "flash2").reason == "asked for by name"
    monkeypatch.setenv("EA_ATTENTION", "flash2")
    assert choose(AttentionShape("cuda", (8, 0), torch.float16, 128)).name == "flash2"
    with pytest.raises(ValueError, match=r"EA_ATTENTION: .*'flash2' is not available: .*capability 8.0"):
        choose(AttentionShape("cuda", (7, 5), torch.float16, 128))


def test_both_are_told_of(install):
    install("flash3")
    install("flash2")
    _, others = describe(torch.device("cpu"), torch.float32)
    assert others["flash3"] == "it needs a GPU of compute capability 9.x"
    assert others["flash2"] == "tensors are on 'cpu', it needs a CUDA device"


@pytest.mark.parametrize("returned", ["out", "(out, None)"])
@pytest.mark.parametrize(("name", "function"), [("flash3", flash3), ("flash2", flash2)])
def test_the_package_is_called_as_it_wants_to_be(install, name, function, returned):
    install(name, returned)
    q, k, v = (torch.randn(2, tokens, 3, 16) for tokens in (5, 7, 7))
    expected = attention(q, k, v, scale=0.3, backend="reference")
    assert torch.equal(function(q, k, v, scale=0.3), expected)
    assert sys.modules[MODULES[name]].calls == [q.shape]


@pytest.mark.gpu
@pytest.mark.parametrize("name", list(MODULES))
@pytest.mark.parametrize("width", [64, 128])
def test_the_real_package(name, width):
    q, k, v = (torch.randn(2, 331, 3, width, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    try:
        out = attention(q, k, v, backend=name)
    except ValueError as reason:
        pytest.skip(str(reason))
    expected = attention(q, k, v, backend="reference")
    torch.testing.assert_close(out, expected, atol=1e-2, rtol=0)
