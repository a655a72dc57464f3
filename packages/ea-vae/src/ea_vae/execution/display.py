"""From a transformer's latents to frames as the released pipelines show them.

Shape letters: B batch, K latent channels, T frames, H height, W width.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ea_vae.execution.autoencoder import VideoAutoencoder
from ea_vae.execution.passes import check_num_frames
from ea_vae.execution.plan import ExecutionPlan
from ea_vae.latents import to_unit_range, unscale_latents
from ea_vae.layers.streaming import join_slices


def latents_to_frames(
    vae: VideoAutoencoder[Any],
    latents_BKTHW: Tensor,
    *,
    num_frames: int | None = None,
    plan: ExecutionPlan | None = None,
) -> Tensor:
    """Decode a transformer's latents to frames as the released pipelines show them.

    Autoencoders of independent slices (V2, V3) leave visible joints. Their pipelines encode and decode the
    clip once more with the slices shifted by half, and average.

    Args:
        vae: The autoencoder.
        latents_BKTHW: Latents with the scaling factor.
        num_frames: Keep this many frames only; None keeps all.
        plan: How passes are cut; None follows the config.

    Returns:
        Float32 pixels [B, 3, T, H, W] in [0, 1].

    Raises:
        ValueError: If the shape or `num_frames` does not fit.
    """
    return join_slices(stream_frames(vae, latents_BKTHW, num_frames=num_frames, plan=plan))


def stream_frames(
    vae: VideoAutoencoder[Any],
    latents_BKTHW: Tensor,
    *,
    num_frames: int | None = None,
    plan: ExecutionPlan | None = None,
) -> Iterator[Tensor]:
    """The frames of `latents_to_frames`, to the bit, as they are decoded.

    Those of V2 and V3 come all at once, since the smoothing of their joints needs the whole clip.

    Args:
        vae: The autoencoder.
        latents_BKTHW: Latents with the scaling factor.
        num_frames: Keep this many frames only; None keeps all.
        plan: How passes are cut; None follows the config.

    Yields:
        Float32 pixels [B, 3, T, H, W] in [0, 1], of some frames each; see `VideoAutoencoder.stream_decode`.

    Raises:
        ValueError: If the shape or `num_frames` does not fit; at once, before frames are asked for.
    """
    plan = plan or vae.default_plan
    latents_BKTHW = unscale_latents(latents_BKTHW, vae.config.scaling_factor)
    slice_frames = vae.smoothed_slice_frames
    if slice_frames is None:
        return map(to_unit_range, vae.stream_decode(latents_BKTHW, num_frames=num_frames, plan=plan))
    # Smoothed as a whole: a crop would move the joints.
    slices = vae.stream_decode(latents_BKTHW, plan=plan)
    check_num_frames(vae, latents_BKTHW, plan, num_frames)
    return _smoothed(vae, slices, slice_frames, plan, num_frames)


def _smoothed(
    vae: VideoAutoencoder[Any],
    slices: Iterator[Tensor],
    slice_frames: int,
    plan: ExecutionPlan,
    num_frames: int | None,
) -> Iterator[Tensor]:
    yield to_unit_range(_smooth(vae, join_slices(slices), slice_frames, plan)[:, :, :num_frames])


def _smooth(
    vae: VideoAutoencoder[Any], video_BCTHW: Tensor, slice_frames: int, plan: ExecutionPlan
) -> Tensor:
    video_BCTHW = video_BCTHW.clamp(-1.0, 1.0)
    if video_BCTHW.shape[2] <= slice_frames:
        return video_BCTHW
    start = slice_frames // 2
    middle = video_BCTHW[:, :, start : start - slice_frames]
    latents = vae.encode(vae.geometry.pad_frames(middle), plan=plan).mode()
    again = vae.decode(latents, num_frames=middle.shape[2], plan=plan)
    smoothed = video_BCTHW.clone()
    smoothed[:, :, start : start - slice_frames] = (middle + again) / 2
    return smoothed
