"""Clips of a manifest."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ea_data.media import write_video
from ea_train.sources import ManifestClips, ProceduralClips


def _ramp(frames, first):
    """Frames of one grey each, 20 apart: what is read says which frame it was."""
    values = np.arange(first, first + 20 * frames, 20, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (frames, 32, 48, 3)).copy()


@pytest.fixture
def manifest(tmp_path):
    write_video(tmp_path / "long.mp4", _ramp(9, 20), fps=8)
    write_video(tmp_path / "short.mp4", _ramp(6, 100), fps=8)
    Image.fromarray(np.full((20, 40, 3), 200, dtype=np.uint8)).save(tmp_path / "still.png")
    rows = [("long.mp4", "a ramp", "video"), ("short.mp4", "", "video"), ("still.png", "a wall", "image")]
    path = tmp_path / "clips.json"
    path.write_text(json.dumps([{"file_path": f, "text": t, "type": k} for f, t, k in rows]))
    return path


def test_clips_are_windows_of_their_files(manifest):
    source = ManifestClips(manifest, 0, num_frames=5)
    starts = set()
    for index in range(0, 24, 3):
        clip = source.clip(index, num_frames=5, height=16, width=16)
        assert (clip.shape, clip.dtype) == ((3, 5, 16, 16), torch.float32)
        grey = (clip.mean(dim=(0, 2, 3)) + 1) * 127.5
        assert torch.allclose(grey.diff(), torch.full((4,), 20.0), atol=3.0)
        starts.add(round((float(grey[0]) - 20) / 20))
    assert len(starts) > 2
    assert starts <= {0, 1, 2, 3, 4}


def test_a_clip_is_a_function_of_seed_and_index(manifest):
    size = {"num_frames": 5, "height": 16, "width": 32}
    first, again = ManifestClips(manifest, 0), ManifestClips(manifest, 0)
    assert torch.equal(first.clip(3, **size), again.clip(3, **size))
    other = ManifestClips(manifest, 1)
    assert any(not torch.equal(first.clip(i, **size), other.clip(i, **size)) for i in range(0, 18, 3))
    assert first.describe() != other.describe()


def test_a_picture_stands_still_and_captions_come_from_the_manifest(manifest):
    source = ManifestClips(manifest, 0)
    clip = source.clip(2, num_frames=5, height=16, width=16)
    assert torch.equal(clip, clip[:, :1].expand_as(clip))
    assert float(clip.mean()) == pytest.approx(200 / 127.5 - 1, abs=0.02)
    words = [source.caption(index, variant=index, language="zh") for index in range(6)]
    assert words == ["a ramp", "", "a wall"] * 2


def test_a_video_that_is_too_short_is_named_before_training(manifest):
    with pytest.raises(ValueError, match=r"short.mp4 has 6 frames; 9 are needed"):
        ManifestClips(manifest, 0, num_frames=9)
    with pytest.raises(ValueError, match=r"short.mp4 has 6 frames; 9 are needed"):
        ManifestClips(manifest, 0).clip(1, num_frames=9, height=16, width=16)


def test_every_twentieth_file_is_held_out(tmp_path):
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(tmp_path / "p.png")
    rows = [{"file_path": "p.png", "text": str(row), "type": "image"} for row in range(40)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train, heldout, both = (
        {entry.text for entry in ManifestClips(tmp_path / "m.jsonl", 0, split=split).entries}
        for split in ("train", "heldout", "all")
    )
    assert heldout == {"0", "20"}
    assert (len(train), len(both)) == (38, 40)
    assert not train & heldout


def test_procedural_clips_are_a_function_of_their_index():
    source = ProceduralClips(3)
    clip = source.clip(5, num_frames=5, height=16, width=16)
    assert clip.shape == (3, 5, 16, 16)
    assert float(clip.abs().max()) <= 1.0
    assert torch.equal(clip, ProceduralClips(3).clip(5, num_frames=5, height=16, width=16))
    assert source.caption(5, variant=0, language="en") != source.caption(5, variant=0, language="zh")
