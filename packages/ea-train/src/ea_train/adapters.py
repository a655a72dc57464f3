"""What of a network learns: everything, named parts, or a LoRA, LoHa or LoKr over it."""

from pathlib import Path
from typing import Protocol

from torch import nn

from ea_dit.registry import Transformer, save_transformer


class Trained(Protocol):
    """What learns of a transformer, and how it is exported."""

    modules: dict[str, nn.Module]
    """What a checkpoint holds."""
    groups: list[tuple[list[nn.Parameter], float]]
    """What an optimiser is given, with factors on the learning rate."""
    inputs: dict[str, str]
    """What else the exported files belong to, described."""

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write what was learned in its released layout."""
        ...


class Everything:
    """The whole transformer learns.

    Args:
        transformer: The network; parameters that take no gradients stay as they are.
    """

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer
        self.modules: dict[str, nn.Module] = {"transformer": transformer}
        self.groups = [([p for p in transformer.parameters() if p.requires_grad], 1.0)]
        self.inputs: dict[str, str] = {}

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write `config.json` and the weights."""
        save_transformer(self._transformer, directory, metadata=metadata)
