"""How fast is one pass of an MMDiT, and what memory does it take, beside diffusers' transformer?

The same weights see the same latents, text and timestep in turns, each program in its own process. Gate: both
predict the same. With `--compile` once more with compiled blocks. Needs diffusers.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peer_models import LATENTS, MMDIT, TEXT, at_released_positions, mmdit_inputs, save_mmdit
from quiet import load
from report import Report
from turns import Cases, pair

SAME = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--turns", type=int, default=20, help="measured passes of each [default: 20]")
    parser.add_argument("--threads", type=int, default=2, help="of torch [default: 2]")
    parser.add_argument("--compile", action="store_true", help="with compiled blocks too (minutes)")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    cases = ("forward", "compiled") if arguments.compile else ("forward",)
    with tempfile.TemporaryDirectory() as folder:
        models = save_mmdit(Path(folder))
        with pair(_ours, _theirs, models, threads=arguments.threads) as both:
            error = both.check("gate", most=SAME)
            found = {case: both.measure(case, arguments.turns) for case in cases}
    return Report(
        figures={name: value for case in cases for name, value in found[case].figures(case).items()},
        gate={"error": error},
        settings={"network": MMDIT, "latents": LATENTS, "text": TEXT, "threads": arguments.threads},
        details={**{case: turns.details() for case, turns in found.items()}, **before},
    )


def _ours(models: dict[str, Path]) -> Cases:
    from ea_dit import load_transformer

    hidden, text = mmdit_inputs()

    def network() -> Any:
        return load_transformer(models["ours"], dtype=torch.float32).eval()

    def passes(network: Any) -> Callable[[], Tensor]:
        return torch.inference_mode()(lambda: network(hidden, torch.tensor([500.0]), text))

    def compiled() -> Callable[[], Tensor]:
        other = network()
        for block in other.blocks:
            block.compile()
        return passes(other)

    forward = passes(network())
    return {"forward": forward, "gate": forward, "compiled": _lazily(compiled)}


def _theirs(models: dict[str, Path]) -> Cases:
    from diffusers import EasyAnimateTransformer3DModel

    hidden, text = mmdit_inputs()

    def network() -> Any:
        return EasyAnimateTransformer3DModel.from_pretrained(models["diffusers"]).eval()

    def passes(network: Any) -> Callable[[], Tensor]:
        given = {"encoder_hidden_states": text, "return_dict": False}
        return torch.inference_mode()(lambda: network(hidden, torch.tensor([500.0]), **given)[0])

    def compiled() -> Callable[[], Tensor]:
        other = network()
        for block in other.transformer_blocks:
            block.compile()
        return passes(other)

    plain = network()
    forward = passes(plain)
    return {
        "forward": forward,
        "gate": at_released_positions(plain, forward),
        "compiled": _lazily(compiled),
    }


def _lazily(make: Callable[[], Callable[[], Tensor]]) -> Callable[[], Tensor]:
    """What is not asked for is not built, and does not count in the memory of the rest."""
    built: list[Callable[[], Tensor]] = []

    def run() -> Tensor:
        if not built:
            built.append(make())
        return built[0]()

    return run
