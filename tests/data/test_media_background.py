"""Writing in a thread: the same files, bounded waiting, errors and stops that end the thread."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from written_files import contents

from ea_data.media import MediaError, VideoWriter, in_background, open_writer, read_metadata, write_video
from ea_data.synthetic import SyntheticDataset

NAMES = ["clip.mp4", "clip.webm", "clip.gif", "clip.webp", "clip.png", "clip.zip"]
SECONDS = 10.0


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A moving shape, 9 frames of 48x64."""
    return SyntheticDataset(3, 9, 48, 64, split="all", two_shapes=0.0)[7]["video"]


class Sink:
    """Takes frames when it may, and fails at one of them."""

    def __init__(self, *, fails_at: int = -1) -> None:
        self.may, self.began = threading.Event(), threading.Event()
        self.fails_at, self.frames, self.threads = fails_at, 0, set[str]()

    def add(self, picture: np.ndarray) -> None:
        self.began.set()
        assert self.may.wait(SECONDS)
        if self.frames == self.fails_at:
            raise OSError(28, "No space left on device")
        self.threads.add(threading.current_thread().name)
        self.frames += 1

    def finish(self) -> Path:
        return Path("clip.mp4")

    def abandon(self) -> None:
        pass


def writers() -> list[str]:
    """Threads that write, alive now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ea-writer")]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_comes_last_makes_the_same_file(tmp_path: Path, clip: np.ndarray, name: str) -> None:
    """Written frame by frame in a thread, too."""
    asked: list[int] = []
    with open_writer(
        tmp_path / name, fps=8, metadata=lambda: asked.append(writer.count) or "made last", repeatable=True
    ) as writer:
        with in_background(writer) as background:
            for frames in (clip[:1], clip[1:5], clip[5:]):
                background.add(frames)
        assert writer.count == len(clip)
        assert not asked
        assert not list(tmp_path.iterdir()), "nothing is on disk before the text is there"
    assert asked == [len(clip)]
    assert read_metadata(writer.path) == "made last"
    (tmp_path / "whole").mkdir()
    whole = write_video(tmp_path / "whole" / name, clip, fps=8, metadata="made last", repeatable=True)
    assert contents(writer.path) == contents(whole)
    assert whole.is_file() or len(contents(whole)) == len(clip)
    assert not list(tmp_path.glob(".*"))
    assert not writers()


def test_pictures_that_wait_for_the_text_need_no_memory(
    tmp_path: Path, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a few, the others are in a file that nobody sees."""
    monkeypatch.setattr("ea_data.media.zip_sink._MOST_IN_MEMORY", 1000)
    with open_writer(tmp_path / "clip.zip", metadata=lambda: "made last") as writer:
        for frame in clip:
            writer.add(frame)
        assert not list(tmp_path.iterdir())
    whole = write_video(tmp_path / "whole.zip", clip, metadata="made last")
    assert writer.path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_text_that_cannot_be_embedded_is_refused_in_the_end(
    tmp_path: Path, clip: np.ndarray, name: str
) -> None:
    with (
        pytest.raises(MediaError, match="metadata contains a NUL character"),
        open_writer(tmp_path / name, metadata=lambda: "a\0b") as writer,
    ):
        writer.add(clip[0])
    assert not list(tmp_path.iterdir())


def test_no_more_than_two_portions_wait(clip: np.ndarray) -> None:
    sink, handed, waits = Sink(), [], threading.Event()

    def portions() -> Iterator[np.ndarray]:
        for frame in clip:
            handed.append(frame)
            if len(handed) == 4:
                waits.set()
            yield frame[None]

    writer = VideoWriter(Path("clip.mp4"), sink)
    caller = threading.Thread(target=hand_over, args=(writer, portions()))
    caller.start()
    assert waits.wait(SECONDS)
    assert sink.began.wait(SECONDS)
    caller.join(0.2)
    assert (len(handed), sink.frames) == (4, 0), "one is being written, two wait, the fourth is not taken"
    sink.may.set()
    caller.join(SECONDS)
    assert (len(handed), sink.frames) == (9, 9)
    assert len(sink.threads) == 1
    assert not writers()


@pytest.mark.parametrize("fails_at", [0, 4, 8])
def test_an_error_of_the_encoder_reaches_the_caller(clip: np.ndarray, fails_at: int) -> None:
    sink, handed = Sink(fails_at=fails_at), []
    sink.may.set()

    def portions() -> Iterator[np.ndarray]:
        for frame in clip:
            handed.append(frame)
            yield frame[None]

    with pytest.raises(MediaError, match=r"cannot write clip\.mp4: No space left on device"):
        hand_over(VideoWriter(Path("clip.mp4"), sink), portions())
    assert sink.frames == fails_at
    assert fails_at < len(handed) <= fails_at + 5, "told a few portions later at most"
    assert not writers()


def test_a_stop_of_the_caller_ends_the_thread_with_its_frame(clip: np.ndarray) -> None:
    sink = Sink()

    def portions() -> Iterator[np.ndarray]:
        yield clip
        yield clip
        assert sink.began.wait(SECONDS)
        threading.Timer(0.05, sink.may.set).start()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        hand_over(VideoWriter(Path("clip.mp4"), sink), portions())
    assert sink.frames == 1
    assert not writers()


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_leaves_the_older_file(tmp_path: Path, clip: np.ndarray, name: str) -> None:
    (tmp_path / name).write_bytes(b"older")

    def portions() -> Iterator[np.ndarray]:
        yield clip[:5]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        hand_over_to(tmp_path / name, portions())
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(name, b"older")]
    assert not writers()


def test_frames_of_another_size_are_refused(tmp_path: Path, clip: np.ndarray) -> None:
    with pytest.raises(MediaError, match=r"frame 9 is uint8 \(24, 64, 3\); allowed: uint8 \(48, 64, 3\)"):
        hand_over_to(tmp_path / "clip.mp4", [clip, clip[:, :24]])
    with pytest.raises(MediaError, match="no frames"):
        hand_over_to(tmp_path / "clip.mp4", [])
    assert not list(tmp_path.iterdir())


def hand_over(writer: VideoWriter, portions: Iterable[np.ndarray]) -> None:
    with in_background(writer) as background:
        for frames in portions:
            background.add(frames)


def hand_over_to(path: Path, portions: Iterable[np.ndarray]) -> None:
    with open_writer(path, metadata=lambda: "text") as writer:
        hand_over(writer, portions)
