"""How fast does the autoencoder of V5.1 encode and decode, and in what memory, beside diffusers?

The same random weights and pixels in turns, each program in its own process. Gate: both give the same means
and the same pixels. Needs diffusers.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peer_models import LATENTS, VAE_CHANNELS, save_vae
from quiet import load
from report import Report
from turns import Cases, Turns, pair

SIZES = {"17x128": (17, 128), "49x256": (49, 256)}
"""Frames and side."""
SAME = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--turns", type=int, default=4, help="passes of the small clip [default: 4]")
    parser.add_argument("--long-turns", type=int, default=1, help="of the large one [default: 1]")
    parser.add_argument("--threads", type=int, default=2, help="of torch [default: 2]")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="[default: both]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    found: dict[str, Turns] = {}
    errors: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = save_vae(Path(folder))
        with pair(_ours, _theirs, model, threads=arguments.threads) as both:
            # The network is the same at both sizes; the small one decides, and warms up.
            for what in ("encode", "decode"):
                errors[f"{what}_error"] = both.check(f"{what}_17x128", most=SAME)
            for size in arguments.sizes:
                turns = arguments.turns if size == "17x128" else arguments.long_turns
                for what in ("encode", "decode"):
                    found[f"{what}_{size}"] = both.measure(f"{what}_{size}", turns)
    return Report(
        figures={name: value for case, turns in found.items() for name, value in turns.figures(case).items()},
        gate=errors,
        settings={
            "network": f"MAGVIT autoencoder of V5.1, channels {', '.join(map(str, VAE_CHANNELS))}",
            "clips": "frames x side, of noise",
            "threads": arguments.threads,
        },
        details={**{case: turns.details() for case, turns in found.items()}, **before},
    )


def _cases(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Cases:
    cases: dict[str, Callable[[], Tensor]] = {}
    for name, (frames, side) in SIZES.items():
        generator = torch.Generator().manual_seed(frames)
        video = torch.rand(1, 3, frames, side, side, generator=generator) * 2 - 1
        shape = (1, LATENTS[1], (frames - 1) // 4 + 1, side // 8, side // 8)
        latents = torch.randn(shape, generator=generator)
        cases[f"encode_{name}"] = torch.inference_mode()(partial(encode, video))
        cases[f"decode_{name}"] = torch.inference_mode()(partial(decode, latents))
    return cases


def _ours(model: Path) -> Cases:
    import ea_vae

    vae = ea_vae.load_vae(model, dtype=torch.float32, device="cpu")
    return _cases(lambda x: vae.encode(x).mode(), vae.decode)


def _theirs(model: Path) -> Cases:
    from diffusers import AutoencoderKLMagvit

    vae: Any = AutoencoderKLMagvit.from_pretrained(model).eval()
    return _cases(
        lambda video: vae.encode(video).latent_dist.mode(), lambda latents: vae.decode(latents).sample
    )
