"""What an option is, and what a model makes of the options."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "int", "float", "size", "file", "files", "keyframes", "numbers", "choice", "url"]

SIDE_MULTIPLE = 16
"""Of most models; what a model really wants is in its `Limits`."""
MAX_SEED = 2**63 - 1
MAX_FRAMES = 36_000
"""In windows."""
FROM_MODEL = "of the model"
KEYFRAME = "keyframe"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        name: Its flag without dashes.
        kind: What its value is.
        help: One line.
        group: Heading in help and interface.
        default: Value when it is not given; `FROM_MODEL` when the model decides, None when there is none.
        minimum: Smallest number.
        maximum: Largest number.
        above: The minimum itself is not allowed.
        choices: Allowed words.
        many: It may be given several times; its value is a list.
        metavar: Placeholder in help.
    """

    name: str
    kind: Kind
    help: str
    group: str
    default: str | float | None = None
    minimum: float = 0
    maximum: float = 0
    above: bool = False
    choices: tuple[str, ...] = ()
    many: bool = False
    metavar: str | None = None

    @property
    def key(self) -> str:
        """Its name as a Python identifier."""
        return self.name.replace("-", "_")

    def allowed(self) -> str:
        """What is allowed, in words; empty for texts and files."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in ("int", "float"):
            return ""
        kind = "a whole number" if self.kind == "int" else "a number"
        end = str(MAX_SEED) if self.maximum == MAX_SEED else f"{self.maximum:g}"
        return f"{kind} from {'above ' if self.above else ''}{self.minimum:g} to {end}"

    def describe(self) -> str:
        """The help line with what is allowed and the default."""
        notes = [self.allowed()] if self.allowed() else []
        if self.default not in (None, ""):
            notes.append(f"default: {'the model decides' if self.default == FROM_MODEL else self.default}")
        return f"{self.help} [{'; '.join(notes)}]" if notes else self.help


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one model allows and prefers.

    Attributes:
        width: Default width, pixels.
        height: Default height, pixels.
        frames: Default number of frames.
        steps: Default number of steps.
        guidance: Default guidance scale.
        fps: Default frames per second.
        min_side: Smallest width or height.
        max_side: Largest width or height.
        side_multiple: Width and height are multiples of this.
        max_frames: Largest number of frames.
        max_prompt_bytes: Longest prompt in UTF-8 bytes, None when there is no hard limit.
    """

    width: int
    height: int
    frames: int
    steps: int
    guidance: float
    fps: int
    min_side: int
    max_side: int
    side_multiple: int = SIDE_MULTIPLE
    max_frames: int
    max_prompt_bytes: int | None
