"""Frames by number and by time: the same pixels as decoding from the beginning, whatever the stream."""

import random
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from ea_data.media import Limits, MediaError, VideoReader, read_clip, read_frames, read_video, write_video
from ea_data.media.fitting import in_background
from ea_data.media.orientation import Orientation

ASSETS = Path(__file__).with_name("assets")
REAL = ASSETS / "three_scenes_416x240_16fps.mp4"
COUNT = 50
HEIGHT, WIDTH = 64, 96
GROUPS = "keyint=12:min-keyint=4:scenecut=0:"


def _picture(number: int) -> np.ndarray:
    """A moving pattern whose upper left squares spell the frame's number in binary."""
    blocks = np.random.default_rng(1).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    frame = np.roll(blocks.repeat(8, 0).repeat(8, 1), number * 3, axis=1).copy()
    for bit in range(6):
        frame[:16, bit * 16 : bit * 16 + 16] = 255 * (number >> bit & 1)
    return frame


def _number(frame: np.ndarray) -> int:
    return sum(int(frame[8, bit * 16 + 8].mean() > 127) << bit for bit in range(6))


def _write(path: Path, codec: str, options: dict[str, str], times: list[int] | None = None) -> Path:
    """COUNT frames that begin at the given milliseconds, or 25 in a second."""
    base = Fraction(1, 25 if times is None else 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.time_base = base
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(_picture(number), format="rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


CLIPS = {
    "b_frames.mp4": ("libx264", {"x264-params": GROUPS + "bframes=3:b-pyramid=normal"}),
    "b_frames.mkv": ("libx264", {"x264-params": GROUPS + "bframes=3:b-pyramid=normal"}),
    "b_frames.avi": ("libx264", {"x264-params": GROUPS + "bframes=3:b-pyramid=normal"}),
    "open_gop.mp4": ("libx264", {"x264-params": GROUPS + "bframes=3:b-pyramid=normal:open-gop=1"}),
    "open_gop.mkv": ("libx264", {"x264-params": GROUPS + "bframes=3:b-pyramid=normal:open-gop=1"}),
    "refresh.mp4": ("libx264", {"x264-params": GROUPS + "bframes=0:intra-refresh=1"}),
    "one_key.mov": ("libx264", {"x264-params": "keyint=1000:bframes=2"}),
    "only_keys.mov": ("libx264", {"x264-params": "keyint=1"}),
    "hidden.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12", "b": "300k"}),
    "hidden_vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "12", "b": "300k"}),
    "packed.avi": ("mpeg4", {"bf": "2", "g": "12", "b": "2M"}),
}


@pytest.mark.parametrize("name", CLIPS)
def test_random_access_gives_the_pixels_of_decoding_in_order(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, *CLIPS[name])
    whole = read_video(path).frames
    assert [_number(frame) for frame in whole] == list(range(COUNT))
    order = random.Random(0).sample(range(COUNT), COUNT)
    for threads in (1, 2):
        with VideoReader(path, threads=threads) as reader:
            assert len(reader) == COUNT
            assert all(np.array_equal(reader[number], whole[number]) for number in order)
            assert np.array_equal(reader.read([49, 3, 3, 40, 0]), whole[[49, 3, 3, 40, 0]])
            assert all(np.array_equal(*pair) for pair in zip(reader, whole, strict=True))
            assert np.array_equal(reader[7], whole[7])  # after the end of an iteration


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mkv"])
def test_times_of_a_variable_rate(tmp_path: Path, name: str) -> None:
    steps = np.random.default_rng(0).integers(10, 200, COUNT)
    times = [int(time) for time in 1000 + np.cumsum(steps) - steps[0]]
    options = {"x264-params": GROUPS + "bframes=3"}
    path = _write(tmp_path / name, "libx264", options, times)
    with VideoReader(path) as reader:
        assert np.allclose(reader.seconds, (np.array(times) - 1000) / 1000, atol=0.002)
        for number in (0, 1, 17, 30, 49):
            begin = float(reader.seconds[number])
            assert _number(reader.at(begin)) == number
            assert reader.number_at(begin + 0.004) == number
        assert reader.number_at(begin - 0.004) == 48
        assert reader.number_at(1e6) == COUNT - 1
        with pytest.raises(MediaError, match=r"seconds is -0\.1; allowed: 0 or more"):
            reader.at(-0.1)
        with pytest.raises(MediaError, match="seconds is nan"):
            reader.number_at(float("nan"))


