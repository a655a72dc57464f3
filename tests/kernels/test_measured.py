"""The table that lets the automatic choice take a kernel of this package."""

import pytest
import torch

from ea_kernels import ops
from ea_kernels.attention import AttentionShape, choose, select
from ea_kernels.triton_ops import availability, measured

HOPPER = AttentionShape("cuda", (9, 0), torch.bfloat16, 64)
ENTRY = {
    "kernel": "attention",
    "capability": [9, 0],
    "dtypes": ["bfloat16"],
    "gain": 1.2,
    "against": "cudnn",
    "source": "a test",
}


@pytest.fixture
def table(monkeypatch):
    """Puts entries in the place of the table."""

    def put(*entries):
        monkeypatch.setattr(
            measured, "measurements", lambda: tuple(measured.Measurement.from_dict(e) for e in entries)
        )
        select._choose.cache_clear()

    yield put
    select._choose.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """Lets the choice believe that Triton runs."""
    monkeypatch.setattr(select, "why_not", lambda device: None)
    monkeypatch.delenv("EA_ATTENTION", raising=False)


def test_the_table_of_the_package_can_be_read():
    for entry in measured.measurements():
        assert entry.source


@pytest.mark.usefixtures("gpu")
def test_attention_that_was_not_measured_is_not_chosen(table):
    table()
    assert choose(HOPPER).name != "triton"
    assert choose(HOPPER, "triton").name == "triton"


@pytest.mark.usefixtures("gpu")
def test_attention_that_won_is_chosen_where_it_won(table):
    table(ENTRY)
    chosen = choose(HOPPER)
    assert chosen.name == "triton"
    assert "1.2 times as fast as cudnn (a test)" in chosen.reason
    for other in (
        AttentionShape("cuda", (8, 0), torch.bfloat16, 64),
        AttentionShape("cuda", (9, 0), torch.float16, 64),
        AttentionShape("cuda", (9, 0), torch.bfloat16, 64, "any"),
        AttentionShape("cpu", (0, 0), torch.bfloat16, 64),
    ):
        assert choose(other).name != "triton"


@pytest.mark.usefixtures("gpu")
def test_a_name_in_the_environment_beats_the_table(table, monkeypatch):
    table(ENTRY)
    monkeypatch.setenv("EA_ATTENTION", "efficient")
    assert choose(HOPPER).name == "efficient"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": 1.0}, "must have a gain above 1"),
        ({"dtypes": ["bfloat17"]}, "dtypes must be names of torch's number types"),
        ({"dtypes": []}, "dtypes must be names"),
        ({"speed": 3}, "an entry has"),
    ],
)
def test_a_wrong_entry_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        measured.Measurement.from_dict({**ENTRY, **change})


def test_the_environment_chooses_for_all_ops(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    x = torch.randn(2, 3, 8)
    monkeypatch.setenv("EA_KERNELS", "reference")
    assert torch.equal(ops.layer_norm(x), ops.layer_norm(x, backend="reference"))
    monkeypatch.setenv("EA_KERNELS", "triton")
    with pytest.raises(ValueError, match=r"^EA_KERNELS 'triton' is not available: (.*'cpu'|.*not inst)"):
        ops.layer_norm(x)
    assert torch.equal(ops.silu(x, backend="torch"), torch.nn.functional.silu(x))
    monkeypatch.setenv("EA_KERNELS", "cuda")
    with pytest.raises(ValueError, match="EA_KERNELS 'cuda' is not available; choose one of: auto, torch"):
        ops.layer_norm(x)


def test_what_computes_norms_is_told(table, monkeypatch):
    monkeypatch.delenv("EA_KERNELS", raising=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    name, reason = availability.describe_kernels(torch.device("cpu"), torch.float32)
    assert (name, reason.startswith("triton: ")) == ("torch", True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert availability.describe_kernels(torch.device("cpu"), torch.float32)[0] == "torch"
    monkeypatch.setattr(availability, "why_not", lambda device: None)
    monkeypatch.setattr(availability, "_capability", lambda index: (9, 0))
    device = torch.device("cuda")
    assert "no Triton kernel was measured" in availability.describe_kernels(device, torch.bfloat16)[1]
    won = tuple(
        measured.Measurement.from_dict({**ENTRY, "kernel": kernel}) for kernel in ("gelu", "norm_heads")
    )
    monkeypatch.setattr(availability, "measurements", lambda: won)
    assert availability.describe_kernels(device, torch.bfloat16) == (
        "triton and torch",
        "Triton, where it was measured to be faster: gelu, norm_heads",
    )
    assert availability.describe_kernels(device, torch.float16)[0] == "torch"
    monkeypatch.setenv("EA_KERNELS", "reference")
    assert availability.describe_kernels(torch.device("cpu"), torch.float32) == (
        "reference",
        "asked for by EA_KERNELS",
    )


def test_an_op_is_left_to_torch_unless_measured(table):
    class OnDevice:
        is_cuda, dtype, device = True, torch.bfloat16, torch.device("cuda", 0)

        def numel(self):
            return 1

    def resolve(kernel):
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("EA_KERNELS", raising=False)
            patch.setattr(availability, "why_not", lambda device: None)
            patch.setattr(availability, "_capability", lambda index: (9, 0))
            return availability.resolve_backend("auto", OnDevice(), kernel)

    table()
    assert resolve("gelu") == "torch"
    table({**ENTRY, "kernel": "gelu"})
    assert resolve("gelu") == "triton"
    assert resolve("geglu") == "torch"
