"""What of a network learns: everything, named parts, or a LoRA, LoHa or LoKr over it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import nn

from ea_dit.lora import FORMATS, Format, LoraConfig, TrainableLora, add_lora, lora_file, save_lora
from ea_dit.lora.layers import Adapter, LowRank
from ea_dit.registry import Transformer, family_of, save_transformer

LORA_FILE = "lora.safetensors"
HALF_RATE = 0.5
_EVERY_NAME = "."


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """What learns.

    Attributes:
        kind: "all"; "parts", the parameters whose names have one of `names` or `half_rate_names` in them; or
            fresh "lora", "loha" or "lokr" factors over layers that stand still.
        names: Pieces of our parameter names or of released ones; "." is in all of them.
        half_rate_names: The same at half the learning rate; what `names` has keeps its full rate.
        rank: Of the factors.
        alpha: Of the factors: their change is multiplied with alpha / rank.
        factor: Of a LoKr: largest size of its first part; 0 makes both parts as alike as possible.
        targets: Patterns (`*` matches anything) of layers that get factors, by our path or a released name.
        skip: Patterns of layers that get none.
        dropout: Share of a layer's input that its factors do not see in training.
        format: Names in the exported file: "easyanimate", "kohya" or, for a LoRA, "peft".
    """

    kind: Literal["all", "parts", "lora", "loha", "lokr"] = "all"
    names: tuple[str, ...] = ()
    half_rate_names: tuple[str, ...] = ()
    rank: int = 128
    alpha: float = 64.0
    factor: int = 0
    targets: tuple[str, ...] = ("blocks.*",)
    skip: tuple[str, ...] = ()
    dropout: float = 0.0
    format: Format = "easyanimate"

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.kind == "parts" and not (self.names or self.half_rate_names):
            raise ValueError("adapter.names is empty; kind 'parts' needs names or half_rate_names")
        if self.kind != "parts" and self.names:
            raise ValueError(f"adapter.names are for kind 'parts', the kind is {self.kind!r}")
        if self.kind not in ("all", "parts") and self.half_rate_names:
            raise ValueError(
                f"adapter.half_rate_names are for the kinds 'all' and 'parts', the kind is {self.kind!r}"
            )
        if self.kind in ("all", "parts") and self.dropout:
            raise ValueError(f"adapter.dropout is for lora, loha and lokr, the kind is {self.kind!r}")
        if not all(self.names) or not all(self.half_rate_names):
            raise ValueError("adapter.names and adapter.half_rate_names must not have empty texts")
        if self.format not in FORMATS:
            raise ValueError(f"adapter.format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.format == "peft" and self.kind in ("loha", "lokr"):
            raise ValueError(f"adapter.format 'peft' has no {self.kind}; take easyanimate or kohya")
        try:
            self.lora()
        except ValueError as error:
            raise ValueError(f"adapter.{error}") from None

    def lora(self) -> LoraConfig:
        """The settings of the factors."""
        return LoraConfig(
            kind="lora" if self.kind in ("all", "parts") else self.kind,
            rank=self.rank,
            alpha=self.alpha,
            factor=self.factor,
            targets=self.targets,
            skip=self.skip,
            dropout=self.dropout,
        )


class Trained(Protocol):
    """What learns of a transformer, and how it is exported."""

    modules: dict[str, nn.Module]
    """What a checkpoint holds."""
    groups: list[tuple[list[nn.Parameter], float]]
    """What an optimiser is given, with factors on the learning rate."""

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write what was learned in its released layout."""
        ...

    def measures(self) -> dict[str, float]:
        """Sizes of what was learned, by name, for a log."""
        ...