def _with_edit_list(data: bytes, begin: int, length: int) -> bytes:
    """Change the one edit of an mp4 so that it shows `length` ticks of the movie from media tick `begin`."""
    place = data.index(b"elst")
    assert struct.unpack_from(">I", data, place + 8) == (1,)
    return data[: place + 12] + struct.pack(">Ii", length, begin) + data[place + 20 :]


@pytest.mark.parametrize("first", [1, 5, 12, 20])
def test_what_an_edit_list_cuts_away_has_no_number(tmp_path: Path, first: int) -> None:
    path = _write(tmp_path / "whole.mp4", *CLIPS["b_frames.mp4"])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tick = round(1 / 25 / stream.time_base)
        delay = -min(packet.dts for packet in container.demux(stream) if packet.dts is not None)
    path.write_bytes(_with_edit_list(path.read_bytes(), delay + first * tick, (COUNT - first) * 40))
    whole = read_video(path).frames
    assert [_number(frame) for frame in whole] == list(range(first, COUNT))
    with VideoReader(path) as reader:
        assert len(reader) == COUNT - first
        assert reader.seconds[0] == 0
        for number in (29, 0, 3, 11, 12, 8):
            assert np.array_equal(reader[number], whole[number])


def test_two_runs_of_frames_far_apart_skip_what_is_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "clip.mp4", *CLIPS["b_frames.mp4"])
    reader = VideoReader(path, threads=1)
    fed: list[int | None] = []

    def count(path: Path, packet: av.Packet, limits: Limits) -> list[av.VideoFrame]:
        fed.append(packet.pts)
        return packet.decode()

    monkeypatch.setattr("ea_data.media.sources.decode_packet", count)
    frames = reader.read([1, 2, 45, 46])
    assert [_number(frame) for frame in frames] == [1, 2, 45, 46]
    reader.close()
    assert len(fed) < 30


def test_animations_have_numbers_too(tmp_path: Path) -> None:
    clip = np.stack([_picture(number) for number in range(9)])
    for suffix in ("gif", "webp"):
        path = write_video(tmp_path / f"clip.{suffix}", clip, fps=10)
        with VideoReader(path) as reader:
            assert len(reader) == 9
            assert reader.fps == pytest.approx(10)
            whole = read_frames(path)
            assert np.array_equal(reader.read([8, 2]), whole[[8, 2]])
            assert np.array_equal(reader.at(0.35), whole[3])
            assert reader.read([1], size=(32, 32)).shape == (1, 32, 32, 3)


def test_a_clip_of_a_real_video_is_what_scaling_afterwards_gives() -> None:
    from ea_data.transforms import cover_crop

    numbers = list(range(60, 120, 12))
    expected = cover_crop(read_video(REAL, take=120).frames[numbers], 128, 128).astype(float)
    clip = read_clip(REAL, numbers, (128, 128))
    assert 10 * np.log10(255**2 / np.mean((clip - expected) ** 2)) > 30
    assert clip.flags.c_contiguous


def test_a_crop_is_the_same_part_of_the_picture() -> None:
    whole = read_clip(REAL, [0, 200])
    assert whole.shape == (2, 240, 416, 3)
    assert np.array_equal(read_clip(REAL, [0, 200], crop=(20, 100, 64, 96)), whole[:, 20:84, 100:196])
    assert np.array_equal(read_clip(REAL, [0, 200], (64, 96), (20, 100, 64, 96)), whole[:, 20:84, 100:196])
    stretched = read_clip(REAL, [0], (48, 48), (0, 0, 240, 416))
    assert stretched.shape == (1, 48, 48, 3)


