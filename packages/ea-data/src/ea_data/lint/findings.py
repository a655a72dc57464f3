"""What can be found: the rules with their severities, and findings as rows of a report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

__all__ = ["RULES", "Finding", "Rule", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of finding.

    Attributes:
        severity: "error" where the row cannot be trained on, or makes the validation worthless.
        drops: Whether the row is left out of training.
        text: What it means, in a few words.
    """

    severity: Severity
    drops: bool
    text: str


def _drop(text: str) -> Rule:
    return Rule("error", True, text)


def _error(text: str) -> Rule:
    return Rule("error", False, text)


def _warning(text: str) -> Rule:
    return Rule("warning", False, text)


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        # Rows and files
        "row": _drop("the row of the manifest cannot be used"),
        "missing": _drop("there is no such file"),
        "broken": _drop("the file cannot be read, is damaged, or has fewer frames than it declares"),
        "timeout": _drop("reading the file took too long, or ended the process that read it"),
        "type": _drop("a picture is listed as a video, or a video as a picture"),
        "animation": _warning(
            "a picture is an animation, of which the first frame is trained; or the reverse"
        ),
        "short": _drop("the video is too short for the frames, stride and skips of the recipe"),
        "no-bucket": _drop("no bucket of the recipe takes the row"),
        "metadata-frames": _drop(
            "the row declares more frames than the file has, and clips would reach beyond it"
        ),
        # Control
        "control-none": _drop("the recipe trains with control, and the row names no control file"),
        "control-missing": _drop("there is no such control file"),
        "control-broken": _drop("the control file cannot be read"),
        "control-length": _drop("the control video has another number of frames than its video"),
        "control-size": _drop("the control file has other proportions than its file"),
        "camera": _drop("the control file is no camera path, or turns too far between its poses"),
        "camera-none": _warning("the recipe trains with cameras, and the row names none: its rays are zeros"),
        # Pictures
        "frozen": _warning("all frames of the video look the same"),
        "blank": _warning("the video or picture is of one colour, such as black"),
        "small": _warning("the file is smaller than what is trained, and would be enlarged"),
        "aspect": _warning("the file is so long or tall that cropping leaves little of it"),
        "metadata": _warning("the row declares a size, rate or length that the file does not have"),
        "fewer-frames": _warning("the video has fewer frames than the recipe wants; its clip is shorter"),
        # Copies
        "duplicate": _warning("the file has the same content as that of an earlier row"),
        "near-duplicate": _warning("the file looks the same as that of an earlier row"),
        "leak": _error("the file is in the validation manifest too"),
        "near-leak": _error("the file looks the same as one of the validation manifest"),
        # Captions
        "caption-empty": _warning("there is no caption"),
        "caption-short": _warning("the caption is shorter than asked for"),
        "caption-long": _warning("the caption is longer than asked for"),
        "caption-forbidden": _warning("the caption has a word that is not allowed"),
        "caption-repeated": _warning("many rows have this caption"),
        "caption-garbage": _warning("the caption has characters that are no text, or hardly a letter"),
        "caption-mojibake": _warning("the caption was decoded with the wrong encoding"),
        "caption-url": _warning("the caption has a web or mail address"),
        # The whole
        "bucket-small": _warning("a bucket has too few rows to fill one batch"),
        "bucket-lost": _error(
            "a bucket has too few rows to fill one batch, and the recipe drops the remainder"
        ),
        "no-batch": _error("there is nothing to train on"),
    }
)
"""All rules by name. Names are stable: the JSON report uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        rule: A name in `RULES`.
        message: One line with what was found and what is allowed.
        manifest: The manifest of the row; that of training where the finding is about the whole.
        row: Number of the row in its manifest, from 0; None where the finding is about the whole.
        line: Where the row begins; 0 where the finding is about the whole.
        file: As a path; empty where the row names none.
        related: Other rows that it is about, each as MANIFEST:LINE.
    """

    rule: str
    message: str
    manifest: str
    row: int | None = None
    line: int = 0
    file: str = ""
    related: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """Either "error" or "warning"."""
        return RULES[self.rule].severity

    @property
    def drops(self) -> bool:
        """Whether its row is left out of training."""
        return RULES[self.rule].drops

    def as_json(self) -> dict[str, Any]:
        """For the JSON report."""
        return {"severity": self.severity, "drops": self.drops, **asdict(self), "related": list(self.related)}
