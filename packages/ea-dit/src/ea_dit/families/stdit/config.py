"""Configuration of the STDiT family, in the vocabulary of Open-Sora's constructors and released files.

Open-Sora 1.0 published bare weights, 1.1 a `config.json` of transformers. What neither writes down is an
explicit field here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from ea_dit.config_values import require_given, require_size, require_whole
from ea_kernels.runtime.hints import known_names

STDIT = "STDiT"
STDIT2 = "STDiT2"
CLASS_NAMES = (STDIT, STDIT2)

# What is written beside the network, by transformers: names, versions, and how to compute the same numbers.
_BOOKKEEPING = frozenset(
    {
        "_class_name",
        "_name_or_path",
        "architectures",
        "auto_map",
        "dtype",
        "enable_flash_attn",
        "enable_flashattn",
        "enable_layernorm_kernel",
        "enable_sequence_parallelism",
        "model_type",
        "torch_dtype",
        "transformers_version",
    }
)
_ONLY_STDIT = ("space_scale", "time_scale")
_ONLY_STDIT2 = ("qk_norm", "input_sq_size")
_WHOLE_NUMBERS = (
    "hidden_size",
    "depth",
    "num_heads",
    "in_channels",
    "caption_channels",
    "model_max_length",
    "input_sq_size",
)

Size = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, kw_only=True)
class STDiTConfig:
    """Everything that decides the network and how it is fed.

    Attributes:
        architecture: "STDiT" (Open-Sora 1.0: additive positions, no size or length conditions) or "STDiT2"
            (1.1: rotary temporal positions, query and key norms, conditions).
        hidden_size: Width of the tokens, a multiple of 4, of the heads, and for STDiT2 of 3.
        depth: Blocks.
        num_heads: Heads.
        mlp_ratio: Hidden width of the MLP over the width.
        in_channels: Latent channels.
        pred_sigma: Whether the output has a second half of channels, the variance.
        patch_size: Frames, rows and columns of a patch.
        input_size: Latent frames, rows and columns that a 1.0 model was made for. Positions are computed for
            the input that comes, so it is a record.
        space_scale: STDiT: spatial positions are divided by it (released: 0.5 at 256x256, 1 at 512x512).
        time_scale: STDiT: temporal positions are divided by it (1 for 16 frames, 2/3 for 64).
        input_sq_size: STDiT2: side in pixels at which spatial positions are not scaled.
        qk_norm: STDiT2: RMSNorm on the queries and keys of self-attention.
        caption_channels: Width of the text encoder's states.
        model_max_length: Tokens of a caption, and of the stored null caption (1.0: 120, 1.1: 200).
        class_dropout_prob: Share of captions that training replaces by the null caption.
        drop_path: Must be 0.
        no_temporal_pos_emb: Must be false.
        freeze: What training leaves as it is: None, "not_temporal" (all but temporal attention) or "text"
            (cross-attention).
    """

    architecture: Literal["STDiT", "STDiT2"] = STDIT2
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    in_channels: int = 4
    pred_sigma: bool = True
    patch_size: tuple[int, int, int] = (1, 2, 2)
    input_size: Size = (None, None, None)
    space_scale: float = 1.0
    time_scale: float = 1.0
    input_sq_size: int = 512
    qk_norm: bool = True
    caption_channels: int = 4096
    model_max_length: int = 200
    class_dropout_prob: float = 0.1
    drop_path: float = 0.0
    no_temporal_pos_emb: bool = False
    freeze: Literal["not_temporal", "text"] | None = None

    def __post_init__(self) -> None:
        """Refuses what this implementation does not compute."""
        _require("architecture", self.architecture, CLASS_NAMES)
        _require("drop_path", self.drop_path, (0,))
        _require("no_temporal_pos_emb", self.no_temporal_pos_emb, (False,))
        _require("freeze", self.freeze, (None, "not_temporal", "text"))
        require_whole(self, _WHOLE_NUMBERS)
        for name, sizes in (("patch_size", self.patch_size), ("input_size", self.input_size)):
            if not isinstance(sizes, list | tuple) or len(sizes) != 3:
                raise ValueError(f"{name} must be three numbers (frames, rows, columns), got {sizes!r}")
            object.__setattr__(self, name, tuple(sizes))
            for size in sizes:
                if name == "patch_size" or size is not None:
                    require_size(name, size)
        for name in ("mlp_ratio", *_ONLY_STDIT):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        self._check_width()

    def _check_width(self) -> None:
        factors = [4, self.num_heads]
        if self.is_stdit2:
            factors += [3, 2 * self.num_heads]  # height, width and aspect share the width; rotary pairs
        for factor in factors:
            if self.hidden_size % factor:
                raise ValueError(f"hidden_size must be a multiple of {factor}, got {self.hidden_size}")

    @property
    def is_stdit2(self) -> bool:
        """Whether the network is that of Open-Sora 1.1."""
        return self.architecture == STDIT2

    @property
    def head_dim(self) -> int:
        """Channels of one head."""
        return self.hidden_size // self.num_heads

    @property
    def normalises_queries(self) -> bool:
        """Whether self-attention has query and key norms."""
        return self.is_stdit2 and self.qk_norm

    @property
    def prediction_channels(self) -> int:
        """Channels of the output: the noise, then the variance if it is learned."""
        return 2 * self.in_channels if self.pred_sigma else self.in_channels

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released `config.json`, or the arguments of the original constructors.

        The architecture is the file's `architectures` or `model_type`; without them, arguments that only one
        of the two classes has tell it.

        Raises:
            ValueError: For a key that is unknown and a value that is not supported, naming the key.
        """
        architecture = architecture_of(values)
        if architecture is None:
            raise ValueError(f"the config is of neither class of Open-Sora: {' or '.join(CLASS_NAMES)}")
        foreign = _ONLY_STDIT if architecture == STDIT2 else _ONLY_STDIT2
        known = {field.name for field in fields(cls)} - set(foreign)
        unknown = sorted(set(values) - known - _BOOKKEEPING)
        if unknown:
            raise ValueError(
                f"unknown key {unknown[0]!r} for {architecture}; {known_names(unknown[0], known)}"
            )
        require_given(values, ("hidden_size", "depth", "num_heads"))
        given: dict[str, Any] = {name: value for name, value in values.items() if name in known}
        given["architecture"] = architecture
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `config.json` would hold it."""
        values = asdict(self)
        architecture = values.pop("architecture")
        for name in _ONLY_STDIT if self.is_stdit2 else _ONLY_STDIT2:
            del values[name]
        values |= {"patch_size": list(self.patch_size), "input_size": list(self.input_size)}
        return {"architectures": [architecture], "model_type": architecture, **values}


def architecture_of(values: Mapping[str, Any]) -> str | None:
    """Returns the class that a config is of, None if it is no STDiT's."""
    names = [values.get("architecture"), values.get("_class_name"), values.get("model_type")]
    names += values.get("architectures") or []
    for name in names:
        for known in CLASS_NAMES:
            if isinstance(name, str) and name.lower() == known.lower():
                return known
    if any(name is not None for name in names) or not {"hidden_size", "caption_channels"} <= set(values):
        return None
    if any(name in values for name in _ONLY_STDIT2):
        return STDIT2
    return STDIT if any(name in values for name in _ONLY_STDIT) else None


def _require(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, got {value!r}")
