"""Several LoRA files over one transformer: checked by their headers, then read and put on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ea_dit.lora.document import read_lora, read_lora_header
from ea_dit.lora.matching import Report, match
from ea_dit.lora.overlay import Overlay, attach, check_strength
from ea_dit.lora.targets import Targets, targets_of
from ea_dit.registry import Transformer


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """A file and how it is used.

    Attributes:
        path: The file, or PEFT's folder.
        strength: What its change is multiplied with, -100 ... 100.
        strict: Refuse a file of which anything is left over.
    """

    path: Path
    strength: float = 1.0
    strict: bool = True

    def __post_init__(self) -> None:
        """Refuse a strength that is none."""
        try:
            check_strength(self.strength)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None


def check_loras(
    uses: Sequence[LoraUse], targets: Targets, *, allow_pickle: bool = False
) -> tuple[Report, ...]:
    """Tells how files fit a transformer, by their headers.

    Raises:
        ValueError: As `read_lora_header` and `Report.check`.
    """
    reports: list[Report] = []
    for use in uses:
        report = match(read_lora_header(use.path, allow_pickle=allow_pickle), targets)
        report.check(strict=use.strict)
        reports.append(report)
    return tuple(reports)


def attach_loras(
    network: Transformer,
    uses: Sequence[LoraUse],
    targets: Targets | None = None,
    *,
    allow_pickle: bool = False,
) -> tuple[Overlay, ...]:
    """Puts files over a transformer, the first innermost; their changes add up.

    Raises:
        ValueError: As `read_lora` and `attach`.
    """
    if uses and targets is None:
        targets = targets_of(network.config)
    return tuple(
        attach(
            network,
            read_lora(use.path, allow_pickle=allow_pickle),
            strength=use.strength,
            strict=use.strict,
            targets=targets,
        )
        for use in uses
    )