def test_frames_are_written_into_a_given_array() -> None:
    out = np.zeros((4, 64, 64, 3), np.uint8)
    assert read_clip(REAL, [3, 9], (64, 64), out=out[1:3]) is not None
    assert np.array_equal(out[1:3], read_clip(REAL, [3, 9], (64, 64)))
    assert not out[[0, 3]].any()


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_box_of_the_shown_picture_is_found_in_the_stored_one(turns: int, mirrored: bool) -> None:
    stored = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    turned = Orientation(turns, mirrored)
    shown = turned.apply(stored)
    assert shown.shape == ((7, 5, 3) if turned.swaps else (5, 7, 3))
    top, left, height, width = turned.stored_box((1, 2, 3, 2), 5, 7)
    part = turned.apply(stored[top : top + height, left : left + width])
    assert np.array_equal(part, shown[1:4, 2:4])


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), Orientation(0)),
        ((0, 1, -1, 0), Orientation(3)),  # clockwise
        ((-1, 0, 0, -1), Orientation(2)),
        ((0, -1, 1, 0), Orientation(1)),
        ((-1, 0, 0, 1), Orientation(0, mirrored=True)),
        ((1, 0, 0, -1), Orientation(2, mirrored=True)),  # upside down
        ((0, 1, 1, 0), Orientation(1, mirrored=True)),  # over the diagonal
    ],
)
def test_turned_and_mirrored_videos(
    tmp_path: Path, matrix: tuple[int, int, int, int], turned: Orientation
) -> None:
    path = write_video(tmp_path / "clip.mp4", np.stack([_picture(5)] * 3))
    stored = read_video(path).frames
    data = path.read_bytes()
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    path.write_bytes(data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :])
    expected = np.stack([turned.apply(frame) for frame in stored])
    assert np.array_equal(read_video(path).frames, expected)
    assert np.array_equal(read_clip(path, [0, 1, 2]), expected)
    box = (16, 8, 32, 24)
    cut = read_clip(path, [1], crop=box)
    assert np.array_equal(cut[0], expected[1, 16:48, 8:32])


@pytest.mark.parametrize("name", ["wide.mp4", "wide.mkv", "wide.avi", "only_in_the_stream.mp4"])
def test_square_pixels_in_clips(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, :, 24:] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    if name.startswith("only"):  # without the box that has it in the container
        data = path.read_bytes()
        assert data.count(b"pasp") == 1
        path.write_bytes(data.replace(b"pasp", b"free"))
    assert read_clip(path, [0]).shape == (1, 32, 96, 3)
    assert read_video(path).frames.shape == (3, 32, 96, 3)
    with VideoReader(path) as reader:
        assert {frame.shape for frame in reader} == {(32, 96, 3)}
    right = read_clip(path, [0], (32, 32), (0, 64, 32, 32))
    assert right.min() > 240
    assert read_clip(path, [0], (32, 32), (0, 0, 32, 32)).max() < 15


def test_wrong_requests() -> None:
    wrong = [
        ({"indexes": []}, r"indexes are float64 \(0,\); allowed: one or more whole numbers"),
        ({"indexes": [0.5]}, "allowed: one or more whole numbers"),
        ({"indexes": [[1]]}, r"indexes are int64 \(1, 1\)"),
        ({"indexes": [272]}, "no frame 272; allowed: 0 to 271"),
        ({"indexes": [-1]}, "no frame -1; allowed: 0 to 271"),
        ({"indexes": [0], "size": (0, 5)}, r"size is \(0, 5\); allowed: sides from 1 to 16384"),
        ({"indexes": [0], "size": (99999, 5)}, "allowed: sides from 1 to 16384"),
        (
            {"indexes": [0], "crop": (0, 0, 241, 4)},
            r"crop is \(0, 0, 241, 4\); allowed: .* within height 240",
        ),
        ({"indexes": [0], "crop": (-1, 0, 4, 4)}, "crop is"),
        ({"indexes": [0], "crop": (0, 0, 4, 0)}, "crop is"),
        ({"indexes": [0], "out": np.zeros((1, 2, 2, 3), np.float32)}, "out is float32; allowed: uint8"),
        ({"indexes": [0], "out": np.zeros((1, 2, 2, 3), np.uint8)}, r"allowed: \(1, 240, 416, 3\)"),
        ({"indexes": [0], "threads": -1}, "threads is -1; allowed: 0 to 64"),
        ({"indexes": range(9), "limits": Limits(max_frames=8)}, "9 frames; allowed: at most 8"),
    ]
    for arguments, message in wrong:
        with pytest.raises(MediaError, match=message):
            read_clip(REAL, **arguments)
    with pytest.raises(MediaError, match="it is a png picture, not a video"):
        VideoReader(ASSETS / "sailing_boat_palette.png")
    with VideoReader(REAL) as reader, pytest.raises(IndexError, match=r"frame 272 .* allowed: 0 to 271"):
        reader[272]


