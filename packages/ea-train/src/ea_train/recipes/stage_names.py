"""Names of the stages of `ea_train.recipes.stage`, for a command line that loads none of them."""

from typing import Final

STAGE_NAMES: Final = (
    "paper-images",
    "paper-motion",
    "paper-whole",
    "paper-quality",
    "v4-images",
    "v4-9216",
    "v4-36864",
    "v4-82944",
    "v4-147456",
    "v5-images",
    "v5-3328",
    "v5-13312",
    "v5-13312-i2v",
    "v5-53248-i2v",
    "v5-control-13312",
    "v5-control-53248",
    "v5.1-images",
    "v5.1-3328",
    "v5.1-13312",
    "v5.1-13312-i2v",
    "v5.1-53248-i2v",
    "open-sora-1.1-images",
    "open-sora-1.1-1",
    "open-sora-1.1-2",
    "open-sora-1.1-3",
)
TINY: Final = "-tiny"
"""Behind a name: the same stage at a size that a CPU trains on in seconds."""
