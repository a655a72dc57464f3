"""What every autoencoder offers, whatever its network.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from ea_vae.execution.passes import check_num_frames, run_decode, run_encode
from ea_vae.execution.plan import ExecutionPlan
from ea_vae.geometry import LatentGeometry
from ea_vae.latents import Posterior, to_unit_range, unscale_latents


class AutoencoderConfig(Protocol):
    """What is asked of the configuration of any family."""

    @property
    def in_channels(self) -> int:
        """Channels of the video that is encoded."""
        ...

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        ...

    @property
    def scaling_factor(self) -> float:
        """A transformer sees latents multiplied by this."""
        ...

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        ...

    @classmethod
    def from_dict(cls, released: Mapping[str, Any]) -> Self:
        """Read a released config.json; ValueError for what is not understood."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The released spelling."""
        ...


ConfigT = TypeVar("ConfigT", bound=AutoencoderConfig)


class VideoAutoencoder(nn.Module, Generic[ConfigT]):
    """An autoencoder of clips [B, 3, T, H, W] in [-1, 1].

    A family adds the network, `encode_frames`, `decode_frames` and `default_plan`.

    Args:
        config: Sizes and execution settings.
    """

    def __init__(self, config: ConfigT) -> None:
        super().__init__()
        self.config = config

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        return self.config.geometry

    @property
    @abstractmethod
    def default_plan(self) -> ExecutionPlan:
        """How the config wants a pass to be cut."""

    @property
    def clip_plan(self) -> ExecutionPlan:
        """The cuts that are part of the function; `encode_clip` and `decode_clip` make no others."""
        return ExecutionPlan()

    @property
    def smoothed_slice_frames(self) -> int | None:
        """Length of the slices whose joints `latents_to_frames` smooths; None if it does not."""
        return None

    @abstractmethod
    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments of a clip.

        Args:
            video_BCTHW: Pixels.
            slice_frames: Frames per temporal slice; None does not cut.

        Returns:
            [B, 2K, t, H / 8, W / 8].
        """

    @abstractmethod
    def decode_frames(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Tensor:
        """Pixels of latents.

        Args:
            latents_BKTHW: Latents without the scaling factor.
            slice_latents: Latent frames per temporal slice; None does not cut.

        Returns:
            [B, 3, T, 8h, 8w].
        """

    def encode(self, video_BCTHW: Tensor, *, plan: ExecutionPlan | None = None) -> Posterior:
        """Encode clips.

        Lengths that the network cannot take are padded by repeating the last frame. Those that it takes are
        encoded as they are, even if decoding gives another length: `geometry.is_whole` tells, and
        `geometry.pad_frames` before and `decode` with `num_frames` after make any length come back.

        Args:
            video_BCTHW: [B, 3, T, H, W] in [-1, 1], H and W multiples of 8 (see `geometry`).
            plan: How the pass is cut; None follows the config.

        Returns:
            The posterior of the latents [B, K, t, h, w]; see `geometry.latent_shape`.

        Raises:
            ValueError: If the shape or the plan does not fit.
        """
        _check_channels("video", video_BCTHW, self.config.in_channels)
        return Posterior.from_moments(run_encode(self, video_BCTHW, plan or self.default_plan))

    def decode(
        self, latents_BKTHW: Tensor, *, num_frames: int | None = None, plan: ExecutionPlan | None = None
    ) -> Tensor:
        """Decode latents.

        Args:
            latents_BKTHW: [B, K, t, h, w], without the scaling factor.
            num_frames: Keep this many frames only; None keeps all, `geometry.pixel_frames(t)`.
            plan: How the pass is cut; None follows the config.

        Returns:
            Pixels [B, 3, T, 8h, 8w] around [-1, 1], not clamped.

        Raises:
            ValueError: If the shape or `num_frames` does not fit.
        """
        _check_channels("latents", latents_BKTHW, self.config.latent_channels)
        return run_decode(self, latents_BKTHW, plan or self.default_plan, num_frames=num_frames)

    def encode_clip(self, video_BCTHW: Tensor) -> Posterior:
        """Encode differentiably, with no cuts but those that are part of the function; for training.

        Args:
            video_BCTHW: [B, 3, T, H, W] in [-1, 1] of a whole length (see `geometry`).
        """
        return Posterior.from_moments(self.encode_frames(video_BCTHW, self.clip_plan.encoder_slice_frames))

    def decode_clip(self, latents_BKTHW: Tensor) -> Tensor:
        """Decode differentiably, as `encode_clip`; [B, K, t, h, w] -> [B, 3, T, 8h, 8w]."""
        return self.decode_frames(latents_BKTHW, self.clip_plan.decoder_slice_latents)

    def forward(
        self, video_BCTHW: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Posterior]:
        """Reconstruct through a sample of the posterior; for training.

        Returns:
            The reconstruction, shaped like the video, and the posterior.
        """
        posterior = self.encode_clip(video_BCTHW)
        return self.decode_clip(posterior.sample(generator)), posterior


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
    plan = plan or vae.default_plan
    latents_BKTHW = unscale_latents(latents_BKTHW, vae.config.scaling_factor)
    slice_frames = vae.smoothed_slice_frames
    if slice_frames is None:
        return to_unit_range(vae.decode(latents_BKTHW, num_frames=num_frames, plan=plan))
    check_num_frames(vae, latents_BKTHW, plan, num_frames)
    # Smoothed as a whole: a crop would move the joints.
    video_BCTHW = vae.decode(latents_BKTHW, plan=plan).clamp(-1.0, 1.0)
    return to_unit_range(_smooth(vae, video_BCTHW, slice_frames, plan)[:, :, :num_frames])


def _smooth(
    vae: VideoAutoencoder[Any], video_BCTHW: Tensor, slice_frames: int, plan: ExecutionPlan
) -> Tensor:
    if video_BCTHW.shape[2] <= slice_frames:
        return video_BCTHW
    start = slice_frames // 2
    middle = video_BCTHW[:, :, start : start - slice_frames]
    latents = vae.encode(vae.geometry.pad_frames(middle), plan=plan).mode()
    again = vae.decode(latents, num_frames=middle.shape[2], plan=plan)
    smoothed = video_BCTHW.clone()
    smoothed[:, :, start : start - slice_frames] = (middle + again) / 2
    return smoothed


def _check_channels(name: str, x: Tensor, channels: int) -> None:
    if x.ndim != 5 or x.shape[1] != channels:
        raise ValueError(f"{name} must have the shape [B, {channels}, T, H, W], got {list(x.shape)}")
