"""Which frames of a video a clip takes, and random choices that can be made again."""

from ea_data.sampling.choices import Choice, frame_count_choice, resolution_choice
from ea_data.sampling.clips import ClipSpan, clip_span, evenly_spaced, latest_start
from ea_data.sampling.keyed import generator, keep_draws, keyed_bits

__all__ = [
    "Choice",
    "ClipSpan",
    "clip_span",
    "evenly_spaced",
    "frame_count_choice",
    "generator",
    "keep_draws",
    "keyed_bits",
    "latest_start",
    "resolution_choice",
]
