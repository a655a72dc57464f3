"""Recording a network's calls and replaying them: kinds of calls, changes of the network, refusals."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from recorded_calls import TapeRecorder
from torch import nn

from ea_kernels.runtime.graphs import CudaRecorder, GraphedNetwork, describe_graphs, graphs_asked
from ea_kernels.runtime.placement_moves import visiting


@dataclass(frozen=True)
class Step:
    time: torch.Tensor
    rows: dict[str, torch.Tensor]


class Network(nn.Module):
    """Inputs of all sorts, a setting that is a number of Python, and a weight."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)
        self.strength = 1.5

    def forward(self, x, step, *, words=None, clamp=False, mode=None, also=()):
        y = self.inner(x) * self.strength + step.time[:, None] + step.rows["a"]
        for more in also:
            y = y + more
        if words is not None:
            y = y * words
        if mode == "read":
            y = y * y.sum().item()
        if mode == "two":
            return y, y
        return y.clamp(0) if clamp else y


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().eval()


def inputs(rows=2, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x, time, row = (torch.randn(shape, generator=draw) for shape in ((rows, 3), (rows,), (1, 4)))
    return x, Step(time, {"a": row})


def same(graphed, *args, **kwargs):
    """Whether a call gives what the network itself gives."""
    with torch.no_grad():
        return torch.equal(graphed(*args, **kwargs), graphed.network(*args, **kwargs))


def test_replays_give_the_same_bits_and_a_call_is_recorded_once(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    assert all(same(graphed, *inputs(seed=seed)) for seed in range(4))
    assert graphed.recorded == 1
    assert all(same(graphed, *inputs(rows=5, seed=seed)) for seed in range(3))
    assert all(same(graphed, *inputs(seed=seed), words=torch.ones(4)) for seed in range(3))
    assert all(same(graphed, *inputs(seed=seed)) for seed in range(3))
    assert (graphed.recorded, len(graphed)) == (3, 3)


@pytest.mark.parametrize(
    "other",
    [
        {"words": torch.ones(1)},
        {"words": torch.ones(4, dtype=torch.float64)},
        {"words": torch.ones(4, 4).T[0]},
        {"clamp": True},
        {"clamp": 1},
        {"mode": "x"},
        {"also": (torch.ones(1),)},
        {"also": [torch.ones(1)]},
    ],
)
def test_what_makes_another_kind_of_call(network, other):
    graphed = GraphedNetwork(network, TapeRecorder())
    assert same(graphed, *inputs(), words=torch.ones(4))
    assert same(graphed, *inputs(), **{"words": torch.ones(4), **other})
    assert graphed.recorded == 2


def test_results_are_not_written_over_and_inputs_are_not_kept(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    with torch.no_grad():
        x, step = inputs()
        first = graphed(x, step)
        kept = first.clone()
        x.add_(1)
        second = graphed(x, step)
        assert torch.equal(first, kept)
        assert torch.equal(second, network(x, step))
        first.zero_()
        assert torch.equal(graphed(x, step), second)


def test_expanded_and_strided_inputs_are_copied(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    for seed in range(3):
        x, step = inputs(seed=seed)
        strided = torch.stack((x, x), dim=-1)[..., 0]
        assert same(graphed, strided, Step(step.time[:1].expand(2), step.rows))
    assert graphed.recorded == 1


def test_the_kind_that_was_not_called_for_longest_makes_room(network):
    recorder = TapeRecorder()
    graphed = GraphedNetwork(network, recorder, kept=2)
    for rows in (1, 2, 1, 3, 1):  # 3 takes the room of 2
        assert same(graphed, *inputs(rows=rows))
    assert (graphed.recorded, len(graphed)) == (3, 2)
    assert same(graphed, *inputs(rows=2))
    assert graphed.recorded == 4
    assert recorder.beside[0] is None  # memory is shared with a recording that is kept
    assert all(beside is not None for beside in recorder.beside[1:])
    graphed.clear()
    assert len(graphed) == 0
    assert same(graphed, *inputs(rows=2))
    assert recorder.beside[-1] is None


def test_only_one_may_be_kept(network):
    recorder = TapeRecorder()
    graphed = GraphedNetwork(network, recorder, kept=1)
    assert all(same(graphed, *inputs(rows=rows)) for rows in (1, 2, 1))
    assert recorder.beside == [None, None, None]
    with pytest.raises(ValueError, match=r"^kept must be at least 1, got 0$"):
        GraphedNetwork(network, kept=0)


def test_weights_that_are_written_to_are_read_anew(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    assert same(graphed, *inputs())
    with torch.no_grad():
        network.inner.weight.mul_(2)
    network.load_state_dict({name: value * 2 for name, value in network.state_dict().items()})
    assert same(graphed, *inputs())
    assert graphed.recorded == 1


def replaced_weight(network):
    network.inner.weight = nn.Parameter(torch.ones(4, 3))


def replaced_data(network):
    network.inner.weight.data = torch.ones(4, 3)


def replaced_module(network):
    network.inner = nn.Linear(3, 4).eval()


def added_module(network):
    network.inner = nn.Sequential(network.inner, nn.Linear(4, 4)).eval()


def other_setting(network):
    network.strength = 0.5


@pytest.mark.parametrize(
    "change", [replaced_weight, replaced_data, replaced_module, added_module, other_setting]
)
def test_a_network_that_is_another_is_recorded_anew(network, change):
    graphed = GraphedNetwork(network, TapeRecorder())
    assert same(graphed, *inputs(rows=1))
    assert same(graphed, *inputs(rows=2))
    change(network)
    assert same(graphed, *inputs(rows=2))
    assert (graphed.recorded, len(graphed)) == (3, 1)


def test_inference_mode_and_its_tensors(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    with torch.inference_mode():
        made = inputs()
        first = graphed(*made)
    with torch.no_grad():
        assert torch.equal(graphed(*inputs()), first)
        assert torch.equal(graphed(*made), first)
    assert graphed.recorded == 1


def refused(network, reason, *args, recorder=None, **kwargs):
    graphed = GraphedNetwork(network, TapeRecorder() if recorder is None else recorder)
    args = args or inputs()
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match=rf"^EA_CUDA_GRAPHS cannot be used: {reason}$"),
    ):
        graphed(*args, **kwargs)
    assert (graphed.recorded, len(graphed)) == (0, 0)


def test_refused_inputs_and_places(network):
    refused(network, "CUDA graphs need a GPU, the network is used on 'cpu'", recorder=CudaRecorder())
    refused(network, "an input is a function, no tensor, number or text", *inputs(), words=lambda: 1)
    refused(network, "an input is a type, no tensor, number or text", *inputs(), mode=Step)
    refused(network, "an input is a Size, no tensor, number or text", *inputs(), also=torch.Size((1,)))
    meta = torch.ones(4, device="meta")
    refused(network, "weights and inputs must be on one device, got cpu, meta", *inputs(), words=meta)
    refused(nn.Identity().eval(), "weights and inputs must be on one device, got none", 1)
    refused(network, "the network must return a tensor, got tuple", *inputs(), mode="two")


def test_refused_networks(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    with pytest.raises(
        ValueError, match="cannot be used: gradients are wanted; call the network under torch"
    ):
        graphed(*inputs())
    network.inner.train()
    refused(network, r"the network is in training; call its eval\(\)")
    network.eval()
    handle = network.inner.register_forward_hook(lambda *_: None)
    refused(network, "Linear has hooks or is compiled")
    handle.remove()
    network.inner.compile(backend="eager")
    refused(network, "Linear has hooks or is compiled")


def test_autocast_is_refused(network):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused(network, "autocast keeps weights that it cast")


def test_weights_that_come_for_a_visit_are_never_read_from_where_they_were(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    for _ in range(2):
        with visiting(network, torch.device("cpu"), transfer=lambda tensor, _: tensor.clone()):
            assert same(graphed, *inputs())
    assert same(graphed, *inputs())
    blocks = nn.ModuleList([network])
    with visiting(blocks, torch.device("cpu"), by_block=True, transfer=lambda tensor, _: tensor.clone()):
        refused(network, "Network has hooks or is compiled")


def test_an_error_of_the_network_is_its_own_and_leaves_nothing(network):
    graphed = GraphedNetwork(network, TapeRecorder())
    with torch.no_grad(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        graphed(torch.ones(2, 7), inputs()[1])
    with torch.no_grad(), pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        graphed(*inputs(), mode="read")
    assert len(graphed) == 0
    assert same(graphed, *inputs())


def test_asking(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for value, asked in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("EA_CUDA_GRAPHS", value)
        assert graphs_asked() is asked
    assert describe_graphs(gpu) == "on (asked for by EA_CUDA_GRAPHS)"
    with pytest.raises(ValueError, match=r"^EA_CUDA_GRAPHS cannot be used: CUDA graphs need a GPU"):
        describe_graphs(cpu)
    monkeypatch.setenv("EA_CUDA_GRAPHS", "yes")
    with pytest.raises(ValueError, match=r"^EA_CUDA_GRAPHS must be 0 or 1, got 'yes'$"):
        graphs_asked()
    monkeypatch.delenv("EA_CUDA_GRAPHS")
    assert describe_graphs(gpu) == "off (never used unasked; EA_CUDA_GRAPHS=1 asks for them)"
    assert describe_graphs(cpu) == (
        "off (never used unasked; CUDA graphs need a GPU, the network is used on 'cpu')"
    )


class Cuda:
    """What the recorder uses of `torch.cuda`, as notes of what it did."""

    def __init__(self, monkeypatch, notes):
        self.notes, self.now, self.failing = notes, "main", False
        for name in ("device", "Stream", "current_stream", "stream", "CUDAGraph", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    @contextmanager
    def device(self, device):
        self.notes.append(f"on {device}")
        yield

    def current_stream(self):
        return SimpleNamespace(name=self.now, wait_stream=partial(self._wait, self.now))

    def Stream(self):  # noqa: N802
        return SimpleNamespace(name="side", wait_stream=partial(self._wait, "side"))

    def _wait(self, name, other):
        self.notes.append(f"{name} waits for {other.name}")

    @contextmanager
    def stream(self, stream):
        before, self.now = self.now, stream.name
        yield
        self.now = before

    def CUDAGraph(self):  # noqa: N802
        number = sum(note.startswith("record") for note in self.notes) + 1
        return SimpleNamespace(pool=lambda: f"pool of {number}", replay=lambda: self.notes.append("replay"))

    @contextmanager
    def graph(self, graph, *, pool, stream):
        del graph
        self.notes.append(f"record in {pool} on {stream.name}")
        try:
            yield
        except RuntimeError:
            if self.failing:
                raise RuntimeError("the end of a recording that failed") from None
            raise


def test_what_the_recorder_asks_of_cuda(monkeypatch):
    notes = []
    Cuda(monkeypatch, notes)
    recorder, device = CudaRecorder(), torch.device("cuda", 1)

    def run():
        notes.append("run")
        return "output"

    first = recorder(run, device, None)
    warm = ["on cuda:1", "side waits for main", "run", "run", "run", "main waits for side"]
    assert notes == [*warm, "record in None on side", "run"]
    assert first.output == "output"
    notes.append("-")
    recorder(run, device, first).replay()
    assert notes[notes.index("-") + 1 :] == [*warm, "record in pool of 1 on side", "run", "replay"]


@pytest.mark.parametrize("failing", [False, True])
def test_what_a_recording_that_fails_says(monkeypatch, failing):
    notes = []
    Cuda(monkeypatch, notes).failing = failing
    device = torch.device("cuda")

    def run(error):
        notes.append("run")
        if notes.count("run") == 4:
            raise error

    reason = (
        "cannot be used: the call cannot be recorded: not permitted; start the process anew, without graphs$"
    )
    with pytest.raises(ValueError, match=reason):
        CudaRecorder()(lambda: run(RuntimeError("not permitted\nsecond line")), device, None)
    notes.clear()
    if not failing:
        with pytest.raises(torch.OutOfMemoryError):
            CudaRecorder()(lambda: run(torch.OutOfMemoryError("full")), device, None)


@pytest.mark.gpu
def test_on_a_gpu(network):
    network.cuda()
    graphed = GraphedNetwork(network, kept=2)

    def given(rows, seed):
        x, step = inputs(rows, seed=seed)
        return x.cuda(), Step(step.time.cuda(), {"a": step.rows["a"].cuda()})

    for seed in range(4):
        assert same(graphed, *given(2, seed))
        assert same(graphed, *given(700, seed))
    assert graphed.recorded == 2
    with torch.no_grad():
        network.inner.weight.mul_(2)
    assert same(graphed, *given(2, 9))
    assert graphed.recorded == 2
    replaced_weight(network)
    network.cuda()
    assert same(graphed, *given(2, 9))
    assert graphed.recorded == 3


@pytest.mark.gpu
def test_memory_does_not_grow_on_a_gpu():
    network = nn.Sequential(nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 512)).cuda().eval()
    graphed = GraphedNetwork(network, kept=2)

    def turn():
        with torch.no_grad():
            for rows in (64, 128, 256):  # one more than is kept
                graphed(torch.randn(rows, 512, device="cuda"))
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(), torch.cuda.memory_allocated()

    for _ in range(3):
        before = turn()
    for _ in range(5):
        after = turn()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
