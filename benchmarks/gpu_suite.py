"""Times kernels and models on a GPU: python benchmarks/gpu_suite.py --part kernels|step|vae|train --out FILE.

Stands alone (torch, triton, safetensors, einops), so that it runs where only the sources are. A kernel is
checked against the reference before it is timed. `--tiny --device cpu` walks through the same code.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.mmdit.model import MMDiT
from ea_dit.registry import load_transformer
from ea_kernels import ops
from ea_kernels.linear import NAMES, choose_linear
from ea_kernels.rounding import modulated_norm_for
from ea_kernels.runtime.eight_bits import EightBitLinear
from ea_kernels.runtime.graphs import GraphedNetwork

Rows = list[dict[str, object]]


BUNDLED = Path(__file__).parent.parent / "packages/ea-app/src/ea_app/assets/default/transformer"
LEAST_GAIN = 1.02
"""What a kernel must gain at every size to be chosen automatically; less is noise."""


def measure(run: Callable[[], object], device: str, repeats: int) -> dict[str, float]:
    """Median, 20th and 80th percentile of seconds, after two runs that do not count."""
    seconds: list[float] = []
    for index in range(repeats + 2):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        if index >= 2:
            seconds.append(time.perf_counter() - start)
    seconds.sort()
    last = len(seconds) - 1
    return {
        name: seconds[round(share * last)] for name, share in (("p20", 0.2), ("median", 0.5), ("p80", 0.8))
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def check(actual: Tensor, expected: Tensor, *, most: float = 2e-2) -> float:
    """Relative error.

    Raises:
        SystemExit: If it is too large: what is wrong is not timed.
    """
    error = ((actual.float() - expected.float()).norm() / expected.float().norm()).item()
    if not error < most:
        sys.exit(f"the gate is red: relative error {error:.2g}; nothing was measured")
    return error


def kernels(device: str, repeats: int, *, tiny: bool) -> Rows:
    """Element-wise kernels beside the copy rate, and attention by every backend, in bfloat16."""
    tokens, heads, width = (64, 2, 32) if tiny else (13568, 48, 64)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    x, update = (torch.randn(1, tokens, heads * width, device=device, dtype=dtype) for _ in range(2))
    gate, scale, shift = (torch.randn(1, heads * width, device=device, dtype=dtype) for _ in range(3))
    angles = torch.randn(tokens, width // 2, device=device)
    clip = x[:, : tokens // 8 * 8].reshape(1, 8, -1, 8, heads * width).permute(0, 4, 1, 2, 3)  # channels last
    rope, heads4 = (angles.cos(), angles.sin()), x.unflatten(-1, (heads, width))
    cases: dict[str, tuple[Callable[[str], Tensor], int]] = {
        "modulated_layer_norm": (lambda b: ops.modulated_layer_norm(x, scale, shift, backend=b), 2),
        "gated_residual_norm": (
            lambda b: ops.gated_residual_norm(x, gate, update, (scale, shift), backend=b)[1],
            4,
        ),
        "gated_residual": (lambda b: ops.gated_residual(x, gate, update, backend=b), 3),
        "norm_heads": (
            lambda b: ops.norm_heads(heads4, ops.HeadNorm(None, None, 1e-6), rope, backend=b),
            2,
        ),
        "join_frames": (lambda b: ops.join_frames(clip[:, :, :2], clip[:, :, 2:], keep=2, backend=b)[0], 2),
        "gelu": (lambda b: ops.gelu(x, tanh=True, backend=b), 2),
    }
    target = torch.empty_like(x)
    copy = measure(lambda: target.copy_(x), device, repeats)
    bytes_each = x.numel() * x.element_size()
    rows: Rows = [{"what": "copy", "bytes_per_second": 2 * bytes_each / copy["median"], **copy}]
    with torch.no_grad():
        for name, (run, passes) in cases.items():
            for backend in ("torch", "triton"):
                try:
                    error = check(run(backend), run("reference"))
                except ValueError as reason:
                    rows.append({"what": name, "backend": backend, "not_measured": str(reason)})
                    continue
                times = measure(lambda run=run, b=backend: run(b), device, repeats)
                share = passes / 2 * copy["median"] / times["median"]
                rows.append(
                    {"what": name, "backend": backend, "error": error, "of_copy_rate": share, **times}
                )
        rows.extend(_eight_bits(device, repeats, dtype, tiny=tiny))
        rows.extend(_attention(device, repeats, dtype, tiny=tiny))
    return rows


def _eight_bits(device: str, repeats: int, dtype: torch.dtype, *, tiny: bool) -> Rows:
    """A linear layer in the working dtype, with restored weights and in eight bits; rounding with a norm."""
    tokens, width, wide = (64, 32, 128) if tiny else (13568, 3072, 12288)
    place = torch.device(device)
    x = torch.randn(1, tokens, width, device=device, dtype=dtype)
    scale, shift = (torch.randn(1, width, device=device, dtype=dtype) for _ in range(2))
    linear = torch.nn.Linear(width, wide, device=device, dtype=dtype).requires_grad_(False)
    exact, rows = linear(x), Rows()
    plain = measure(partial(linear, x), device, repeats)
    flops = 2 * tokens * width * wide
    rows.append({"what": "linear", "way": "plain", "flops": flops / plain["median"], **plain})
    for way in NAMES[1:]:
        try:
            layer = EightBitLinear(deepcopy(linear), choose_linear(place, way).arithmetic)
        except ValueError as reason:
            rows.append({"what": "linear", "way": way, "not_measured": str(reason)})
            continue
        error = check(layer(x), exact, most=6e-2)
        times = measure(partial(layer, x), device, repeats)
        speed = {"flops": flops / times["median"], "gain": plain["median"] / times["median"]}
        rows.append({"what": "linear", "way": way, "error": error, **speed, **times})
    rows += _readers(x, (scale, shift), device, repeats)
    return rows + _rounding(x, (scale, shift), device, repeats)


def _readers(x: Tensor, modulation: tuple[Tensor, Tensor], device: str, repeats: int) -> Rows:
    """A modulated norm and three layers that read it: each rounds what it reads, or it is rounded once."""
    width, rows = x.shape[-1], Rows()
    for way in (name for name in NAMES[1:] if name != "restored"):
        try:
            arithmetic = choose_linear(torch.device(device), way).arithmetic
        except ValueError as reason:
            rows.append({"what": "norm and three layers", "way": way, "not_measured": str(reason)})
            continue
        made = (torch.nn.Linear(width, width, device=device, dtype=x.dtype) for _ in range(3))
        layers = [EightBitLinear(linear.requires_grad_(False), arithmetic) for linear in made]

        def run(layers: list[EightBitLinear] = layers, *, once: bool) -> list[Tensor]:
            normed = modulated_norm_for(layers if once else (), x, modulation)
            return [layer(normed) for layer in layers]

        error = check(run(once=True)[2], run(once=False)[2])
        each, once = (measure(partial(run, once=once), device, repeats) for once in (False, True))
        gain = each["median"] / once["median"]
        rows.append({"what": "norm and three layers", "way": way, "error": error, "gain": gain, **once})
    return rows


def _rounding(x: Tensor, modulation: tuple[Tensor, Tensor], device: str, repeats: int) -> Rows:
    cases: dict[str, Callable[[str], tuple[Tensor, Tensor]]] = {
        "quantise_rows": lambda b: ops.quantise_rows(x, backend=b),
        "modulated_norm_rows": lambda b: ops.modulated_norm_rows(x, modulation, backend=b),
    }
    rows: Rows = []
    for what, run in cases.items():
        expected, scales = run("reference")
        for backend in ("torch", "triton"):
            try:
                eight, own = run(backend)
            except ValueError as reason:
                rows.append({"what": what, "backend": backend, "not_measured": str(reason)})
                continue
            error = check(eight.float() * own, expected.float() * scales)
            rows.append(
                {
                    "what": what,
                    "backend": backend,
                    "error": error,
                    **measure(partial(run, backend), device, repeats),
                }
            )
    return rows


def _attention(device: str, repeats: int, dtype: torch.dtype, *, tiny: bool) -> Rows:
    rows: Rows = []
    for tokens in (64,) if tiny else (3584, 13568):
        q, k, v = (
            torch.randn(1, tokens, 2 if tiny else 48, 64, device=device, dtype=dtype) for _ in range(3)
        )
        expected = ops.attention(q[:, :64], k, v, backend="reference")
        for backend in ("torch", "cudnn", "torch-flash", "flash3", "triton"):
            try:
                error = check(ops.attention(q, k, v, backend=backend)[:, :64], expected)
            except ValueError as reason:
                rows.append({"what": f"attention {tokens}", "backend": backend, "not_measured": str(reason)})
                continue
            times = measure(partial(ops.attention, q, k, v, backend=backend), device, repeats)
            flops = 4 * tokens**2 * q.shape[2] * 64 / times["median"]
            entry = {
                "what": f"attention {tokens}",
                "backend": backend,
                "error": error,
                "flops": flops,
                **times,
            }
            rows.append(entry)
    return rows


def earned(rows: Rows, device: torch.device, source: str) -> list[dict[str, object]]:
    """Entries for `ea_kernels/triton_ops/measured.json`: kernels that beat all others at every size."""
    gains: dict[str, list[tuple[float, str]]] = {}
    for what in dict.fromkeys(str(row["what"]) for row in rows):
        medians = {str(r["backend"]): r["median"] for r in rows if r["what"] == what and "median" in r}
        own = medians.pop("triton", None)
        if not isinstance(own, float) or not medians:
            continue
        best = min(medians, key=lambda name: float(str(medians[name])))
        gains.setdefault(what.split()[0], []).append((float(str(medians[best])) / own, best))
    capability = list(torch.cuda.get_device_capability(device))
    return [
        {
            "kernel": kernel,
            "capability": capability,
            "dtypes": ["bfloat16"],
            "gain": round(min(found)[0], 3),
            "against": min(found)[1],
            "source": source,
        }
        for kernel, found in gains.items()
        if min(found)[0] > LEAST_GAIN
    ]


def _network(device: str, *, tiny: bool, layers: int) -> MMDiT:
    small = {"num_layers": 2, "num_attention_heads": 2, "text_embed_dim": 32} if tiny else {}
    config = MMDiTConfig(**{"num_layers": layers, **small})
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if device == "cpu" else torch.bfloat16)
    try:
        with torch.device(device):
            network = MMDiT(config)
    finally:
        torch.set_default_dtype(before)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return network


def _inputs(network: MMDiT, side: int, batch: int, *, tiny: bool) -> tuple[Tensor, Tensor, Tensor]:
    like = network.patch_embed.weight
    frames = 1 if tiny else 13
    hidden = torch.randn(batch, 16, frames, side, side, device=like.device, dtype=like.dtype)
    width = network.config.text_embed_dim
    text = torch.randn(batch, 256, width, device=like.device, dtype=like.dtype)
    return hidden, torch.full((batch,), 500.0, device=like.device), text


def step(device: str, repeats: int, *, tiny: bool) -> Rows:
    """A denoising step with guidance (batch of two): the bundled model, the 12B model with random weights."""
    rows = _replayed(device, repeats)
    network = _network(device, tiny=tiny, layers=48).eval()
    for side in (8,) if tiny else (32, 64, 128):  # 13 frames of 16, 32 and 64 squared tokens
        inputs = _inputs(network, side, 2, tiny=tiny)
        count = 2 if side == 128 else min(repeats, 5)
        with torch.no_grad():
            rows.append({"what": "step", "side": side, **measure(partial(network, *inputs), device, count)})
        if device == "cuda":
            rows[-1]["peak_bytes"] = torch.cuda.max_memory_allocated()
    return rows


def _replayed(device: str, repeats: int) -> Rows:
    """The bundled model's step at 64x64 with 17 frames, called and replayed as a CUDA graph; same bits."""
    network = load_transformer(BUNDLED, dtype="float32" if device == "cpu" else "bfloat16", device=device)
    assert isinstance(network, MMDiT)
    like = network.patch_embed.weight
    hidden, text = (
        torch.randn(2, *shape, device=like.device, dtype=like.dtype)
        for shape in ((network.config.in_channels, 5, 8, 8), (80, network.config.text_embed_dim))
    )
    graphed = GraphedNetwork(network)
    with torch.no_grad():
        times = torch.tensor([900.0, 500.0], device=like.device, dtype=like.dtype)
        conditions = network.conditions(times)
        called = measure(lambda: network(hidden, conditions[0], text), device, repeats)
        rows: Rows = [{"what": "bundled step", "way": "called", **called}]
        try:
            same = all(
                torch.equal(graphed(hidden, one, text), network(hidden, one, text)) for one in conditions
            )
        except ValueError as reason:
            return [*rows, {"what": "bundled step", "way": "replayed", "not_measured": str(reason)}]
        if not same:
            sys.exit("the gate is red: a replayed step has other bits than a called one")
        replayed = measure(lambda: graphed(hidden, conditions[0], text), device, repeats)
    gain = called["median"] / replayed["median"]
    return [*rows, {"what": "bundled step", "way": "replayed", "gain": gain, **replayed}]


