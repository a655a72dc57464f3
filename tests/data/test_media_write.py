"""Writing: formats, embedded text, odd sizes, all or nothing."""

import errno
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from written_files import contents

from ea_data.media import (
    Limits,
    MediaError,
    open_writer,
    probe,
    read_frames,
    read_metadata,
    read_sequence,
    read_video,
    write_text,
    write_video,
)
from ea_data.synthetic import SyntheticDataset
from ea_data.synthetic.vocabulary import BACKGROUND_RGB, SHAPE_RGB

TEXT = json.dumps(
    {"prompt": "一个红色的圆形 <b> & \"quote\" 🎈\n'x' ]]>", "numbers": list(range(400))}, ensure_ascii=False
)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A moving shape, 9 frames of 48x64."""
    return SyntheticDataset(3, 9, 48, 64, split="all", two_shapes=0.0)[7]["video"]


def _psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return 10 * np.log10(255**2 / max(error, 1e-9))


def test_mp4_plays_in_browsers(tmp_path: Path, clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.mp4", clip, fps=12.5)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1
        assert (stream.frames, float(stream.average_rate or 0)) == (9, 12.5)
    assert _psnr(read_video(path).frames, clip) > 28


def test_flat_colours_survive_mp4(tmp_path: Path) -> None:
    colours = [*SHAPE_RGB.values(), *BACKGROUND_RGB.values()]
    stripes = np.repeat(np.array(colours, np.uint8), 32, axis=0)
    frames = np.broadcast_to(stripes, (3, 32, len(stripes), 3))
    found = read_video(write_video(tmp_path / "colours.mp4", frames)).frames[1, 16, 16::32]
    assert np.abs(found.astype(int) - np.array(colours)).max() <= 4


def test_the_same_frames_make_the_same_bytes(tmp_path: Path) -> None:
    from ea_data.synthetic.clips import draw, sample

    made = set()
    frames = draw(sample("one", 0, 8), num_frames=5, height=32, width=32).frames
    for size in range(1000, 200_000, 10_000):
        np.full(size, size % 256, np.uint8)  # memory that the encoder may get next
        made.add(write_video(tmp_path / "clip.mp4", frames, repeatable=True).read_bytes())
    assert len(made) == 1


def test_lower_crf_is_nearer(tmp_path: Path, clip: np.ndarray) -> None:
    quality = [
        _psnr(read_video(write_video(tmp_path / f"{crf}.mp4", clip, crf=crf)).frames, clip) for crf in (4, 40)
    ]
    assert quality[0] > quality[1]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_exact(tmp_path: Path, clip: np.ndarray, suffix: str) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", clip, fps=8)
    video = read_video(path)
    assert np.array_equal(video.frames, clip)
    assert video.fps == pytest.approx(8, rel=0.02)
    assert probe(path).kind == "video"


def test_one_frame_is_a_picture(tmp_path: Path, clip: np.ndarray) -> None:
    for suffix in ("png", "webp", "gif"):
        path = write_video(tmp_path / f"one.{suffix}", clip[:1], metadata=TEXT)
        assert probe(path).kind == "image"
        assert np.array_equal(read_frames(path), clip[:1])
        assert read_metadata(path) == TEXT
    assert read_frames(write_video(tmp_path / "one.mp4", clip[:1])).shape == (1, 48, 64, 3)
    assert read_frames(write_video(tmp_path / "one.webm", clip[:1])).shape == (1, 48, 64, 3)


def test_many_frames_as_png_make_a_folder(tmp_path: Path, clip: np.ndarray) -> None:
    folder = write_video(tmp_path / "clip.png", clip, metadata=TEXT)
    names = sorted(path.name for path in folder.iterdir())
    assert folder == tmp_path / "clip"
    assert names == [f"{index:05d}.png" for index in range(9)]
    assert np.array_equal(read_frames(folder / names[4])[0], clip[4])
    assert read_metadata(folder) == TEXT
    with pytest.raises(MediaError, match="it exists"):
        write_video(tmp_path / "clip.png", clip)


def test_webm_is_vp9(tmp_path: Path, clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.webm", clip, fps=12.5, repeatable=True)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.colorspace) == ("vp9", "yuv420p", 1)
    video = read_video(path)
    assert (len(video.frames), video.fps) == (9, 12.5)
    assert _psnr(video.frames, clip) > 28
    again = write_video(tmp_path / "again.webm", clip, fps=12.5, repeatable=True)
    assert again.read_bytes() == path.read_bytes()


def test_pictures_in_a_zip_file(tmp_path: Path, clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.zip", clip, metadata=TEXT)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{index:05d}.png" for index in range(9)]
    assert np.array_equal(read_sequence(path), clip)
    assert write_video(tmp_path / "again.zip", clip, metadata=TEXT).read_bytes() == path.read_bytes()
    with pytest.raises(MediaError, match=r"9 pictures; allowed: 1 to 8"):
        read_sequence(path, limits=Limits(max_frames=8))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "0 pictures; allowed"),
        (["../escape.png"], "it holds no 00000.png"),
        (["00000.png"], "not a known video or image"),
    ],
)
def test_zip_files_of_others(tmp_path: Path, names: list[str], message: str) -> None:
    path = tmp_path / "clip.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"no picture")
    with pytest.raises(MediaError, match=message):
        read_sequence(path)
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    with pytest.raises(MediaError, match="cannot read"):
        read_metadata(path)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "webp", "zip"])
def test_the_text_comes_back(tmp_path: Path, clip: np.ndarray, suffix: str) -> None:
    assert read_metadata(write_video(tmp_path / f"with.{suffix}", clip, metadata=TEXT)) == TEXT
    assert read_metadata(write_video(tmp_path / f"without.{suffix}", clip)) is None


@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 47), (1, 1), (17, 19)])
def test_odd_sizes(tmp_path: Path, height: int, width: int) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, height, width, 3), dtype=np.uint8)
    found = read_frames(write_video(tmp_path / "odd.mp4", frames))
    assert found.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.array_equal(read_frames(write_video(tmp_path / "odd.webp", frames)), frames)


def test_non_contiguous_frames(tmp_path: Path, clip: np.ndarray) -> None:
    assert read_frames(write_video(tmp_path / "view.mp4", clip[::2, :, ::-1])).shape[0] == 5


def test_an_older_file_is_replaced(tmp_path: Path, clip: np.ndarray) -> None:
    path = write_video(tmp_path / "clip.mp4", clip)
    write_video(path, clip[:5])
    assert probe(path).frames == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "webp", "png", "zip"])
def test_a_failure_leaves_nothing_behind(
    tmp_path: Path, clip: np.ndarray, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"clip.{suffix}"
    path.write_bytes(b"older")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MediaError, match=f"cannot write .*clip.{suffix}: No space left on device"):
        write_video(path, clip[:1])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"older"


def test_wrong_arguments(tmp_path: Path, clip: np.ndarray) -> None:
    wrong = [
        (
            tmp_path / "clip.avi",
            clip,
            {},
            r"unknown suffix '.avi'; allowed: .mp4, .webm, .gif, .webp, .png, .zip",
        ),
        (tmp_path / "absent" / "clip.mp4", clip, {}, "the folder .* does not exist"),
        (tmp_path / "clip.mp4", clip[0], {}, "allowed: uint8"),
        (tmp_path / "clip.mp4", clip.astype(np.float32), {}, "allowed: uint8"),
        (tmp_path / "clip.mp4", clip[:0], {}, "allowed: uint8"),
        (tmp_path / "clip.mp4", clip, {"fps": 0}, "fps is 0"),
        (tmp_path / "clip.mp4", clip, {"crf": 99}, "crf is 99"),
        (tmp_path / "clip.mp4", clip, {"metadata": "a\0b"}, "NUL"),
    ]
    for path, frames, extra, message in wrong:
        with pytest.raises(MediaError, match=message):
            write_video(path, frames, **extra)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(MediaError, match="a folder has that name"):
        write_video(tmp_path / "folder.mp4", clip)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.mp4"]


def test_text_files_are_written_whole(tmp_path: Path) -> None:
    assert write_text(tmp_path / "note.json", "圆\n").read_bytes() == "圆\n".encode()
    with pytest.raises(MediaError, match="does not exist"):
        write_text(tmp_path / "absent" / "note.json", "")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.gif", "clip.webp", "clip.png", "clip.zip"])
def test_frame_by_frame_writes_the_same_file(tmp_path: Path, clip: np.ndarray, name: str) -> None:
    with open_writer(tmp_path / name, fps=8, metadata=TEXT) as writer:
        buffer = np.empty_like(clip[0])
        for frame in clip:
            buffer[:] = frame  # a writer must not keep what it was given
            writer.add(buffer)
        assert not writer.path.exists()
    assert writer.count == len(clip)
    (tmp_path / "whole").mkdir()
    whole = write_video(tmp_path / "whole" / name, clip, fps=8, metadata=TEXT)
    assert contents(writer.path) == contents(whole)
    assert whole.is_file() or len(contents(whole)) == len(clip)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.png"])
@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_error_of_the_caller_comes_through_and_leaves_nothing(
    tmp_path: Path, clip: np.ndarray, name: str, after: int
) -> None:
    (tmp_path / name).write_bytes(b"older")

    def frames() -> Iterator[np.ndarray]:
        yield from clip[:after]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        _write_each(tmp_path / name, frames())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"older"


def test_frames_of_a_writer_are_alike(tmp_path: Path, clip: np.ndarray) -> None:
    wrong = [
        ([clip[0], clip[0, :24]], r"frame 1 is uint8 \(24, 64, 3\); allowed: uint8 \(48, 64, 3\)"),
        ([clip[0].astype(np.float32)], r"frame 0 is float32 .* allowed: uint8 \(H, W, 3\)"),
        ([clip[:1]], r"frame 0 is uint8 \(1, 48, 64, 3\)"),
        ([], "no frames"),
    ]
    for frames, message in wrong:
        with pytest.raises(MediaError, match=message):
            _write_each(tmp_path / "clip.mp4", frames)
    assert not list(tmp_path.iterdir())


def _write_each(path: Path, frames: Iterable[np.ndarray]) -> None:
    with open_writer(path) as writer:
        for frame in frames:
            writer.add(frame)


def test_what_does_not_read_back_is_not_kept(
    tmp_path: Path, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ea_data.media.video_sink.decode_all", lambda *_: iter(()))
    with pytest.raises(MediaError, match="reading it back gave 0 of 9 frames"):
        write_video(tmp_path / "clip.mp4", clip)
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    script = """
import resource, sys
import numpy as np
from ea_data.media import VideoReader, open_writer
frame = np.zeros((360, 640, 3), np.uint8)
peaks = []
def note():
    unit = 1 if sys.platform == "darwin" else 1024
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
with open_writer(sys.argv[1], fps=24) as writer:
    for number in range(600):
        frame[:, number] = number % 255
        writer.add(frame)
        if number in (150, 599):
            note()
with VideoReader(sys.argv[1]) as reader:
    for number, _ in enumerate(reader):
        if number in (50, 599):
            note()
print(peaks[1] - peaks[0], peaks[3] - peaks[2])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "long.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert max(int(value) for value in done.stdout.split()) < 40e6  # 450 frames are 311 MB


@pytest.mark.parametrize("stem", ["圆" * 83, "x" * 251, "a b'\"<&>", "é", "-i", "%05d"])
def test_names_of_any_kind(tmp_path: Path, clip: np.ndarray, stem: str) -> None:
    path = tmp_path / f"{stem}.mp4"
    assert read_metadata(write_video(path, clip[:2], metadata=TEXT)) == TEXT
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with pytest.raises(MediaError, match="cannot write"):
        write_video(tmp_path / f"{'x' * 252}.mp4", clip[:2])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
