"""Which networks can have their calls recorded as CUDA graphs, see `ea_kernels.runtime.graphs`."""

import torch

from ea_dit.families.mmdit import MMDiT
from ea_dit.families.pixart_motion import PixArtMotion
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.registry import Transformer
from ea_kernels.runtime.graphs import ENVIRONMENT, GraphedNetwork, refusal
from ea_kernels.runtime.placement import Placement

RECORDED = (MMDiT, PixArtMotion)
"""Families whose calls neither read numbers off the device nor bring any to it."""


def check_graphs(graphs: GraphedNetwork, transformer: Transformer, placement: Placement | None) -> None:
    """Refuses networks that cannot be recorded.

    Args:
        graphs: Recordings.
        transformer: What they must be of.
        placement: Where its weights are; None if they stay.

    Raises:
        ValueError: With the reason.
    """
    if not isinstance(transformer, RECORDED):
        names = " and ".join(family.__name__ for family in RECORDED)
        name = type(transformer).__name__
        raise refusal(f"{name} works out numbers of every call on the CPU; only {names} do not")
    if placement is not None and not placement.policy.resident:
        raise refusal(f"memory {placement.mode} moves weights between calls; use model_full_load")
    if graphs.network is not transformer:
        raise ValueError("graphs must be of the transformer, got those of another network")


def check_graphed(graphs: GraphedNetwork, device: torch.device, request: GenerationRequest) -> None:
    """Refuses what cannot be replayed, before anything is computed.

    Args:
        graphs: Of the transformer.
        device: Where it is used.
        request: Leaving out the blocks of steps is decided by numbers that each step gives.

    Raises:
        ValueError: With the reason.
    """
    graphs.check(device)
    if request.teacache_threshold is not None:
        raise ValueError(
            f"teacache_threshold cannot be used with {ENVIRONMENT}: every step decides what it computes"
        )
