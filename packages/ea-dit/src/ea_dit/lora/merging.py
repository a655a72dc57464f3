"""Changes of weights on disk, by the names of ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ea_dit.lora.document import LoraFile
from ea_dit.lora.factors import Factors
from ea_dit.lora.load import LoraUse
from ea_dit.lora.matching import match
from ea_dit.lora.targets import Targets


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one LoRA adds to one weight.

    Attributes:
        factors: Of the released layer.
        rows: Those of it that this weight is.
        strength: What they are multiplied with.
    """

    factors: Factors
    rows: slice
    strength: float


def changes_of(loras: Iterable[tuple[LoraFile, LoraUse]], targets: Targets) -> dict[str, list[Change]]:
    """What files change, by our weight names.

    Raises:
        ValueError: If one does not fit, see `Report.check`.
    """
    changes: dict[str, list[Change]] = {}
    for file, use in loras:
        report = match(file.header, targets)
        report.check(strict=use.strict)
        for found in report.matched:
            factors = file.factors(found.layer)
            for part in found.target.parts:
                change = Change(factors=factors, rows=slice(part.start, part.stop), strength=use.strength)
                changes.setdefault(f"{part.layer}.weight", []).append(change)
    return {name: own for name, own in changes.items() if any(change.strength for change in own)}


def merged(weight: Tensor, changes: Sequence[Change]) -> Tensor:
    """The float32 sum of a weight and its changes, rounded once to the weight's number type."""
    own = [change for change in changes if change.strength != 0]
    if not own:
        return weight
    total = own[0].factors.delta()[own[0].rows] * own[0].strength
    for change in own[1:]:
        total = total + change.factors.delta()[change.rows] * change.strength
    return (weight.float() + total.reshape(weight.shape)).to(weight.dtype)
