"""The memory format of clips inside a network: kept from layer to layer, and no change of the result."""

import pytest
import torch

from ea_kernels import channels_last
from ea_vae.layers import causal_conv, layout
from ea_vae.layers.layout import empty_clip, in_fast_format

GENERATIONS = ["v2", "v3", "v4", "v4-frame-norm", "v5", "v5-mid-attention"]


@pytest.fixture
def formats(monkeypatch):
    """What the 3-D convolutions of a pass were given: True for channels last."""
    seen, plain = [], causal_conv.conv3d

    def spy(x, *arguments, **options):
        seen.append(channels_last.is_channels_last(x))
        return plain(x, *arguments, **options)

    monkeypatch.setattr(causal_conv, "conv3d", spy)
    return seen


def clip():
    return torch.randn(2, 3, 9, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("small", [0, 1 << 40])
@pytest.mark.parametrize("name", GENERATIONS)
@torch.no_grad()
def test_clips_stay_channels_last_and_the_result_is_the_same(generation, name, small, formats, monkeypatch):
    monkeypatch.setattr(channels_last, "SMALL", small)
    vae, video = generation(name), clip()
    found = vae.encode(video).mean.contiguous()  # its format depends on how many threads there are
    pixels = vae.decode(found)
    assert formats
    assert all(formats)
    monkeypatch.setattr(layout, "prefers_channels_last", lambda x: False)
    formats.clear()
    torch.testing.assert_close(vae.encode(video).mean, found, rtol=0, atol=1e-5)
    torch.testing.assert_close(vae.decode(found), pixels, rtol=0, atol=2e-5)
    assert not any(formats)


def test_training_keeps_what_it_is_given(vae, video, formats):
    vae.decode(vae.encode(video).mean).square().mean().backward()
    assert not any(formats)
    assert in_fast_format(video) is video


@torch.no_grad()
def test_new_memory_is_laid_out_like_a_part_of_a_clip():
    x = torch.randn(2, 4, 5, 3, 6)
    assert empty_clip(2, 3, 4, 5, 6, like=x).is_contiguous()
    part = in_fast_format(x)[:, :, 1:3]
    assert empty_clip(2, 3, 4, 5, 6, like=part).is_contiguous(memory_format=torch.channels_last_3d)
    picture = empty_clip(2, 3, 5, 6, like=part.flatten(2, 3).double())
    assert picture.is_contiguous(memory_format=torch.channels_last)
    assert picture.dtype == torch.float64
