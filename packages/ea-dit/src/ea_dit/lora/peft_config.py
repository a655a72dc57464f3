"""What PEFT and diffusers write beside the factors: ranks and alphas.

PEFT writes `adapter_config.json` next to `adapter_model.safetensors`. diffusers writes the same settings into
the header of the file, as JSON under `lora_adapter_metadata`, each with the name of its network in front.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ea_kernels.runtime.weights import read_json

CONFIG_NAME = "adapter_config.json"
HEADER_KEY = "lora_adapter_metadata"
NETWORK = "transformer."
_PEFT_FILE = "adapter_model"
_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "lora_bias")


def read_peft_config(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a file, empty where there are none.

    Raises:
        ValueError: If they are damaged, or ask for what is not known here.
    """
    values: dict[str, Any] = {}
    beside = file.with_name(CONFIG_NAME)
    if HEADER_KEY in metadata:
        values = _header_values(file, metadata[HEADER_KEY])
    elif file.stem == _PEFT_FILE and beside.is_file():
        values = read_json(beside)
    for key in _UNSUPPORTED:
        if values.get(key):
            raise ValueError(f"{file}: its settings have {key}, which is not supported")
    for key in ("alpha_pattern", "rank_pattern"):
        if not isinstance(values.get(key) or {}, dict):
            raise ValueError(f"{file}: {key} of its settings must be an object")  # noqa: TRY004
    values.setdefault("lora_alpha", values.get("alpha"))  # what LoHa and LoKr call it
    for alpha in (values["lora_alpha"], *(values.get("alpha_pattern") or {}).values()):
        if alpha is not None and not _is_number(alpha):
            raise ValueError(f"{file}: lora_alpha of its settings must be a finite number, got {alpha!r}")
    return values


def alpha_of(values: Mapping[str, Any], layer: str, rank: int | None) -> float | None:
    """Alpha of a layer, None where settings do not say.

    Args:
        values: From `read_peft_config`.
        layer: Its name with dots.
        rank: Its rank.
    """
    if values.get("lora_alpha") is None:
        return None
    alpha = float(_matching(values.get("alpha_pattern") or {}, layer, values["lora_alpha"]))
    # Rank-stabilised LoRA (https://arxiv.org/abs/2312.03732) divides by the root of the rank.
    return alpha * math.sqrt(rank) if values.get("use_rslora") and rank is not None else alpha


def whole_scale(values: Mapping[str, Any], layer: str) -> float:
    """The factor of a LoKr of two whole matrices: PEFT divides by the rank of its settings even so."""
    rank = _matching(values.get("rank_pattern") or {}, layer, values.get("r"))
    alpha = alpha_of(values, layer, None)
    usable = values.get("peft_type") == "LOKR" and alpha is not None and _is_number(rank) and rank > 0
    return alpha / rank if usable and alpha is not None else 1.0


def make_peft_config(layers: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """Settings for layers with their ranks and alphas, as PEFT understands them."""
    rank = Counter(rank for rank, _ in layers.values()).most_common(1)[0][0]
    alpha = Counter(alpha for _, alpha in layers.values()).most_common(1)[0][0]
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": _plain(alpha),
        "rank_pattern": {_exactly(name): own for name, (own, _) in layers.items() if own != rank},
        "alpha_pattern": {_exactly(name): _plain(own) for name, (_, own) in layers.items() if own != alpha},
        "target_modules": sorted(layers),
        "bias": "none",
    }


def header_text(values: Mapping[str, Any]) -> str:
    """Settings as diffusers puts them into a header."""
    return json.dumps({NETWORK + key: value for key, value in values.items()}, indent=2, sort_keys=True)


def _header_values(file: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(str(text))
    except ValueError as error:
        raise ValueError(f"{file}: {HEADER_KEY} in its header is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: {HEADER_KEY} in its header must be a JSON object")  # noqa: TRY004
    return {key.removeprefix(NETWORK): value for key, value in content.items()}


def _matching(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value of the first pattern that fits the end of a name, as PEFT looks it up."""
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", layer):
                return value
        except re.error:
            raise ValueError(f"alpha_pattern {pattern!r} is no regular expression") from None
    return default


def _exactly(layer: str) -> str:
    """A pattern for one layer: without the anchor it would also fit names that end with this one."""
    return f"^{re.escape(layer)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value
