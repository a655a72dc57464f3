"""Reading and writing videos, pictures and masks, with bounds, checks and one error type."""

from ea_data.media.atomic import write_text
from ea_data.media.background import BackgroundWriter, in_background
from ea_data.media.errors import MediaError
from ea_data.media.image import picture_size, read_image
from ea_data.media.limits import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Limits
from ea_data.media.metadata import read_metadata
from ea_data.media.probe import MediaInfo, probe, read_frames, read_mask
from ea_data.media.reader import VideoReader, read_clip
from ea_data.media.sequence import read_sequence
from ea_data.media.video import Video, read_video
from ea_data.media.writer import OUTPUT_SUFFIXES, VideoWriter, check_output, open_writer, write_video

__all__ = [
    "IMAGE_SUFFIXES",
    "OUTPUT_SUFFIXES",
    "VIDEO_SUFFIXES",
    "BackgroundWriter",
    "Limits",
    "MediaError",
    "MediaInfo",
    "Video",
    "VideoReader",
    "VideoWriter",
    "check_output",
    "in_background",
    "open_writer",
    "picture_size",
    "probe",
    "read_clip",
    "read_frames",
    "read_image",
    "read_mask",
    "read_metadata",
    "read_sequence",
    "read_video",
    "write_text",
    "write_video",
]
