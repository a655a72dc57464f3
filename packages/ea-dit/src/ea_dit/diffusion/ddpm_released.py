"""The vocabulary of released `scheduler_config.json` files of the DDPM kind."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from ea_dit.config_values import WRITER_KEYS
from ea_kernels.runtime.hints import known_names

CLASS_NAMES = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)

# Keys of released files that decide nothing here: bookkeeping, or options of options that are off.
INERT_KEYS = WRITER_KEYS | {
    "dynamic_thresholding_ratio",
    "flow_shift",
    "sample_max_value",
    "shift_terminal",
    "time_shift_type",
    "variance_type",
}

# Keys that would change the result, with the values that are implemented.
FIXED_KEYS: dict[str, tuple[Any, ...]] = {
    "disable_corrector": ([], None),
    "euler_at_final": (False,),
    "final_sigmas_type": ("zero",),
    "interpolation_type": ("linear",),
    "lambda_min_clipped": (-math.inf,),
    "lower_order_final": (True,),
    "predict_x0": (True,),
    "sigma_max": (None,),
    "sigma_min": (None,),
    "solver_p": (None,),
    "solver_type": ("midpoint", "bh2"),
    "thresholding": (False,),
    "timestep_type": ("discrete",),
    "use_beta_sigmas": (False,),
    "use_dynamic_shifting": (False,),
    "use_exponential_sigmas": (False,),
    "use_flow_sigmas": (False,),
    "use_karras_sigmas": (False,),
    "use_lu_lambdas": (False,),
}


def from_released(values: Mapping[str, Any], *, known: Collection[str]) -> dict[str, Any]:
    """Returns the fields of a schedule.

    Args:
        values: Content of a file.
        known: Fields that have their names in files.

    Raises:
        ValueError: For an unknown key, or a value that is not implemented, naming it.
    """
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name in known:
            given[name] = value
        elif name == "_class_name":
            given["class_name"] = value
        elif name in FIXED_KEYS:
            require_one_of(name, value, FIXED_KEYS[name])
        elif name not in INERT_KEYS:
            raise ValueError(f"scheduler config: unknown key {name!r}; {known_names(name, known)}")
    betas = given.get("trained_betas")
    if betas is not None:
        if not isinstance(betas, list | tuple):
            raise ValueError(f"scheduler config: trained_betas must be a list of numbers, got {betas!r}")
        given["trained_betas"] = tuple(betas)
    return given


def require_one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Refuses a value that is not among those allowed.

    Raises:
        ValueError: Naming the key and what is allowed.
    """
    if value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise ValueError(f"scheduler config: {name} must be {choices}, got {value!r}")
