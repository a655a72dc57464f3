"""Arithmetic and memory of the MAGVIT autoencoder of V5 and V5.1, from its config.

It goes through a clip in slices, so memory follows a slice and the tails that pass from one to the next.
Shapes: T frames, H and W pixels, C channels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

TAPS = 27
SPACE_SHARE = 4 / 9
"""Of a convolution of doubled pixels, the products that are computed; see `ea_vae.layers.repeated`."""
TIME_SHARE = 2 / 3
"""The same for doubled frames."""
LIVE_LEVELS = 4.5
"""Tensors of the largest level that live at once: input, with its past, result, two of the library."""


@dataclass(frozen=True)
class Layer:
    """A 3x3x3 convolution.

    Attributes:
        inputs: Input channels.
        outputs: Output channels.
        frames: Of its result.
        area: Pixels of a frame of its result.
        share: Of its products, those that are computed.
    """

    inputs: int
    outputs: int
    frames: int
    area: int
    share: float = 1.0

    @property
    def flops(self) -> float:
        """Products and sums."""
        return 2.0 * TAPS * self.inputs * self.outputs * self.frames * self.area * self.share


@dataclass(frozen=True)
class AutoencoderCosts:
    """What a config decides.

    Attributes:
        config: The content of `config.json`.
    """

    config: Mapping[str, Any]

    @property
    def latent_channels(self) -> int:
        """Channels of latents."""
        return self.config.get("latent_channels") or 16

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the levels, from pixels to latents."""
        return tuple(self.config["block_out_channels"])

    def decoder(self, latent_frames: int, height: int, width: int) -> Iterator[Layer]:
        """The convolutions that decode latents to frames of height x width."""
        channels, depth = self.channels[::-1], self._depth()
        scale = 2 ** (len(channels) - 1)
        frames, area = latent_frames, (height // scale) * (width // scale)
        yield Layer(self.latent_channels, channels[0], frames, area)
        for _ in range(2 * depth):
            yield Layer(channels[0], channels[0], frames, area)
        repeated = False
        kinds = self.config["up_block_types"]
        for index, (before, after) in enumerate(pairwise((channels[0], *channels))):
            for layer in range(depth + 1):
                share = TIME_SHARE if repeated and layer == 0 else 1.0
                yield Layer(before if layer == 0 else after, after, frames, area, share)
                yield Layer(after, after, frames, area)
            if index < len(channels) - 1:
                area *= 4
                yield Layer(after, after, frames, area, SPACE_SHARE)
                repeated = "Temporal" in kinds[index]
                frames = 2 * frames - 1 if repeated else frames
        yield Layer(channels[-1], 3, frames, area)

    def encoder(self, frames: int, height: int, width: int) -> Iterator[Layer]:
        """The convolutions that encode frames of height x width."""
        channels, depth, area = self.channels, self._depth(), height * width
        yield Layer(3, channels[0], frames, area)
        for index, (before, after) in enumerate(pairwise((channels[0], *channels))):
            for layer in range(depth):
                yield Layer(before if layer == 0 else after, after, frames, area)
                yield Layer(after, after, frames, area)
            if index < len(channels) - 1:
                area //= 4
                if "Temporal" in self.config["down_block_types"][index]:
                    frames = (frames + 1) // 2
                yield Layer(after, after, frames, area)
        for _ in range(2 * depth):
            yield Layer(channels[-1], channels[-1], frames, area)
        yield Layer(channels[-1], 2 * self.latent_channels, frames, area)

    def parameters(self) -> int:
        """Numbers in the convolutions of both halves, which are all but one per cent."""
        layers = (*self.decoder(1, 64, 64), *self.encoder(1, 64, 64))
        return sum(TAPS * layer.inputs * layer.outputs for layer in layers)

    def decoding_activations(self, latent_frames: int, height: int, width: int) -> int:
        """Numbers that live at once while latents are decoded, with the finished video."""
        slice_latents = self.config.get("mini_batch_decoder") or 1
        tile_h, tile_w = (self._tile(side) for side in (height, width))
        layers = list(self.decoder(min(latent_frames, slice_latents + 1), tile_h, tile_w))
        # Frames of a slice after the first, of which none stays single.
        largest = max(max(layer.inputs, layer.outputs) * layer.area * layer.frames for layer in layers)
        tails = sum(2 * layer.inputs * layer.area for layer in layers)
        pixels = 3 * (4 * latent_frames - 3) * height * width
        return int(LIVE_LEVELS * largest) + tails + 2 * pixels

    def _tile(self, side: int) -> int:
        tiled = self.config.get("use_tiling") or self.config.get("use_tiling_decoder")
        return min(side, self.config.get("tile_sample_min_size") or 384) if tiled else side

    def _depth(self) -> int:
        return self.config.get("layers_per_block") or 2
