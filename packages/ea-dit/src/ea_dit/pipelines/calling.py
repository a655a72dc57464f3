"""Calling a network with its text bound, for training and inference alike."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ea_dit.pipelines.variants import Traits
from ea_dit.registry import Transformer
from ea_dit.text.base import TextStates


def bind_text(
    network: Transformer | Callable[..., Tensor], traits: Traits, text: TextStates, **options: Any
) -> Callable[..., Tensor]:
    """The network's call with the text bound, as far as it reads it.

    Args:
        network: The network, or what is called in its place.
        traits: What it reads.
        text: States of every sample of a batch, on its device and in its dtype.
        **options: Of every call, such as `recompute`.

    Returns:
        Called with noisy latents, timesteps and, by keyword, `conditioning`.

    Raises:
        ValueError: The network reads two text encoders and the text has states of one.
    """
    states: list[Tensor] = [text.states_BLE]
    masks: dict[str, Any] = {}
    if traits.text.passes_mask:
        masks["text_mask_BM"] = text.mask_BL
    if len(traits.text.widths) > 1:
        if text.second is None:
            raise ValueError("the loaded model reads two text encoders, got the states of one")
        states.append(text.second.states_BLE)
        if traits.text.passes_mask:
            masks["second_text_mask_BN"] = text.second.mask_BL

    def call(noisy_BCthw: Tensor, timestep_B: Tensor, **conditions: Any) -> Tensor:
        return network(noisy_BCthw, timestep_B, *states, **masks, **options, **conditions)

    return call
