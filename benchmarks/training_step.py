"""How fast is a training step, and how much memory does it take, beside diffusers driven by accelerate?

The same MMDiT with the same weights learns from the same latents, noise and noise levels: once in `Trainer`
with the denoise task, once as diffusers' transformer with AdamW and clipped gradients, as training scripts
have it. Their steps take turns in one process, and processor time is counted, which other programs on the
machine change little. Memory is the peak of a process of its own for each. Gate: the losses of both are the
same, before and after the first step. Needs diffusers and accelerate.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from memory import peak_gigabytes
from peer_models import LATENTS, MMDIT, SEED, TEXT, mmdit_inputs, save_mmdit
from report import GateError, Report, spread

OPTIM = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
MAX_NORM = 1.0
SAME = 1e-4
WARM_UP = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--steps", type=int, default=12, help="measured steps of each [default: 12]")
    parser.add_argument("--threads", type=int, default=1, help="of torch [default: 1]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    steps, threads = arguments.steps, arguments.threads
    with tempfile.TemporaryDirectory() as folder:
        model = save_mmdit(Path(folder))
        found = _alone(_timed, model, steps, threads)
        gate = _check(found)
        peaks = {name: _alone(_peak, model, name, threads) for name in ("ours", "diffusers")}
    ratios = [theirs / ours for ours, theirs in zip(found["ours"], found["diffusers"], strict=True)]
    figures = {
        "throughput_ratio": statistics.median(ratios),
        "peak_memory_ratio": peaks["ours"]["gigabytes"] / peaks["diffusers"]["gigabytes"],
        "step_memory_ratio": peaks["ours"]["of_steps"] / peaks["diffusers"]["of_steps"],
        "seconds_per_step": statistics.median(found["ours"]),
        "diffusers_seconds_per_step": statistics.median(found["diffusers"]),
        "gflops": found["flops"] / statistics.median(found["ours"]) / 1e9,
    }
    settings = {
        "network": MMDIT,
        "latents": LATENTS,
        "text": TEXT,
        "optimiser": f"AdamW, float32, gradients clipped at {MAX_NORM:g}",
        "threads": threads,
        "seconds": "of processor time; the two take turns, the ratio is the median over the turns",
    }
    details = {
        "ours": spread(found["ours"]),
        "diffusers": spread(found["diffusers"]),
        "ratio": spread(ratios),
    }
    return Report(figures=figures, gate=gate, settings=settings, details={**details, "memory": peaks})


class _FixedSource:
    """One batch, encoded already."""

    def __init__(self) -> None:
        self.latents, self.text = mmdit_inputs()
        self.inputs: dict[str, str] = {}

    def batch(self, seed: int, place: Any, size: int) -> dict[str, Any]:
        del seed, place, size
        return {"latents": self.latents, "text": self.text}

    def prepare(self, batch: dict[str, Any], generator: torch.Generator) -> Any:
        from ea_dit.text.base import TextStates
        from ea_train.tasks.denoise_source import Sample

        del generator
        mask = torch.ones(TEXT[:2], dtype=torch.bool)
        return Sample(latents_BCthw=batch["latents"], text=TextStates(batch["text"], mask))

    def held_out(self) -> Iterator[dict[str, Any]]:
        return iter(())


def _objective() -> Any:
    from ea_dit.diffusion.flow import FlowMatching
    from ea_train.objectives.errors import ErrorConfig
    from ea_train.objectives.flow import FlowObjective

    return FlowObjective(flow=FlowMatching(), errors=ErrorConfig(limit=0.0))


def _trainer(model: Path, output: Path, steps: int, after_step: Callable[[int], None]) -> Any:
    from ea_dit import load_transformer
    from ea_train import Trainer
    from ea_train.config import LoopConfig, OptimConfig, RunConfig
    from ea_train.tasks.denoise import DenoiseTask

    config = RunConfig(
        loop=LoopConfig(steps=steps, batch_size=1, ema_decay=0.0, log_every=1000, seed=SEED),
        optim=OptimConfig(
            kind="adamw",
            warmup_steps=0,
            decay="constant",
            decay_vectors=True,
            max_grad_norm=MAX_NORM,
            **OPTIM,
        ),
    )
    task = DenoiseTask(load_transformer(model, dtype=torch.float32), _FixedSource(), _objective())
    return Trainer(task, config, output, device=torch.device("cpu"), after_step=after_step)


def _baseline(model: Path) -> Callable[[int], float]:
    """A step of diffusers' transformer, by its number; returns its loss."""
    from accelerate import Accelerator
    from diffusers import EasyAnimateTransformer3DModel

    accelerator = Accelerator(cpu=True)
    network = EasyAnimateTransformer3DModel.from_pretrained(model)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), **OPTIM)
    network, optimizer = accelerator.prepare(network, optimizer)
    latents, text = mmdit_inputs()

    def step(number: int) -> float:
        noise, sigma = _draw(latents, number)
        with accelerator.accumulate(network):
            noisy = (1 - sigma) * latents + sigma * noise
            timestep = (sigma * 1000).flatten()
            prediction = network(noisy, timestep, encoder_hidden_states=text, return_dict=False)[0]
            loss = torch.nn.functional.mse_loss(prediction.float(), (noise - latents).float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    return step


def _draw(latents: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and its share, as the trainer draws them for this step."""
    from ea_train.loop.seeding import seed_at
    from ea_train.objectives.levels import Ranks

    generator = torch.Generator().manual_seed(seed_at(SEED, number))
    drawn = _objective().draw(latents, generator, Ranks())
    return drawn.noise_BCthw, drawn.level_B.view(-1, 1, 1, 1, 1).float()


def _timed(model: dict[str, Path], steps: int, threads: int) -> dict[str, Any]:
    """Seconds of processor time of every step of both, and the losses of the first two."""
    torch.set_num_threads(threads)
    found: dict[str, Any] = {"ours": [], "diffusers": [], "losses": []}
    theirs = _baseline(model["diffusers"])
    losses: list[float] = []
    started = 0.0

    def after_step(step: int) -> None:
        nonlocal started
        middle = time.process_time()
        losses.append(theirs(step - 1))
        end = time.process_time()
        if step > WARM_UP:
            found["ours"].append(middle - started)
            found["diffusers"].append(end - middle)
        started = time.process_time()

    with tempfile.TemporaryDirectory() as output:
        trainer = _trainer(model["ours"], Path(output), steps + WARM_UP + 1, after_step)
        ours = _keep_losses(trainer)
        # The last step is logged and saved, so it is one more than is measured.
        trainer.fit()
        found["ours"].pop()
        found["diffusers"].pop()
        found["flops"] = trainer._flops
    found["losses"] = [ours[:2], losses[:2]]
    return found


def _keep_losses(trainer: Any) -> list[float]:
    losses: list[float] = []
    step = trainer.task.step

    def kept(*arguments: Any) -> Any:
        output = step(*arguments)
        losses.append(float(output.losses["generator"].detach()))
        return output

    trainer.task.step = kept
    return losses


def _peak(model: dict[str, Path], name: str, threads: int) -> dict[str, float]:
    """The most memory of a process, and how much of it came with the first steps."""
    torch.set_num_threads(threads)
    if name == "diffusers":
        step = _baseline(model["diffusers"])
        _draw(mmdit_inputs()[0], 0)
        built = peak_gigabytes()
        for number in range(3):
            step(number)
        return {"gigabytes": peak_gigabytes(), "of_steps": peak_gigabytes() - built}
    peaks: list[float] = []
    with tempfile.TemporaryDirectory() as output:
        trainer = _trainer(model["ours"], Path(output), 4, lambda step: peaks.append(peak_gigabytes()))
        built = peak_gigabytes()
        trainer.fit()
    return {"gigabytes": peaks[2], "of_steps": peaks[2] - built}


def _alone(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def _check(found: dict[str, Any]) -> dict[str, float]:
    """The same loss at the first step, and after it."""
    ours, theirs = found["losses"]
    apart = {
        name: abs(a - b) / abs(b)
        for name, a, b in zip(("first_loss_apart", "second_loss_apart"), ours, theirs, strict=True)
    }
    if not max(apart.values()) < SAME:
        raise GateError(f"the losses are {ours} here and {theirs} with diffusers: not the same")
    return {**apart, "first_loss": ours[0], "second_loss": ours[1]}
