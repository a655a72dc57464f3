"""All that a run has learned, as named tensors, and back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ea_train.loop.ema import ExponentialAverage
from ea_train.loop.sharding import like, whole
from ea_train.schema import flatten

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Networks, optimisers and averages of one run.

    Attributes:
        modules: Every network of the task, by name.
        optimizers: By optimiser group.
        ema: Averaged weights, if there are any.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, list[torch.optim.Optimizer]]
    ema: ExponentialAverage | None

    def files(self) -> Iterator[tuple[str, Tensors]]:
        """One file after the other, its tensors whole and on the CPU; all ranks must ask, in step."""
        for name, module in self.modules.items():
            yield f"module-{name}", {key: whole(value) for key, value in module.state_dict().items()}
        for name, optimizer in self._named_optimizers():
            yield name, _optimizer_tensors(optimizer)
        if self.ema is not None:
            yield "ema", {key: whole(value) for key, value in self.ema.averages.items()}

    def restore(self, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Put back what `files` gave, on any number of ranks.

        Raises:
            KeyError: Something is missing.
            RuntimeError: Something does not fit.
        """
        for name, module in self.modules.items():
            found, current = files[f"module-{name}"], module.state_dict()
            module.load_state_dict(
                {key: like(current[key], value) if key in current else value for key, value in found.items()}
            )
        for name, optimizer in self._named_optimizers():
            _restore_optimizer(optimizer, files[name])
        if self.ema is not None:
            self.ema.restore(files["ema"])

    def _named_optimizers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        for group, optimizers in self.optimizers.items():
            for index, optimizer in enumerate(optimizers):
                yield f"optimizer-{group}-{index}", optimizer


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    return {
        f"{index}.{name}": _as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in flatten(entry).items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, *parents, name = key.split(".")
        if int(index) >= len(parameters):
            raise RuntimeError(f"optimiser state {key} belongs to no parameter")
        entry = state.setdefault(int(index), {})
        for parent in parents:
            entry = entry.setdefault(parent, {})
        parameter = parameters[int(index)]
        entry[name] = like(parameter, value) if value.shape == parameter.shape else _as_number(value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _as_tensor(value: Any) -> Tensor:
    """Optimisers count in tensors or plain numbers; these become float64 and int64, which no tensor is."""
    if isinstance(value, Tensor):
        return whole(value)
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)


def _as_number(value: Tensor) -> Tensor | float:
    plain = value.ndim == 0 and value.dtype in (torch.float64, torch.int64)
    return value.item() if plain else value
