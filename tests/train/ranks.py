"""Runs of tiny tasks, for processes that tests start; each argument is one run as JSON."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from ea_train import schema
from ea_train.config import RunConfig
from ea_train.loop import trainer as trainer_module
from ea_train.loop.launch import joined
from ea_train.loop.trainer import Trainer
from ea_train.tasks.base import StepOutput


class Blocks(nn.Module):
    """A stack of layers between two others, as transformers are."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)) for _ in range(2)])
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.last(x)


class RankTask:
    """Regression on rows that are numbered through; a judge comes along where it is asked for."""

    def __init__(self, *, judged=False, stop=None):
        torch.manual_seed(
            int(os.environ.get("RANK", "0"))
        )  # ranks begin apart; the loop brings them together
        self.net = Blocks()
        self.modules = {"net": self.net}
        self.trainable = {"generator": ["net"]}
        self.inputs = {"rows": "numbers"}
        self.stop = stop
        if judged:
            self.judge = nn.Linear(3, 1)
            self.modules["judge"] = self.judge
            self.trainable["discriminator"] = ["judge"]

    def batch(self, seed, place, size):
        rows = [torch.Generator().manual_seed(seed << 16 | (place.batch * size + row)) for row in range(size)]
        return {"x": torch.stack([torch.randn(4, generator=row) for row in rows])}

    def step(self, batch, generator, place):
        if self.stop == [place.rank, place.step]:
            os.kill(os.getpid(), signal.SIGTERM)
        x = batch["x"]
        made = self.net(x + 0.1 * torch.randn(x.shape, generator=generator).to(x.device))
        losses = {"generator": (made.float() - x[:, :3]).square().mean()}
        if "discriminator" in self.trainable:
            losses["generator"] = losses["generator"] - 0.1 * self.judge(made).mean()
            losses["discriminator"] = self.judge(made.detach()).square().mean()
        metrics = {"batch": torch.tensor(float(place.batch)), f"of_rank_{place.rank}": torch.tensor(1.0)}
        return StepOutput(losses=losses, metrics=metrics, counts={"tokens": 10})

    @torch.no_grad()
    def validate(self):
        x = torch.linspace(-1, 1, 8, device=next(self.net.parameters()).device).view(2, 4)
        return {"val/output": float(self.net(x).sum())}

    def export(self, directory, metadata):
        directory.mkdir(parents=True, exist_ok=True)
        state = {name: value.clone() for name, value in self.net.state_dict().items()}
        assert not any(hasattr(value, "to_local") for value in state.values())
        (directory / "facts.json").write_text(
            json.dumps({**metadata, "sum": float(state["last.weight"].sum())})
        )


def run(folder, *, task=None, loop=None, optim=None, device="cpu"):
    """One run, alone or as one rank of several; returns the trainer's validation figures."""
    base = {"steps": 6, "batch_size": 4, "log_every": 1, "checkpoint_every": 3, "ema_decay": 0.9}
    config = schema.from_mapping(
        RunConfig, {"loop": {**base, **(loop or {})}, "optim": {"warmup_steps": 2, **(optim or {})}}
    )
    with joined(torch.device(device)) as (world, own):
        trainer = Trainer(RankTask(**(task or {})), config, Path(folder), device=own, world=world)
        trainer.fit()
        figures = trainer.validate()
        trainer.export({"ranks": str(world.size)})
        (Path(folder) / f"rank-{world.rank}.json").write_text(json.dumps([trainer.finished_steps, figures]))
        world.wait()
    return figures


def start(runs, *, ranks):
    """Start processes that do the same runs together; their exit codes, outputs and errors."""
    with ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in runs]
        for one in free:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in free]
    # A port for each run: on the same one, a fast rank would meet what a slow one has left of the run before.
    arguments = [json.dumps([port, one]) for port, one in zip(ports, runs, strict=True)]
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, __file__, folder, str(ranks), *arguments],
            env={**os.environ, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"},
            timeout=240,
            check=True,
        )
        return [
            tuple(read(Path(folder, f"{rank}.{kind}").read_text()) for kind, read in _REPORTS.items())
            for rank in range(ranks)
        ]


_REPORTS = {"code": int, "out": str, "err": str}


def fork_rank(folder, rank, size, runs):
    """Do runs as one of several ranks, in a fork of this process, which has loaded torch and not computed."""
    if child := os.fork():
        return child
    os.environ |= {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    code = 1
    try:
        for stream, kind in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{rank}.{kind}", os.O_WRONLY | os.O_CREAT), stream)
        trainer_module.open_trackers = lambda loop, directory, finished: []
        for port, settings in map(json.loads, runs):
            os.environ["MASTER_PORT"] = str(port)
            run(**settings)
        code = 0
    except BaseException:  # noqa: BLE001  a child ends here, whatever happened
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def main(folder, size, *runs):
    """Do runs in so many processes together."""
    importlib.import_module("torch._dynamo")  # for all at once: the first step of any run loads it
    children = [fork_rank(Path(folder), rank, int(size), runs) for rank in range(int(size))]
    for rank, child in enumerate(children):
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        Path(folder, f"{rank}.code").write_text(str(code))


if __name__ == "__main__":
    main(*sys.argv[1:])
