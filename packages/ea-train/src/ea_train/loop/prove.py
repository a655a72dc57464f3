"""Whether a run that is killed ends with the bits of one that is not, tried out."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ea_train.loop import checkpoint

_COMMAND = [sys.executable, "-c", "from ea_train.cli import main; raise SystemExit(main())"]
_KILLED = (-9, 137)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What both ways of training gave.

    Attributes:
        continued_from: Step of the checkpoint that the killed run went on from.
        tensors: How many were compared: weights, averages, optimiser states.
        size: Their bytes.
        different: Names of those that are not the same bit for bit.
        largest: Greatest difference of a number; nan where sizes differ.
    """

    continued_from: int
    tensors: int
    size: int
    different: list[str]
    largest: float

    def __str__(self) -> str:
        """One line."""
        if not self.different:
            return f"{self.tensors} tensors, {self.size / 1e6:.1f} MB: every bit is the same"
        return (
            f"{len(self.different)} of {self.tensors} tensors differ, by at most {self.largest:.3g}; "
            f"the first is {self.different[0]}"
        )


def prove_resume(
    recipe: str,
    options: Sequence[str],
    folder: Path,
    *,
    kill_after: int,
    steps: int,
    tell: Callable[[str], None],
) -> Verdict:
    """Train a recipe straight and again with a SIGKILL, in processes of their own, and compare the ends.

    Args:
        recipe: Its name.
        options: Of its command, without `--output`.
        folder: New folder for both runs.
        kill_after: Finished steps after which the process is killed.
        steps: Of both runs.
        tell: Gets a line before each part.

    Raises:
        ValueError: The steps do not fit together, the folder is in use, or a run failed.
    """
    if not 0 < kill_after < steps:
        raise ValueError(f"-k must be from 1 to {steps - 1}, the steps before the last, got {kill_after}")
    if "--dry-run" in options:
        raise ValueError("--dry-run trains nothing, so it proves nothing")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    # The kill comes after a checkpoint, so that some steps are repeated.
    every = max(kill_after - 1, 2)
    sets = [f"--set=loop.steps={steps}", f"--set=loop.checkpoint_every={every}"]

    def train(name: str, *more: str) -> int:
        return _run([recipe, *options, *sets, "--output", str(folder / name), *more])

    tell(f"1/3 {steps} steps without a break")
    _require(train("straight"), 0)
    tell(f"2/3 killed after step {kill_after}")
    _require(train("killed", f"--kill-after={kill_after}"), *_KILLED)
    left = checkpoint.checkpoint_steps(folder / "killed" / "checkpoints")
    continued_from = left[-1] if left else 0
    tell(f"3/3 the same command again, from step {continued_from}")
    _require(train("killed"), 0)
    return _compared(folder, steps, continued_from)


def _run(arguments: list[str]) -> int:
    done = subprocess.run([*_COMMAND, *arguments], check=False, capture_output=True, text=True)
    if done.returncode not in (0, *_KILLED):
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ValueError(lines[-1].removeprefix("ea-train: error: "))
    return done.returncode


def _require(status: int, *expected: int) -> None:
    if status not in expected:
        raise ValueError(
            "the run was over before it could be killed; is the output folder new?"
            if status == 0
            else f"the run was killed by another process (exit status {status})"
        )


def _compared(folder: Path, steps: int, continued_from: int) -> Verdict:
    straight, killed = (_all_tensors(folder / name / "checkpoints", steps) for name in ("straight", "killed"))
    different, largest = [], 0.0
    for name in sorted(straight.keys() | killed.keys()):
        first, second = straight.get(name), killed.get(name)
        if first is None or second is None or first.shape != second.shape or first.dtype != second.dtype:
            different.append(name)
            largest = float("nan")
        elif not torch.equal(_bits(first), _bits(second)):
            different.append(name)
            largest = max(largest, float((first.double() - second.double()).abs().max()))
    size = sum(tensor.nbytes for tensor in straight.values())
    return Verdict(
        continued_from=continued_from,
        tensors=len(straight),
        size=size,
        different=different,
        largest=largest,
    )


def _all_tensors(folder: Path, steps: int) -> dict[str, Tensor]:
    if steps not in checkpoint.checkpoint_steps(folder):
        raise ValueError(f"{folder} has no checkpoint of step {steps}")
    tensors, _ = checkpoint.load(folder, steps)
    return {f"{stem}.{name}": value for stem, values in tensors.items() for name, value in values.items()}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)  # nan equals nan, and -0.0 is not 0.0
