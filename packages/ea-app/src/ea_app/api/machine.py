"""What a model is loaded for: device, number types, memory mode."""

from collections.abc import Mapping
from typing import Any

from ea_dit.pipelines.number_types import NumberTypes

MACHINE = ("device", "dtype", "vae_dtype", "memory")
"""Keys of the options that say it."""


def machine_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Engine.load` from options; what is not given is "auto"."""
    device, dtype, vae_dtype, memory = (str(given.get(key, "auto")) for key in MACHINE)
    return {"device": device, "dtype": NumberTypes(dtype, vae_dtype), "memory": memory}
