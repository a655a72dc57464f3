"""What the checks compare with."""

from dataclasses import dataclass

__all__ = ["LintOptions"]


@dataclass(frozen=True, kw_only=True)
class LintOptions:
    """Thresholds and sizes of a run.

    Attributes:
        deep: Decode every frame, not only some of each file.
        timeout: Seconds that one file may take.
        workers: Processes that read files, 1 to 256.
        epochs: Epochs that are counted, 1 to 1000.
        repeated: So many rows with one caption are a finding.
        aspect: A longest side of more times the shortest is a finding.

    Raises:
        ValueError: A value out of its range.
    """

    deep: bool = False
    timeout: float = 60.0
    workers: int = 1
    epochs: int = 1
    repeated: int = 10
    aspect: float = 4.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        ranges = {
            "timeout": (0.1, 86_400),
            "workers": (1, 256),
            "epochs": (1, 1000),
            "repeated": (2, 1_000_000_000),
            "aspect": (1, 1000),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name):g}; allowed: {least:g} to {most:g}")
