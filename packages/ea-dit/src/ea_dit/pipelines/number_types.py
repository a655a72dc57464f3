"""The number type of the autoencoder, which need not be that of the other networks."""

from dataclasses import dataclass

import torch

from ea_dit.pipelines.variants import Traits
from ea_kernels.runtime.device import resolve_dtype


@dataclass(frozen=True)
class NumberTypes:
    """Number types of a model's networks, by name.

    Attributes:
        others: Of all but the autoencoder, see `resolve_dtype`.
        vae: Of the autoencoder, see `resolve_vae_dtype`.
    """

    others: str | torch.dtype = "auto"
    vae: str | torch.dtype = "auto"

    @classmethod
    def of(cls, given: "str | torch.dtype | NumberTypes") -> "NumberTypes":
        """One name stands for all networks."""
        return given if isinstance(given, NumberTypes) else cls(given)

    def resolved(self, device: torch.device, traits: Traits) -> tuple[torch.dtype, torch.dtype]:
        """The number types of the others and of the autoencoder.

        Raises:
            ValueError: On an unknown name.
        """
        others = resolve_dtype(self.others, device)
        return others, resolve_vae_dtype(self.vae, others, traits)


def resolve_vae_dtype(name: str | torch.dtype, others: torch.dtype, traits: Traits) -> torch.dtype:
    """The number type that the autoencoder of a model is run in.

    Args:
        name: "auto" (that of the other networks, but float32 in the place of float16 where the autoencoder
            overflows in it), "same" (that of the others in any case), or one of `resolve_dtype`.
        others: Of the other networks.
        traits: What is known of the model.

    Raises:
        ValueError: On an unknown name.
    """
    check_vae_dtype(name)
    if name == "auto":
        return torch.float32 if traits.vae_overflows and others == torch.float16 else others
    return others if name == "same" else resolve_dtype(name)


def check_vae_dtype(name: str | torch.dtype) -> None:
    """Refuses what is no number type of an autoencoder.

    Raises:
        ValueError: Saying what is allowed.
    """
    try:
        resolve_dtype("auto" if name == "same" else name)
    except ValueError:
        allowed = "auto, same, float32, bfloat16, float16"
        raise ValueError(f"vae_dtype must be one of {allowed}, got {name!r}") from None