def test_iteration_is_not_bound_by_the_number_of_frames() -> None:
    with VideoReader(REAL, limits=Limits(max_frames=5)) as reader:
        assert sum(1 for _ in reader) == 272


def test_damage_is_found_where_it_is_wanted(tmp_path: Path) -> None:
    path = _write(tmp_path / "clip.mp4", *CLIPS["b_frames.mp4"])
    with av.open(str(path)) as container:
        packets = sorted(
            (packet.pts, packet.pos, packet.size)
            for packet in container.demux(container.streams.video[0])
            if packet.size and packet.pos is not None
        )
    data = bytearray(path.read_bytes())
    _, place, size = packets[30]
    data[place + 4 : place + size] = bytes(value ^ 0xA5 for value in data[place + 4 : place + size])
    path.write_bytes(data)
    with VideoReader(path, threads=1) as reader:
        assert _number(reader[3]) == 3  # another group of pictures is whole
        with pytest.raises(MediaError):
            reader[30]
        with pytest.raises(MediaError):
            list(reader)


@pytest.mark.parametrize(
    ("codec", "format_"),
    [
        ("libx264", "yuv422p"),
        ("libx264", "yuv444p"),
        ("libx264", "yuv420p10le"),
        ("libx264", "gray"),
        ("libx264rgb", "rgb24"),
        ("mjpeg", "yuvj420p"),
        ("ffv1", "bgr0"),
    ],
)
def test_clips_of_every_pixel_format(tmp_path: Path, codec: str, format_: str) -> None:
    from ea_data.transforms import cover_crop

    path = tmp_path / "clip.mkv"
    smooth = np.linspace(0, 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, 3, WIDTH).transpose(0, 2, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, format_
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(smooth.astype(np.uint8)), format="rgb24")
        for _ in range(5):
            container.mux(stream.encode(picture.reformat(format=format_)))
        container.mux(stream.encode())
    whole = read_video(path).frames
    assert np.array_equal(read_clip(path, range(5)), whole)
    small = read_clip(path, [2], (32, 32)).astype(int)
    assert np.abs(small - cover_crop(whole[[2]], 32, 32)).mean() < 2.5


# ------------------------------------------------------------------------------------ fitting while decoding


def test_tasks_run_in_order_while_the_next_are_made() -> None:
    made, done = 0, []

    def tasks() -> Iterator[Callable[[], None]]:
        nonlocal made
        for number in range(40):
            made += 1
            assert made - len(done) <= 4  # those that wait, the one that runs, and this one
            yield partial(done.append, number)

    in_background(tasks())
    assert done == list(range(40))


def test_errors_of_tasks_and_of_making_them_come_out() -> None:
    done: list[int] = []

    def tasks(last: int) -> Iterator[Callable[[], None]]:
        for number in range(100):
            if number == last:
                raise MediaError("no more")
            yield partial(done.append, number) if number != 9 else partial([].pop, 0)

    with pytest.raises(IndexError):
        in_background(tasks(100))
    assert done[:9] == list(range(9))
    assert len(done) < 20
    done.clear()
    with pytest.raises(MediaError, match="no more"):
        in_background(tasks(5))
    assert done == list(range(5))


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    read_clip(REAL, range(20), (16, 16), threads=1)
    with pytest.raises(MediaError):
        read_clip(REAL, range(20), (16, 16), (0, 0, 9999, 9), threads=1)
    assert threading.active_count() == before
