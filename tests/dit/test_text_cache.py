"""The cache of encoded texts."""

import logging

import pytest
import torch

from ea_dit.text.base import TextStates
from ea_dit.text.cache import CachedTextEncoder, TextCache, fingerprint_of


class Counting:
    """An encoder whose states tell the text's length, and that remembers what it was asked."""

    def __init__(self, *, two=False):
        self.asked = []
        self.two = two

    def encode(self, texts):
        self.asked.append(list(texts))
        states = torch.stack([torch.full((4, 3), float(len(text))) for text in texts])
        mask = torch.arange(4)[None] < torch.tensor([[len(text)] for text in texts])
        second = TextStates(states[:, :2] + 1, mask[:, :2]) if self.two else None
        return TextStates(states, mask, second)


@pytest.mark.parametrize("two", [False, True], ids=["one-encoder", "two-encoders"])
def test_known_texts_are_not_encoded_again(tmp_path, two):
    inner = Counting(two=two)
    encoder = CachedTextEncoder(lambda: inner, TextCache(tmp_path, "a"))
    first = encoder.encode(["xx", "", "xx"])
    again = encoder.encode(["", "xxx", "xx"])
    assert inner.asked == [["xx", ""], ["xxx"]]
    direct = Counting(two=two).encode(["", "xxx", "xx"])
    for found, wanted in ((again, direct), (first, direct[torch.tensor([2, 0, 2])])):
        assert torch.equal(found.states_BLE, wanted.states_BLE)
        assert torch.equal(found.mask_BL, wanted.mask_BL)
        assert (found.second is None) == (not two)
    if two:
        assert torch.equal(again.second.states_BLE, direct.second.states_BLE)
        assert again.second.mask_BL.dtype == torch.bool


def test_the_encoder_is_not_made_for_known_texts(tmp_path):
    CachedTextEncoder(Counting, TextCache(tmp_path, "a")).encode(["red"])

    def refuse():
        raise AssertionError("made")

    lazy = CachedTextEncoder(refuse, TextCache(tmp_path, "a"))
    assert lazy.encode(["red"]).states_BLE[0, 0, 0] == 3
    with pytest.raises(AssertionError, match="made"):
        lazy.encode(["blue"])
    with pytest.raises(ValueError, match="at least one text"):
        lazy.encode([])


def test_another_encoder_has_its_own_entries(tmp_path):
    TextCache(tmp_path, "a").write("red", Counting().encode(["red"]))
    assert TextCache(tmp_path, "a").read("red") is not None
    assert TextCache(tmp_path, "b").read("red") is None
    with pytest.raises(ValueError, match="states of one text, got 2"):
        TextCache(tmp_path, "a").write("red", Counting().encode(["red", "x"]))


def test_a_broken_entry_is_encoded_again(tmp_path, caplog):
    inner, cache = Counting(), TextCache(tmp_path, "a")
    encoder = CachedTextEncoder(lambda: inner, cache)
    encoder.encode(["red"])
    cache.path_of("red").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        encoder.encode(["red"])
    assert "encoded again" in caplog.text
    assert len(inner.asked) == 2
    assert cache.read("red") is not None
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".safetensors"]


def test_fingerprints_tell_content_and_settings_apart(tmp_path, monkeypatch):
    # Every byte of these files is above the size that is read whole.
    monkeypatch.setattr("ea_dit.text.cache._WHOLE_BYTES", 16)
    monkeypatch.setattr("ea_dit.text.cache._SAMPLE_BYTES", 8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(bytes(range(200)))
    same = fingerprint_of([tmp_path / "a"], max_length=120)
    assert fingerprint_of([tmp_path / "b"], max_length=120) == same
    assert fingerprint_of([tmp_path / "a"], max_length=200) != same
    assert fingerprint_of([tmp_path / "a", tmp_path / "b"], max_length=120) != same
    (tmp_path / "b" / "model.safetensors").write_bytes(bytes([*range(199), 0]))
    assert fingerprint_of([tmp_path / "b"], max_length=120) != same
    with pytest.raises(ValueError, match="no such directory"):
        fingerprint_of([tmp_path / "c"])
