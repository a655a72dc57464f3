"""A LoRA, LoHa or LoKr that learns: fresh adapters over a network whose own weights stand still.

For LoRA, as in Hu et al. 2021 (https://arxiv.org/abs/2106.09685), the first factor starts random (Kaiming, as
a new linear layer) and the second at zero, so that a fresh LoRA changes nothing; for the others see
`products`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ea_dit.lora.factors import NAMES, Factors, Kind
from ea_dit.lora.layers import AdaptedLayer, Adapter, LowRank, Product
from ea_dit.lora.overlay import Overlay, cover
from ea_dit.lora.products import start_product
from ea_dit.lora.targets import Target, Targets, targets_of
from ea_dit.registry import Transformer


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What is learned.

    Attributes:
        kind: "lora", "loha" or "lokr".
        rank: R of every layer.
        alpha: The change is multiplied with alpha / rank; 64 with rank 128 is what released recipes have.
        factor: Of a LoKr: largest size of its first part; 0 makes both parts as alike as possible.
        targets: Patterns (`*` matches anything) of layers by our path or any released name.
        skip: Patterns of layers that are left out.
        dropout: Share of the input of every layer that its factors do not see in training, as PEFT's
            `lora_dropout`; in [0, 1).
    """

    kind: Kind = "lora"
    rank: int = 128
    alpha: float = 64.0
    factor: int = 0
    targets: tuple[str, ...] = ("blocks.*",)
    skip: tuple[str, ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what makes no LoRA."""
        if self.kind not in NAMES:
            raise ValueError(f"kind must be one of {', '.join(NAMES)}, got {self.kind!r}")
        if self.factor < 0:
            raise ValueError(f"factor must be at least 0, got {self.factor}")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if not math.isfinite(self.alpha) or self.alpha <= 0:
            raise ValueError(f"alpha must be a finite number above 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {self.dropout}")


Learned = Mapping[str, Mapping[str, nn.Parameter]]
"""Factors that learn: by path of our layer for a LoRA, by released name of the layer for the others, whose
factors layers that are one in files share; then by their name in files."""


class TrainableLora(Overlay):
    """An overlay that learns. Make it with `add_lora`.

    Args:
        network: What it is over.
        adapters: By path of the layer.
        learned: The factors in them.
        config: What is learned.
        frozen: Parameters that learned before; they do again when it is taken off.
    """

    def __init__(
        self,
        network: Transformer,
        adapters: dict[str, Adapter],
        learned: Learned,
        config: LoraConfig,
        frozen: tuple[nn.Parameter, ...] = (),
    ) -> None:
        super().__init__(network, dict(adapters))
        self._frozen = frozen
        self._transformer_config = network.config
        self.config = config
        self.learned = learned

    def parameters(self) -> Iterator[nn.Parameter]:
        """What an optimiser is given."""
        for factors in self.learned.values():
            yield from factors.values()

    def remove(self) -> None:
        """Takes it off; what learned before does so again."""
        super().remove()
        for parameter in self._frozen:
            parameter.requires_grad_()

    def state_dict(self) -> dict[str, Tensor]:
        """The factors under the paths of our layers, for checkpoints; `factors` is for files."""
        return {
            f"{layer}.{name}": parameter.detach()
            for layer, factors in self.learned.items()
            for name, parameter in factors.items()
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes factors back.

        Raises:
            ValueError: If one is missing, left over or has another shape, naming it; nothing is changed then.
        """
        own = self.state_dict()
        for name in own.keys() ^ state.keys():
            raise ValueError(f"LoRA state: {'missing' if name in own else 'unexpected'} tensor {name!r}")
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                shapes = f"{list(state[name].shape)}, expected {list(tensor.shape)}"
                raise ValueError(f"LoRA state: tensor {name!r} has shape {shapes}")
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def factors(self, targets: Targets | None = None) -> dict[str, Factors]:
        """The factors by released name, for `lora_file`.

        Where several of our layers are one in files, their factors become those of one layer with the sum of
        their ranks, which stands for the same change.

        Args:
            targets: Of the network; None finds them.
        """
        targets = targets_of(self._transformer_config) if targets is None else targets
        found: dict[str, Factors] = {}
        for target in targets:
            if self.config.kind == "lora":
                parts = [self.learned.get(part.layer) for part in target.parts]
                if any(part is not None for part in parts):
                    found[target.name] = _joined(target, parts, self.config.alpha)
            elif (factors := self.learned.get(target.name)) is not None:
                tensors = {name: parameter.detach() for name, parameter in factors.items()}
                found[target.name] = Factors(kind=self.config.kind, tensors=tensors, alpha=self.config.alpha)
        return found


def add_lora(
    network: Transformer,
    config: LoraConfig,
    *,
    generator: torch.Generator | None = None,
    targets: Targets | None = None,
) -> TrainableLora:
    """Puts fresh adapters over a transformer; nothing but their parameters takes gradients afterwards.

    Args:
        network: A transformer of any family, also one whose blocks are stored in eight bits.
        config: What is learned.
        generator: Source of the first factors, None for torch's own.
        targets: Of the network; None finds them.

    Returns:
        The handle with the parameters; they are float32, whatever the network is.

    Raises:
        ValueError: If no layer fits the patterns, or one of these has a LoRA over it already.
    """
    targets = targets_of(network.config) if targets is None else targets
    chosen = [target for target in targets if _wanted(target, config)]
    if not chosen:
        raise ValueError(f"targets: no layer fits {', '.join(config.targets)}")
    for part in (part for target in chosen for part in target.parts):
        taken = isinstance(network.get_submodule(part.layer), AdaptedLayer)
        if taken:
            raise ValueError(f"{part.layer} has a LoRA over it already; remove it first")
    adapters: dict[str, Adapter] = {}
    learned: dict[str, dict[str, nn.Parameter]] = {}
    for target in chosen:
        _add(target, config, generator, adapters, learned)
    for adapter in adapters.values():
        adapter.dropout = config.dropout
    frozen = tuple(parameter for parameter in network.parameters() if parameter.requires_grad)
    network.requires_grad_(requires_grad=False)
    cover(network, adapters)
    return TrainableLora(network, adapters, learned, config, frozen)


def _add(
    target: Target,
    config: LoraConfig,
    generator: torch.Generator | None,
    adapters: dict[str, Adapter],
    learned: dict[str, dict[str, nn.Parameter]],
) -> None:
    """Fresh adapters of one layer in files."""
    if config.kind == "lora":
        for part in target.parts:
            down = torch.empty(config.rank, part.width)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
            up = torch.zeros(part.stop - part.start, config.rank)
            adapter = LowRank(up, down, config.alpha / config.rank, trainable=True)
            adapters[part.layer] = adapter
            learned[part.layer] = {"lora_down": adapter.down, "lora_up": adapter.up}
        return
    start = start_product(
        config.kind, target.shape, rank=config.rank, factor=config.factor, generator=generator
    )
    shared = {name: nn.Parameter(tensor) for name, tensor in start.items()}
    learned[target.name] = shared
    factors = Factors(kind=config.kind, tensors=shared, alpha=config.alpha)
    for part in target.parts:
        adapters[part.layer] = Product(factors, slice(part.start, part.stop))


def _wanted(target: Target, config: LoraConfig) -> bool:
    names = {*target.names.values(), *(part.layer for part in target.parts)}

    def fits(patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return fits(config.targets) and not fits(config.skip)


def _joined(target: Target, parts: list[Mapping[str, nn.Parameter] | None], alpha: float) -> Factors:
    """One layer's factors of those of its rows: the ranks side by side, zeros where they do not meet."""
    present = [(part, factors) for part, factors in zip(target.parts, parts, strict=True) if factors]
    down = torch.cat([factors["lora_down"].detach() for _, factors in present])
    up = down.new_zeros(target.shape[0], len(down))
    start = 0
    for part, factors in present:
        rank = len(factors["lora_down"])
        up[part.start : part.stop, start : start + rank] = factors["lora_up"].detach()
        start += rank
    if len(target.shape) > 2:
        down = down.reshape(len(down), *target.shape[1:])
        up = up.reshape(*up.shape, *(1 for _ in target.shape[2:]))
    tensors = {"lora_up": up, "lora_down": down}
    return Factors(kind="lora", tensors=tensors, alpha=alpha * len(present))
