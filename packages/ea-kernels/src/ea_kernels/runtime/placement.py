"""Where weights live: the released memory modes, one policy each.

A component (transformer, autoencoder, text encoder) is on the device where it is used, while it is used:

    placement = plan({"transformer": transformer, "vae": vae}, "model_cpu_offload", "cuda")
    with placement.using("transformer"):
        latents = transformer(...)

The modes compute the same; only `model_cpu_offload_and_qfloat8` changes numbers, because it rounds weights
(see `eight_bits`), and is therefore never chosen unasked.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Self, get_args

import torch
from torch import nn

from ea_kernels.runtime.device import resolve_device
from ea_kernels.runtime.eight_bits import RESTORED, Arithmetic, from_eight_bits, to_eight_bits
from ea_kernels.runtime.placement_modes import (
    POLICIES,
    Choice,
    MemoryMode,
    Policy,
    choose_mode,
    gigabytes,
    resolve_mode,
)
from ea_kernels.runtime.placement_moves import Transfer, blocks_of, to_device, visiting, weight_bytes

Chooser = Callable[[torch.device], Arithmetic]
"""Says how layers with eight bits compute on a device; ValueError if that was asked for and cannot be."""

__all__ = ["POLICIES", "Choice", "MemoryMode", "Placement", "Policy", "choose_mode", "plan", "resolve_mode"]


def plan(
    components: Mapping[str, nn.Module],
    mode: str = "auto",
    device: str | torch.device = "auto",
    *,
    float8: Collection[str] = ("transformer",),
    arithmetic: Chooser | None = None,
    transfer: Transfer | None = None,
) -> "Placement":
    """Put components where a memory mode wants them.

    Args:
        components: By name, loaded, on any device.
        mode: "auto" or a `MemoryMode`.
        device: Where they are used, see `resolve_device`.
        float8: Names of those that modes with eight bits round: the denoisers.
        arithmetic: How those compute, see `ea_kernels.linear`; None restores the weights.
        transfer: How copies get to the device; None for the plain way, which moves nothing on the CPU.

    Raises:
        ValueError: An unknown mode or device, weights that are not loaded or do not fit, or nothing to round.
    """
    place = resolve_device(device)
    for name, component in components.items():
        if any(tensor.is_meta for tensor in component.parameters()):
            raise ValueError(f"{name}: weights must be loaded before they are placed, got a network on meta")
    choice = choose_mode(components, place) if mode == "auto" else Choice(resolve_mode(mode), "")
    return Placement(components, choice, place, float8=float8, arithmetic=arithmetic, transfer=transfer)


class Placement:
    """Components and where they are. Make one with `plan`.

    Attributes:
        mode: The memory mode.
        reason: Why it was chosen; empty when it was asked for or nothing else was possible.
        device: Where components are used.
        arithmetic: How layers with eight bits compute, None where there are none.

    Args:
        components: By name, loaded.
        choice: The mode.
        device: Where they are used.
        float8: Names of those that modes with eight bits round.
        arithmetic: How those compute; None restores the weights.
        transfer: How copies get to the device; None for the plain way, which moves nothing on the CPU.
    """

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        choice: Choice,
        device: torch.device,
        *,
        float8: Collection[str] = (),
        arithmetic: Chooser | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        self.mode, self.reason, self.device = choice.mode, choice.reason, device
        self.policy = POLICIES[choice.mode]
        self._components = dict(components)
        self._transfer = to_device if transfer is None else transfer
        self._moves = not self.policy.resident and (device.type != "cpu" or transfer is not None)
        self._here: set[str] = set()
        self._closed = False
        self.arithmetic: Arithmetic | None = None
        if self.policy.float8:
            self.arithmetic = RESTORED if arithmetic is None else arithmetic(device)
            self._round(float8, self.arithmetic)
        home = device if self.policy.resident else torch.device("cpu")
        for name, component in self._components.items():
            with self._told(name):
                component.to(home)

    @property
    def names(self) -> frozenset[str]:
        """Names of the components."""
        return frozenset(self._components)

    @contextmanager
    def using(self, *names: str) -> Iterator[None]:
        """Have components on the device; nests.

        Args:
            *names: Which.

        Raises:
            ValueError: An unknown name, a closed placement, or a component that does not fit.
        """
        if self._closed:
            raise ValueError("this placement is closed")
        for name in names:
            if name not in self._components:
                raise ValueError(f"component must be one of {', '.join(self._components)}; got {name!r}")
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self._told(name))
                stack.enter_context(self._visit(name))
            yield

    def bytes_of(self, name: str) -> int:
        """Bytes of a component's weights as they are stored now."""
        return weight_bytes(self._components[name].modules())

    def close(self) -> None:
        """Undo what was done to the networks: they hold plain weights, at home, in their former dtype."""
        assert not self._here, "a component is in use"
        if not self._closed:
            self._closed = True
            for component in self._components.values():
                from_eight_bits(component)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _visit(self, name: str) -> Iterator[None]:
        if not self._moves or name in self._here:
            yield
            return
        self._here.add(name)
        try:
            component, by_block = self._components[name], self.policy.by_block
            with visiting(component, self.device, by_block=by_block, transfer=self._transfer):
                yield
        finally:
            self._here.remove(name)

    def _round(self, names: Collection[str], arithmetic: Arithmetic) -> None:
        chosen = {name: part for name, part in self._components.items() if name in names}
        if not any(blocks_of(part) for part in chosen.values()):
            raise ValueError(
                f"memory {self.mode} needs a denoiser that has blocks among the components "
                f"{', '.join(self._components)}"
            )
        for name, component in chosen.items():
            try:
                to_eight_bits(component, arithmetic)
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from None

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Say what to do when the device is full."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            modes = get_args(MemoryMode)
            less = modes[modes.index(self.mode) + 1 : modes.index("low_gpu_memory_mode")]
            advice = f"use {' or '.join(less)}, or " if less else "use "
            part = f"{name} ({gigabytes(self.bytes_of(name))} of weights)"
            raise ValueError(
                f"memory is too small on {self.device} for {part} with {self.mode}; "
                f"{advice}a smaller size or fewer frames"
            ) from error
