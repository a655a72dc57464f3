"""What every autoencoder offers, whatever its network.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from ea_vae.execution.passes import run_encode, stream_decode
from ea_vae.execution.plan import ExecutionPlan
from ea_vae.geometry import LatentGeometry
from ea_vae.latents import Posterior
from ea_vae.layers.streaming import join_slices


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

    A family adds the network, `encode_frames`, `decode_parts` and `default_plan`.

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
    def decode_parts(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Iterator[Tensor]:
        """Pixels of latents, slice by slice.

        Args:
            latents_BKTHW: Latents without the scaling factor.
            slice_latents: Latent frames per temporal slice; None does not cut.

        Yields:
            [B, 3, T, 8h, 8w], the frames that follow; together those of the clip.
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
        return join_slices(self.stream_decode(latents_BKTHW, num_frames=num_frames, plan=plan))

    def stream_decode(
        self, latents_BKTHW: Tensor, *, num_frames: int | None = None, plan: ExecutionPlan | None = None
    ) -> Iterator[Tensor]:
        """Decode latents, and give the frames of every temporal slice when they are done.

        Put together along time they are what `decode` gives, to the bit. A slice is computed when it is asked
        for. A plan whose tiles or batches cut these latents gives all frames at once, since each of those
        goes through the whole clip before the next one begins.

        Args:
            latents_BKTHW: [B, K, t, h, w], without the scaling factor.
            num_frames: Keep this many frames only; None keeps all. Slices after them are not computed.
            plan: How the pass is cut; None follows the config.

        Yields:
            Pixels [B, 3, T, 8h, 8w] around [-1, 1], not clamped, of some frames each.

        Raises:
            ValueError: If the shape or `num_frames` does not fit; at once, before a slice is asked for.
        """
        _check_channels("latents", latents_BKTHW, self.config.latent_channels)
        return stream_decode(self, latents_BKTHW, plan or self.default_plan, num_frames=num_frames)

    def encode_clip(self, video_BCTHW: Tensor) -> Posterior:
        """Encode differentiably, with no cuts but those that are part of the function; for training.

        Args:
            video_BCTHW: [B, 3, T, H, W] in [-1, 1] of a whole length (see `geometry`).
        """
        return Posterior.from_moments(self.encode_frames(video_BCTHW, self.clip_plan.encoder_slice_frames))

    def decode_clip(self, latents_BKTHW: Tensor) -> Tensor:
        """Decode differentiably, as `encode_clip`; [B, K, t, h, w] -> [B, 3, T, 8h, 8w]."""
        return join_slices(self.decode_parts(latents_BKTHW, self.clip_plan.decoder_slice_latents))

    def forward(
        self, video_BCTHW: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Posterior]:
        """Reconstruct through a sample of the posterior; for training.

        Returns:
            The reconstruction, shaped like the video, and the posterior.
        """
        posterior = self.encode_clip(video_BCTHW)
        return self.decode_clip(posterior.sample(generator)), posterior


def _check_channels(name: str, x: Tensor, channels: int) -> None:
    if x.ndim != 5 or x.shape[1] != channels:
        raise ValueError(f"{name} must have the shape [B, {channels}, T, H, W], got {list(x.shape)}")