def train(device: str, repeats: int, *, tiny: bool) -> Rows:
    """Forward and backward with recompute of an eight-layer cut of the 12B model."""
    network = _network(device, tiny=tiny, layers=8)
    rows: Rows = []
    for side in (8,) if tiny else (32, 64):
        inputs = _inputs(network, side, 1, tiny=tiny)

        def run(inputs: tuple[Tensor, ...] = inputs) -> None:
            network.zero_grad(set_to_none=True)
            network(*inputs, recompute=True).float().square().mean().backward()

        rows.append({"what": "train", "layers": 8, "side": side, **measure(run, device, min(repeats, 5))})
    return rows


def vae(device: str, repeats: int, *, tiny: bool) -> Rows:
    """Encoding and decoding with the autoencoder of V5.1, random weights."""
    from ea_vae.families.magvit.config import MagvitConfig
    from ea_vae.families.magvit.model import MagvitVae

    config = MagvitConfig()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    network = MagvitVae(config).to(device, dtype).eval()
    side, frames = (32, 5) if tiny else (512, 49)
    video = torch.randn(1, 3, frames, side, side, device=device, dtype=dtype)
    count = 1 if tiny else min(repeats, 3)
    with torch.no_grad():
        latents = network.encode(video).mode()
        rows: Rows = [
            {"what": "encode", "side": side, **measure(lambda: network.encode(video), device, count)}
        ]
        rows.append(
            {"what": "decode", "side": side, **measure(lambda: network.decode(latents), device, count)}
        )
    return rows


PARTS = {"kernels": kernels, "step": step, "train": train, "vae": vae}


def main() -> None:
    """Run one part and write its rows with what is needed to judge them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script itself")
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = PARTS[options.part](options.device, options.repeats, tiny=options.tiny)
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    facts: dict[str, object] = {
        "part": options.part,
        "device": name,
        "torch": torch.__version__,
        "tiny": options.tiny,
    }
    if options.part == "kernels" and options.device == "cuda":
        source = f"{name}, torch {torch.__version__}, {options.out.name}"
        facts["measured"] = earned(rows, torch.device("cuda"), source)
        print("for measured.json:", json.dumps(facts["measured"], indent=2))
    options.out.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print({key: round(value, 6) if isinstance(value, float) else value for key, value in row.items()})


if __name__ == "__main__":
    main()
