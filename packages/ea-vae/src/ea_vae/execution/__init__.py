"""How a pass through an autoencoder is cut: samples, spatial tiles, temporal slices.

Cutting bounds memory. Where a network's norms look at single frames, temporal slices do not change the
result (up to rounding); older networks were trained with slices, which are part of what they compute. Tiles
change it slightly, because a tile does not see its neighbours. The blending follows the released programs.
"""

from ea_vae.execution.autoencoder import AutoencoderConfig, VideoAutoencoder
from ea_vae.execution.display import latents_to_frames, stream_frames
from ea_vae.execution.passes import run_decode, run_encode, stream_decode
from ea_vae.execution.plan import ExecutionPlan
from ea_vae.execution.tiles import TileGrid, blend, mix_corner

__all__ = [
    "AutoencoderConfig",
    "ExecutionPlan",
    "TileGrid",
    "VideoAutoencoder",
    "blend",
    "latents_to_frames",
    "mix_corner",
    "run_decode",
    "run_encode",
    "stream_decode",
    "stream_frames",
]
