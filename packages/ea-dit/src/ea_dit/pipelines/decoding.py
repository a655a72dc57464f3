"""Decoding as a stage of its own: from the latents of a run to its frames, with the autoencoder alone.

Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w the latent sizes.
"""

from collections.abc import Generator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ea_dit.pipelines.number_types import NumberTypes
from ea_dit.pipelines.parts import find_parts
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.stages import decode_with
from ea_dit.pipelines.window_frames import WindowFrames
from ea_dit.pipelines.windows import windows_of
from ea_kernels.runtime.device import resolve_device
from ea_vae import VideoAutoencoder, load_vae


def load_decoder(
    directory: str | Path,
    *,
    dtype: str | NumberTypes = "auto",
    device: str = "auto",
    allow_pickle: bool = False,
) -> VideoAutoencoder[Any]:
    """Loads the autoencoder of a model directory and nothing else.

    Args:
        directory: See `ea_dit.pipelines.load_components`.
        dtype: Of the model, from which that of the autoencoder follows.
        device: Where it is used.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If a part is missing or not understood.
    """
    place = resolve_device(device)
    parts = find_parts(directory, allow_pickle=allow_pickle)
    _, number = NumberTypes.of(dtype).resolved(place, parts.traits)
    return load_vae(parts.layout.vae, dtype=number, device=place, allow_pickle=allow_pickle)


@torch.no_grad()
def decode_windows(
    vae: VideoAutoencoder[Any],
    request: GenerationRequest,
    latents: Sequence[Tensor],
    run: Run | None = None,
) -> Generator[Tensor, None, None]:
    """The frames of a run, of the latents that its windows ended with.

    Args:
        vae: The autoencoder of the model that ran.
        request: As it ran; its conditions are not read.
        latents: (B, C, t, h, w) scaled latents of every window, as `WindowState` has them.
        run: Takes progress, and has timings and seams in the end.

    Yields:
        float32 (B, 3, T, H, W) in 0 ... 1, on the CPU, as soon as they are decoded: one after the other the
        video, as the run gives it.

    Raises:
        ValueError: If the number or shape of the latents is not that of the request.
        Cancelled: If the run was stopped.
    """
    run = Run() if run is None else run
    windows = windows_of(request, vae.geometry)
    if len(latents) != len(windows):
        raise ValueError(f"latents must be those of {len(windows)} windows, got {len(latents)}")
    shape = vae.geometry.latent_shape(
        batch=1,
        channels=vae.config.latent_channels,
        num_frames=windows[0].frames,
        height=request.height,
        width=request.width,
    )
    run.windows, before = len(windows), None
    pairs = zip_longest(windows, windows[1:])
    for run.window, ((window, after), given) in enumerate(zip(pairs, latents, strict=True)):
        if tuple(given.shape[1:]) != tuple(shape[1:]):
            raise ValueError(f"latents must have the shape {tuple(shape)}, got {tuple(given.shape)}")
        frames = WindowFrames(window, after, before, request.num_frames)
        decoded = run.stage_in_parts("decode", decode_with(vae, given, window.frames))
        for index, done in enumerate(frames.finished(map(_checked, decoded))):
            run.meter.add(done, overlap=None if index else window.overlap)
            yield done
        before = None if after is None else frames.handed


def _checked(frames: Tensor) -> Tensor:
    if not bool(torch.isfinite(frames).all()):
        raise ValueError("latents are broken: what is decoded is not finite")
    return frames
