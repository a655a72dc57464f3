"""Names of devices and number types, and recomputation."""

import pytest
import torch

from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.recompute import recompute


def test_devices():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("meta")).type == "meta"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "device must be"),
        ("mps", "device must be"),
        ("cuda:77", "is not there"),
        ("", "must be"),
    ],
)
def test_bad_devices(name, message):
    with pytest.raises(ValueError, match=message):
        resolve_device(name)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bf16", torch.bfloat16), ("float16", torch.float16), ("auto", torch.float32), (torch.float32,) * 2],
)
def test_number_types(name, dtype):
    assert resolve_dtype(name, "cpu") == dtype


@pytest.mark.parametrize("name", ["int8", "double", torch.float64])
def test_bad_number_types(name):
    with pytest.raises(ValueError, match="dtype must be"):
        resolve_dtype(name)


@pytest.mark.parametrize("enabled", [False, True])
def test_recompute_changes_no_gradient(enabled):
    calls = []

    def function(x, *, power):
        calls.append(power)
        return (x**power).sum()

    x = torch.tensor([2.0, 3.0], requires_grad=True)
    recompute(function, x, power=3, enabled=enabled).backward()
    assert x.grad.tolist() == [12.0, 27.0]
    assert len(calls) == (2 if enabled else 1)
