"""CUDA graphs: a network's forward call, recorded once and replayed with other inputs.

A denoising loop calls one network with the same shapes at every step. A replay launches all kernels of such a
call at once, which saves what the CPU spends on each of them. Off unless the environment variable
EA_CUDA_GRAPHS=1 asks for it; an error where it is impossible. Never run on a GPU so far.

A graph reads weights where they were when it was recorded, and does what Python decided then. Therefore the
network is looked over before every call, and recordings are dropped if a weight is elsewhere, or a module or
one of its settings is another. Rules of recording and of memory pools: documentation of `torch.cuda.graph`.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ea_kernels.runtime.graph_inputs import join_inputs, layout, split_inputs

ENVIRONMENT = "EA_CUDA_GRAPHS"
KEPT = 4
"""Recordings of a network that are kept: say with and without guidance, of two lengths."""
WARM_UPS = 3
"""Calls before one is recorded, in which kernels are chosen and compiled, and libraries take workspaces."""
_SETTINGS = frozenset((bool, int, float, str))
_CHANGED = ("_forward_hooks", "_forward_pre_hooks", "_compiled_call_impl")


@dataclass(frozen=True)
class Recording:
    """A call that can be replayed.

    Attributes:
        replay: Computes from what is in the inputs now, into `output`.
        output: What the call returned; every replay writes over it.
        graph: Has the memory in between.
    """

    replay: Callable[[], None]
    output: Any
    graph: Any = None


class Recorder(Protocol):
    """Records calls; tests put another one in the place of CUDA."""

    def obstacle(self, device: torch.device) -> str | None:
        """Returns why nothing can be recorded on a device, None if it can."""
        ...

    def __call__(self, run: Callable[[], Any], device: torch.device, beside: Recording | None) -> Recording:
        """Records a call, sharing the memory of a recording that is not replayed at the same time."""
        ...


class CudaRecorder:
    """Records CUDA graphs, on one stream for each device."""

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def obstacle(self, device: torch.device) -> str | None:
        """Returns why nothing can be recorded on a device, None if it can."""
        return (
            None
            if device.type == "cuda"
            else f"CUDA graphs need a GPU, the network is used on {device.type!r}"
        )

    def __call__(self, run: Callable[[], Any], device: torch.device, beside: Recording | None) -> Recording:
        """Warms up, then records.

        Raises:
            ValueError: If the call does what cannot be recorded.
        """
        with torch.cuda.device(device):
            if device not in self._streams:
                self._streams[device] = torch.cuda.Stream()
            stream = self._streams[device]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # The pool of a graph that lives: one whose graphs are all gone must not be named again.
            pool = None if beside is None else beside.graph.pool()
            try:
                with torch.cuda.graph(graph, pool=pool, stream=stream):
                    output = run()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                # Ending a recording that failed is an error too, which says less than the one before.
                reason = str(error.__context__ or error).splitlines()[0]
                # torch's random numbers and allocator may not recover from it.
                hint = "start the process anew, without graphs"
                raise refusal(f"the call cannot be recorded: {reason}; {hint}") from error
        return Recording(graph.replay, output, graph)


@dataclass(frozen=True)
class _Call:
    inputs: list[Tensor]
    recording: Recording


class GraphedNetwork:
    """Is called in the place of a network: records one call of every kind, and replays it.

    Calls are of one kind if their tensors agree in shape, strides, dtype and device, and all other inputs are
    equal. Results are copies, which later calls do not write over. Every kind keeps copies of its inputs and
    its result; what calls need in between is shared by all, and is reserved until `clear`. Threads take
    turns, and must use the same CUDA stream. Kernels stay those that were chosen when a call was recorded.

    Attributes:
        network: What is called.
        recorded: How many calls were recorded so far.

    Args:
        network: What is called, without gradients.
        recorder: None for CUDA graphs.
        kept: Kinds that are kept; the one that was not called for longest makes room.
    """

    def __init__(self, network: nn.Module, recorder: Recorder | None = None, *, kept: int = KEPT) -> None:
        if kept < 1:
            raise ValueError(f"kept must be at least 1, got {kept}")
        self.network, self.recorded = network, 0
        self._recorder: Recorder = CudaRecorder() if recorder is None else recorder
        self._kept, self._lock = kept, threading.Lock()
        self._calls: OrderedDict[Hashable, _Call] = OrderedDict()
        self._state: list[object] = []

    def __len__(self) -> int:
        """Kinds that are kept."""
        return len(self._calls)

    def clear(self) -> None:
        """Drops all recordings and their memory."""
        self._calls.clear()
        self._state = []

    def check(self, device: torch.device) -> None:
        """Refuses a device on which nothing can be recorded.

        Raises:
            ValueError: With the reason.
        """
        if (obstacle := self._recorder.obstacle(device)) is not None:
            raise refusal(obstacle)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Returns what the network returns.

        Raises:
            ValueError: If the call cannot be recorded, with the reason.
        """
        if torch.is_grad_enabled():
            raise refusal("gradients are wanted; call the network under torch.no_grad()")
        given: list[Tensor] = []
        # Buffers that were made in inference mode could not be written to outside of it.
        with self._lock, torch.inference_mode(mode=False), torch.no_grad():
            try:
                kind = split_inputs((args, kwargs), given)
            except TypeError as error:
                raise refusal(str(error)) from None
            device = self._look_over(given)
            if kind not in self._calls:
                self._calls[kind] = self._record((args, kwargs), given, device)
            self._calls.move_to_end(kind)
            call = self._calls[kind]
            for own, tensor in zip(call.inputs, given, strict=True):
                own.copy_(tensor, non_blocking=True)
            call.recording.replay()
            return call.recording.output.clone()

    def _look_over(self, given: list[Tensor]) -> torch.device:
        """Refuses what cannot be recorded; drops recordings if the network is not what it was."""
        state: list[object] = []
        devices = {tensor.device for tensor in given}
        for module in self.network.modules():
            own = vars(module)
            if own["training"]:
                raise refusal("the network is in training; call its eval()")
            if any(own.get(name) for name in _CHANGED):
                raise refusal(f"{type(module).__name__} has hooks or is compiled")
            state.append(module)
            state += [value for value in own.values() if type(value) in _SETTINGS]
            for tensor in (*own["_parameters"].values(), *own["_buffers"].values()):
                if tensor is not None:
                    devices.add(tensor.device)
                    state += [tensor.data_ptr(), layout(tensor)]
        if len(devices) != 1:
            names = ", ".join(sorted(map(str, devices)))
            raise refusal(f"weights and inputs must be on one device, got {names or 'none'}")
        (device,) = devices
        self.check(device)
        if torch.is_autocast_enabled(device.type):
            raise refusal("autocast keeps weights that it cast")
        if state != self._state:
            self.clear()
            self._state = state
        return device

    def _record(self, inputs: tuple[Any, Any], given: list[Tensor], device: torch.device) -> _Call:
        while len(self._calls) >= self._kept:
            self._calls.popitem(last=False)
        own = [tensor.clone() for tensor in given]
        args, kwargs = join_inputs(inputs, iter(own))
        beside = next(reversed(self._calls.values())).recording if self._calls else None
        recording = self._recorder(lambda: self.network(*args, **kwargs), device, beside)
        if not isinstance(recording.output, Tensor):
            raise refusal(f"the network must return a tensor, got {type(recording.output).__name__}")
        self.recorded += 1
        return _Call(own, recording)


def refusal(reason: str) -> ValueError:
    """The error for what cannot be recorded."""
    return ValueError(f"{ENVIRONMENT} cannot be used: {reason}")


def graphs_asked() -> bool:
    """Whether EA_CUDA_GRAPHS asks for graphs.

    Raises:
        ValueError: If it is something else than 0, 1 or nothing.
    """
    value = os.environ.get(ENVIRONMENT, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{ENVIRONMENT} must be 0 or 1, got {value!r}")
    return value == "1"


def describe_graphs(device: torch.device) -> str:
    """Whether graphs would be used on a device, and why not.

    Raises:
        ValueError: If EA_CUDA_GRAPHS asks for them and the device has none, or see `graphs_asked`.
    """
    asked, obstacle = graphs_asked(), CudaRecorder().obstacle(device)
    if not asked:
        return f"off (never used unasked; {obstacle or f'{ENVIRONMENT}=1 asks for them'})"
    if obstacle is not None:
        raise refusal(obstacle)
    return f"on (asked for by {ENVIRONMENT})"
