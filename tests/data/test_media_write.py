"""Writing: formats, embedded text, odd sizes, all or nothing."""

import errno
import json
from pathlib import Path

import av
import numpy as np
import pytest

from ea_data.media import MediaError, probe, read_frames, read_metadata, read_video, write_text, write_video
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


def test_many_frames_as_png_make_a_folder(tmp_path: Path, clip: np.ndarray) -> None:
    folder = write_video(tmp_path / "clip.png", clip, metadata=TEXT)
    names = sorted(path.name for path in folder.iterdir())
    assert folder == tmp_path / "clip"
    assert names == [f"{index:05d}.png" for index in range(9)]
    assert np.array_equal(read_frames(folder / names[4])[0], clip[4])
    assert read_metadata(folder) == TEXT
    with pytest.raises(MediaError, match="it exists"):
        write_video(tmp_path / "clip.png", clip)


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
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


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
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
        (tmp_path / "clip.avi", clip, {}, r"unknown suffix '.avi'; allowed: .mp4, .gif, .webp, .png"),
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
