"""How fast are forward and backward of an MMDiT, beside diffusers' transformer?

Without optimiser and trainer, which `training_step` adds. Gate: the gradients of the first and of a middle
layer are the same. Needs diffusers.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from peer_models import LATENTS, MMDIT, TEXT, at_released_positions, mmdit_inputs, save_mmdit
from quiet import load
from report import Report
from turns import Cases, pair

SAME = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--turns", type=int, default=12, help="measured passes of each [default: 12]")
    parser.add_argument("--threads", type=int, default=2, help="of torch [default: 2]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    with tempfile.TemporaryDirectory() as folder:
        models = save_mmdit(Path(folder))
        with pair(_ours, _theirs, models, threads=arguments.threads) as both:
            error = both.check("gate", most=SAME)
            found = both.measure("training", arguments.turns)
    return Report(
        figures=found.figures("training"),
        gate={"gradient_error": error},
        settings={"network": MMDIT, "latents": LATENTS, "text": TEXT, "threads": arguments.threads},
        details={"training": found.details(), **before},
    )


def _ours(models: dict[str, Path]) -> Cases:
    from ea_dit import load_transformer

    hidden, text = mmdit_inputs()
    network: Any = load_transformer(models["ours"], dtype=torch.float32).train()
    middle = network.blocks[1].attention.video.query.weight

    def passes() -> Tensor:
        out = network(hidden, torch.tensor([500.0]), text)
        return _gradients(network, out, (network.patch_embed.weight, middle))

    return {"training": passes, "gate": passes}


def _theirs(models: dict[str, Path]) -> Cases:
    from diffusers import EasyAnimateTransformer3DModel

    hidden, text = mmdit_inputs()
    network: Any = EasyAnimateTransformer3DModel.from_pretrained(models["diffusers"]).train()
    middle = network.transformer_blocks[1].attn1.to_q.weight

    def passes() -> Tensor:
        out = network(hidden, torch.tensor([500.0]), encoder_hidden_states=text, return_dict=False)[0]
        return _gradients(network, out, (network.proj.weight, middle))

    return {"training": passes, "gate": at_released_positions(network, passes)}


def _gradients(network: nn.Module, out: Tensor, of: tuple[Tensor, ...]) -> Tensor:
    network.zero_grad(set_to_none=True)
    out.square().mean().backward()
    grads = [weight.grad.flatten() for weight in of if weight.grad is not None]
    return torch.cat([grad / grad.abs().max() for grad in grads])