class Weights:
    """The transformer's own weights learn, all or some.

    Args:
        transformer: The network.
        config: Which; None for all that take gradients.

    Raises:
        ValueError: A name is in no parameter name, or no parameter is left.
    """

    def __init__(self, transformer: Transformer, config: AdapterConfig | None = None) -> None:
        self._transformer = transformer
        self.modules: dict[str, nn.Module] = {"transformer": transformer}
        config = AdapterConfig() if config is None else config
        if config.kind == "parts":
            transformer.requires_grad_(requires_grad=False)
        self.groups = _groups(transformer, config)
        for parameters, _ in self.groups:
            for parameter in parameters:
                parameter.requires_grad_()

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write `config.json` and all weights."""
        save_transformer(self._transformer, directory, metadata=metadata)

    def measures(self) -> dict[str, float]:
        """Nothing: the weights as they were are not kept."""
        return {}


class Factors:
    """A LoRA, LoHa or LoKr learns; the transformer stands still.

    Args:
        transformer: The network, on its device.
        config: Which factors.
        seed: Of their start.

    Raises:
        ValueError: No layer fits the patterns.
    """

    def __init__(self, transformer: Transformer, config: AdapterConfig, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        try:
            self.lora = add_lora(transformer, config.lora(), generator=generator)
        except ValueError as error:
            raise ValueError(f"adapter.{error}") from None
        self._config = config
        self.modules: dict[str, nn.Module] = {"adapter": _Learned(self.lora)}
        self.groups = [(list(self.lora.parameters()), 1.0)]

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write `lora.safetensors`, which `ea_dit.lora.read_lora` and others read."""
        directory.mkdir(parents=True, exist_ok=True)
        config = self._config
        facts = {
            "ss_network_module": "networks.lora" if config.kind == "lora" else "lycoris.kohya",
            "ss_network_dim": str(config.rank),
            "ss_network_alpha": str(config.alpha),
            **metadata,
        }
        file = lora_file(self.lora.factors(), config.format, metadata=facts)
        save_lora(file, directory / LORA_FILE, config.format)

    def measures(self) -> dict[str, float]:
        """Norm of the change that the factors make of all weights together."""
        return {"adapter_norm": change_norm(self.lora)}


class _Learned(nn.Module):
    """The factors as a network of their own, so that a checkpoint holds them and nothing else."""

    def __init__(self, lora: TrainableLora) -> None:
        super().__init__()
        for layer, factors in lora.learned.items():
            for name, parameter in factors.items():
                self.register_parameter(f"{layer}.{name}".replace(".", "/"), parameter)


@torch.no_grad()
def change_norm(lora: TrainableLora) -> float:
    """Frobenius norm of what the factors add to all weights together.

    Of a LoRA no weight-sized product is made: |UD|^2 is the sum of (U^T U) * (D D^T).
    """
    squares = [_squared_norm(adapter) for adapter in lora.adapters.values()]
    return float(torch.stack([square.cpu() for square in squares]).sum().sqrt())


def _squared_norm(adapter: Adapter) -> torch.Tensor:
    if not isinstance(adapter, LowRank):
        return adapter.delta().square().sum()
    up, down = adapter.up.float(), adapter.down.float()
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0) * adapter.scale**2


def make_trained(transformer: Transformer, config: AdapterConfig, *, seed: int = 0) -> Trained:
    """What learns by the settings.

    Args:
        transformer: The network, on its device and in its number type.
        config: Settings.
        seed: Of fresh factors.

    Raises:
        ValueError: A name or a pattern fits nothing.
    """
    if config.kind in ("all", "parts"):
        return Weights(transformer, config)
    return Factors(transformer, config, seed=seed)


def _groups(transformer: Transformer, config: AdapterConfig) -> list[tuple[list[nn.Parameter], float]]:
    spellings = _spellings(transformer)
    for setting in ("names", "half_rate_names"):
        for piece in getattr(config, setting):
            if not any(_has(names, (piece,)) for names in spellings.values()):
                example = next(iter(spellings))
                raise ValueError(
                    f"adapter.{setting}: {piece!r} is in no parameter name; the first is {example!r}"
                )
    full: list[nn.Parameter] = []
    half: list[nn.Parameter] = []
    for name, parameter in transformer.named_parameters():
        if config.kind == "parts":
            in_full = _has(spellings[name], config.names)
            in_half = not in_full and _has(spellings[name], config.half_rate_names)
        else:
            in_half = parameter.requires_grad and _has(spellings[name], config.half_rate_names)
            in_full = parameter.requires_grad and not in_half
        full += [parameter] * in_full
        half += [parameter] * in_half
    found = [(full, 1.0), (half, HALF_RATE)]
    return [(parameters, factor) for parameters, factor in found if parameters]


def _spellings(transformer: Transformer) -> dict[str, tuple[str, ...]]:
    """Every name of every parameter: ours, and those of released layouts."""
    config = transformer.config
    family = family_of(config.to_dict())
    maps = [family.released_names(config)]
    if family.is_diffusers_layout is not None:
        maps.append(family.released_names(config, diffusers=True))
    return {
        name: (name, *(key_map.to_released(name) for key_map in maps))
        for name, _ in transformer.named_parameters()
    }


def _has(names: tuple[str, ...], pieces: tuple[str, ...]) -> bool:
    return any(piece == _EVERY_NAME or piece in name for piece in pieces for name in names)
