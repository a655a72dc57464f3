"""Reading: orientation, pixel aspect, uneven rates, bounds and damage."""

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, features

from ea_data.lint.inspection import inspect_file
from ea_data.manifest import read_manifest
from ea_data.media import (
    Limits,
    MediaError,
    VideoReader,
    picture_size,
    probe,
    read_frames,
    read_image,
    read_mask,
    read_video,
    write_video,
)

ASSETS = Path(__file__).with_name("assets")
IDENTITY = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
QUARTER_TURN = b"".join(
    value.to_bytes(4, "big", signed=True) for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
)


@pytest.fixture
def corner_clip() -> np.ndarray:
    """Three frames of 32x48, black with a white upper left corner."""
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, :16, :16] = 255
    return frames


def _encode(path: Path, frames: np.ndarray, times: list[int], aspect: Fraction | None = None) -> None:
    """Write an mp4 whose frames begin at the given hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_real_clip_has_every_declared_frame() -> None:
    path = ASSETS / "three_scenes_416x240_16fps.mp4"
    info = probe(path)
    assert (info.kind, info.codec, info.width, info.height, info.frames, info.fps) == (
        "video",
        "h264",
        416,
        240,
        272,
        16,
    )
    assert read_video(path).frames.shape == (272, 240, 416, 3)
    assert read_video(path, take=5).frames.shape[0] == 5


def test_rotation_tag_turns_the_frames(tmp_path: Path, corner_clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.mp4", corner_clip)
    data = path.read_bytes()
    place = data.index(b"tkhd")
    begin = data.index(IDENTITY, place)
    path.write_bytes(data[:begin] + QUARTER_TURN + data[begin + len(IDENTITY) :])
    frames, info = read_video(path).frames, probe(path)
    assert frames.shape == (3, 48, 32, 3)
    assert (info.height, info.width, info.rotation) == (48, 32, 90)
    assert frames[0, 4, 28].min() > 200  # clockwise: the upper left corner is now the upper right one
    assert frames[0, 4, 4].max() < 50


def test_pixels_become_square(tmp_path: Path, corner_clip: np.ndarray) -> None:
    _encode(tmp_path / "wide.mp4", corner_clip, [0, 4, 8], aspect=Fraction(2, 1))
    info = probe(tmp_path / "wide.mp4")
    assert (info.height, info.width, info.pixel_aspect, info.rotation) == (32, 96, 2, 0)
    assert read_video(tmp_path / "wide.mp4").frames.shape == (3, 32, 96, 3)


def test_uneven_times_become_a_constant_rate(tmp_path: Path) -> None:
    frames = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 80, 160, 240)])
    _encode(tmp_path / "uneven.mp4", frames, [0, 10, 20, 60])
    video = read_video(tmp_path / "uneven.mp4", fps=10)
    shown = [round(float(frame.mean()) / 80) for frame in video.frames]
    assert video.fps == 10
    assert shown[:7] == [0, 1, 2, 2, 2, 2, 3]
    assert len(read_video(tmp_path / "uneven.mp4").frames) >= 4


def test_resampling_keeps_the_length_in_time(tmp_path: Path, corner_clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.mp4", np.repeat(corner_clip, 4, axis=0), fps=8)
    assert len(read_video(path, fps=16).frames) == 24
    assert len(read_video(path, fps=4).frames) == 6


def test_exif_orientation_is_applied(tmp_path: Path, corner_clip: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    Image.fromarray(corner_clip[0]).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture = read_image(tmp_path / "turned.jpg")
    assert picture.shape == (48, 32, 3)
    assert picture[4, 28].min() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_probed_as_they_are_read(
    tmp_path: Path, corner_clip: np.ndarray, orientation: int
) -> None:
    path = tmp_path / "picture.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corner_clip[0]).save(path, exif=exif)
    info = probe(path)
    assert (info.height, info.width) == read_image(path).shape[:2] == picture_size(path)
    assert info.rotation == {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}.get(orientation, 0)
    assert (info.frames, info.fps, info.seconds) == (1, None, None)


def test_what_a_file_does_not_say_is_not_zero(tmp_path: Path, corner_clip: np.ndarray) -> None:
    """So that what `ea-data probe` prints can stand in a manifest."""
    _encode(tmp_path / "clip.mkv", corner_clip, [0, 4, 8])
    Image.fromarray(corner_clip[0]).save(tmp_path / "picture.png")
    for name, kind in (("clip.mkv", "video"), ("picture.png", "image")):
        info = probe(tmp_path / name)
        assert info.frames == (None if kind == "video" else 1)
        row = {"file_path": name, "text": "", "type": info.kind, "num_frames": info.frames, "fps": info.fps}
        line = json.dumps(row | {"height": info.height, "width": info.width})
        (tmp_path / "list.jsonl").write_text(line + "\n")
        (entry,) = read_manifest(tmp_path / "list.jsonl").entries
        assert entry.type == kind
        assert (entry.facts.num_frames, entry.facts.fps) == (info.frames, info.fps)


def test_palette_and_transparency_are_flattened(tmp_path: Path) -> None:
    assert read_image(ASSETS / "sailing_boat_palette.png").shape == (320, 512, 3)
    clear = np.zeros((16, 16, 4), np.uint8)
    clear[:8] = (255, 0, 0, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png")[0, 0].tolist() == [255, 0, 0]
    assert read_image(tmp_path / "clear.png")[15, 0].tolist() == [255, 255, 255]
    assert read_image(tmp_path / "clear.png", matte=(0, 0, 9))[15, 0].tolist() == [0, 0, 9]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_every_pixel_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    sixteen_bits = np.full((10, 20), 65535, np.uint16)
    image = Image.fromarray(sixteen_bits) if mode == "I;16" else Image.new("L", (20, 10), 255).convert(mode)
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    image.save(path)
    picture = read_image(path)
    assert picture.shape == (10, 20, 3)
    assert picture.min() > 250


def test_masks_are_true_where_bright(tmp_path: Path) -> None:
    mask = read_mask(ASSETS / "mask.jpg")
    assert mask.shape == (1, 500, 800)
    assert mask.dtype == bool
    assert 0.5 < mask.mean() < 0.7
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    frames[2:] = 255
    assert read_mask(write_video(tmp_path / "mask.mp4", frames)).all(axis=(1, 2)).tolist() == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_picture_is_a_clip_of_one_frame() -> None:
    assert read_frames(ASSETS / "mask.jpg").shape == (1, 500, 800, 3)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_pixels=1000), "416x240; allowed: 1 to 1000 pixels"),
        (Limits(max_seconds=3), "17.0 s long; allowed: at most 3 s"),
        (Limits(max_frames=20), "more than 20 frames"),
        (Limits(max_bytes=1000), "bytes; allowed: at most 1000"),
    ],
)
def test_bounds_of_videos(limits: Limits, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        read_video(ASSETS / "three_scenes_416x240_16fps.mp4", limits=limits)


@pytest.mark.parametrize(
    ("size", "found"), [((9000, 9000), "9000x9000"), ((20000, 10000), "200000000 pixels")]
)
@pytest.mark.parametrize("read", [read_image, probe, picture_size])
def test_bounds_of_pictures(tmp_path: Path, size: tuple[int, int], found: str, read: Callable) -> None:
    """Refused at once, also above what Pillow takes, with the one number that is allowed."""
    path = tmp_path / "bomb.png"
    Image.new("1", size).save(path)
    begin = time.process_time()
    with pytest.raises(MediaError) as caught:
        read(path)
    assert str(caught.value) == f"cannot read {path}: {found}; allowed: 1 to 67108864 pixels"
    assert time.process_time() - begin < 1


def test_a_later_frame_of_an_animation_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "grows.gif"
    shades = [Image.new("L", (48, 32), shade) for shade in (0, 80, 160)]
    shades[0].save(path, save_all=True, append_images=shades[1:])
    content = bytearray(path.read_bytes())
    second = content.rindex(b"\x00\x2c") + 1  # what describes a frame, after its extension
    content[second + 5 : second + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    for read in (read_video, read_frames, VideoReader):
        with pytest.raises(MediaError) as caught:
            read(path)
        assert str(caught.value) == f"cannot read {path}: 4294836225 pixels; allowed: 1 to 67108864 pixels"


def test_an_avif_is_a_picture(
    tmp_path: Path, corner_clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no avif")
    path = tmp_path / "picture.avif"
    Image.fromarray(corner_clip[0]).save(path, quality=95)
    info = probe(path)
    assert (info.kind, info.container, info.height, info.width, info.frames) == ("image", "avif", 32, 48, 1)
    assert np.abs(read_image(path).astype(int) - corner_clip[0]).mean() < 3
    for read in (read_video, VideoReader):
        with pytest.raises(MediaError, match=r"it is an? avif picture, not a video"):
            read(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MediaError):
        read_image(path)
    monkeypatch.setattr(features, "check", lambda _: False)
    with pytest.raises(MediaError, match="it is an avif picture, which this Pillow was built without"):
        probe(path)


def test_a_moving_png_is_an_animation_and_its_first_frame_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "loop.png"
    frames = [Image.new("RGB", (40, 30), (value, 0, 0)) for value in (10, 90, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=125)
    info = probe(path)
    assert (info.kind, info.container, info.frames, info.fps) == ("video", "png", 3, 8)
    assert read_video(path).frames[:, 0, 0, 0].tolist() == [10, 90, 200]
    with VideoReader(path) as reader:
        assert (len(reader), reader.fps) == (3, 8)
    assert read_image(path)[0, 0].tolist() == [10, 0, 0]
    assert inspect_file(path, "image", Limits(), deep=False).problem == ""
    assert inspect_file(path, "image", Limits(), deep=False).other


def test_a_photo_is_read(tmp_path: Path) -> None:
    Image.new("L", (6000, 4000), 9).save(tmp_path / "photo.png")
    assert read_image(tmp_path / "photo.png").shape == (4000, 6000, 3)
    with pytest.raises(MediaError, match="6000x4000; allowed: 1 to 23999999 pixels"):
        read_image(tmp_path / "photo.png", limits=Limits(max_image_pixels=23_999_999))


def test_frames_of_animations_have_the_bounds_of_videos(tmp_path: Path) -> None:
    frames = [Image.new("L", (40, 30), value) for value in (0, 200)]
    frames[0].save(tmp_path / "loop.gif", save_all=True, append_images=frames[1:])
    limits = Limits(max_pixels=1199)
    for read in (read_video, probe, VideoReader):
        with pytest.raises(MediaError, match="40x30; allowed: 1 to 1199 pixels"):
            read(tmp_path / "loop.gif", limits=limits)
    assert read_image(tmp_path / "loop.gif", limits=limits).shape == (30, 40, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"ffconcat version 1.0\nfile clip.mp4\n", b"#EXTM3U\nhttp://127.0.0.1/\n", b"<svg/>"],
)
def test_other_content_under_a_media_name_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    for read in (read_video, read_image, read_mask, probe):
        with pytest.raises(MediaError, match=r"clip\.mp4: (the file is empty|not a known video or image)"):
            read(path)


def test_the_content_and_not_the_name_chooses_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    Image.new("RGB", (16, 16)).save(path, "PNG")
    with pytest.raises(MediaError, match="it is a png picture, not a video"):
        read_video(path)
    with pytest.raises(MediaError, match="it is a mp4 video, not a picture"):
        read_image(ASSETS / "three_scenes_416x240_16fps.mp4")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(MediaError, match="not a regular file"):
        read_image(tmp_path)
    with pytest.raises(MediaError, match="fps is 0"):
        read_video(ASSETS / "three_scenes_416x240_16fps.mp4", fps=0)
    with pytest.raises(MediaError, match="take is 0"):
        read_video(ASSETS / "three_scenes_416x240_16fps.mp4", take=0)


def test_a_cut_off_video_is_an_error(tmp_path: Path) -> None:
    data = (ASSETS / "three_scenes_416x240_16fps.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError):
        read_video(path)


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_damaged_files_raise_nothing_but_media_error(
    tmp_path: Path, corner_clip: np.ndarray, suffix: str
) -> None:
    frames = corner_clip if suffix != "png" else corner_clip[:1]
    whole = write_video(tmp_path / f"whole.{suffix}", frames).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"damaged.{suffix}"
    messages = []
    for trial in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 30))):
            data[place] = int(rng.integers(256))
        path.write_bytes(data[: int(rng.integers(1, len(data)))] if trial % 3 == 0 else data)
        try:
            assert read_frames(path).ndim == 4
        except MediaError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert not any("\n" in message for message in messages)
