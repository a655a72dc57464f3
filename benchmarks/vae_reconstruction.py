"""How much does the autoencoder keep?

Held-out scenes at the model's size, as clips and as single pictures; with --media also real clips, cut to the
same size, which have no bar: the bundled autoencoder never saw any. Gate: the metrics are right on known
inputs.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from ea_app.api.engine import Engine
from ea_data.media import VIDEO_SUFFIXES, read_video
from ea_data.transforms import cover_crop
from ea_vae import MagvitVae, to_unit_range
from metrics import IDENTICAL, Frames, psnr, ssim
from report import GateError, Report, spread
from sampling import Progress
from scenes import clip_of, held_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--count", type=int, default=200, help="held-out scenes [default: 200]")
    parser.add_argument("--seed", type=int, default=2026, help="of the scenes [default: 2026]")
    parser.add_argument("--size", help="WxH [default: the model's]")
    parser.add_argument("--media", type=Path, help="folder with real clips")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    gate = _check_metrics()
    engine = Engine.load(arguments.model, device=arguments.device, dtype=arguments.dtype)
    fields = engine.job("x", size=arguments.size).fields
    vae, frames = engine.pipeline.components.vae, engine.model.info.native_frames
    size = fields["width"], fields["height"]
    scenes = held_out(arguments.count, arguments.seed)
    progress = Progress(len(scenes))
    clips, pictures = [], []
    for scene in scenes:
        truth = clip_of(scene, frames, size[1], size[0])
        clips.append(_compare(vae, truth))
        pictures.append(_compare(vae, truth[:1]))
        progress.step()
    details = {"clips": _spreads(clips), "pictures": _spreads(pictures)}
    figures = {
        "psnr": float(np.mean([entry[0] for entry in clips])),
        "ssim": float(np.mean([entry[1] for entry in clips])),
        "picture_psnr": float(np.mean([entry[0] for entry in pictures])),
        "picture_ssim": float(np.mean([entry[1] for entry in pictures])),
    }
    if arguments.media:
        real = {path.name: _compare(vae, _read(path, frames, size)) for path in _videos(arguments.media)}
        details["real clips"] = {name: {"psnr": entry[0], "ssim": entry[1]} for name, entry in real.items()}
        figures["real_psnr"] = float(np.mean([entry[0] for entry in real.values()]))
        figures["real_ssim"] = float(np.mean([entry[1] for entry in real.values()]))
    settings = {
        "scenes": len(scenes),
        "seed": arguments.seed,
        "width": size[0],
        "height": size[1],
        "frames": frames,
    }
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def reconstruct(vae: MagvitVae, clip: Frames) -> Frames:
    """Encode a clip (T, H, W, 3) to the mode of its posterior and decode it again."""
    weight = next(vae.parameters())
    pixels = torch.from_numpy(clip.copy()).movedim(-1, 0)[None].to(weight.device, weight.dtype) / 127.5 - 1
    with torch.no_grad():
        decoded = vae.decode(vae.encode(pixels).mode(), num_frames=len(clip))
    restored = to_unit_range(decoded[0]) * 255
    return restored.round().to(torch.uint8).movedim(0, -1).cpu().numpy()


def _compare(vae: MagvitVae, clip: Frames) -> tuple[float, float]:
    restored = reconstruct(vae, clip)
    return psnr(restored, clip), ssim(restored, clip)


def _spreads(entries: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    return {"psnr": spread([entry[0] for entry in entries]), "ssim": spread([entry[1] for entry in entries])}


def _videos(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise GateError(f"{folder} holds no videos ({', '.join(VIDEO_SUFFIXES)})")
    return found


def _read(path: Path, frames: int, size: tuple[int, int]) -> Frames:
    return cover_crop(read_video(path, take=frames).frames, size[1], size[0])


def _check_metrics() -> dict[str, float]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    flat = np.full((2, 32, 32, 3), 100, dtype=np.uint8)
    found = {
        "psnr_of_itself": psnr(noise, noise),
        "psnr_of_a_step": psnr(flat, flat + 1),
        "ssim_of_itself": ssim(noise, noise),
        "ssim_with_noise": ssim(noise, rng.integers(0, 256, noise.shape, dtype=np.uint8)),
    }
    right = (
        found["psnr_of_itself"] == IDENTICAL
        and abs(found["psnr_of_a_step"] - 48.1308) < 1e-3
        and abs(found["ssim_of_itself"] - 1) < 1e-9
        and abs(found["ssim_with_noise"]) < 0.1
    )
    if not right:
        raise GateError(f"the metrics are wrong on known inputs: {found}")
    return {name: round(value, 5) for name, value in found.items()}
