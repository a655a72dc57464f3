"""Latents that were encoded before training."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import ea_vae
from ea_data.masks import random_mask
from ea_dit.pipelines.channels import inpaint_condition
from ea_train import latent_cache
from ea_train.latent_cache import CONDITION_KINDS, CacheConfig, LatentCache, build_cache
from ea_train.shards import fingerprint
from ea_train.sources import ProceduralClips

CONFIG = CacheConfig(
    clips=8, num_frames=5, height=16, width=16, batch_size=4, condition_weights=(1.0, 1.0, 1.0, 1.0, 1.0)
)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(latent_cache, "SHARD_CLIPS", 4)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    config = ea_vae.MagvitConfig(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=1, scaling_factor=0.7
    )
    return ea_vae.MagvitVae(config).eval().requires_grad_(False)


def test_a_cache_holds_what_the_pipeline_would_compute(vae, tmp_path):
    source, seen = ProceduralClips(0), []
    build_cache(vae, source, tmp_path, CONFIG, on_progress=lambda *shards: seen.append(shards))
    assert seen == [(1, 2), (2, 2)]
    cache = LatentCache(tmp_path, clips=8)
    assert (len(cache), cache.latents.dtype, cache.autoencoder) == (8, torch.float16, fingerprint(vae))
    kinds = []
    for start in (0, 4):
        video = torch.stack(
            [source.clip(i, num_frames=5, height=16, width=16) for i in range(start, start + 4)]
        )
        expected = vae.encode(video).mode() * 0.7
        torch.testing.assert_close(cache.latents[start : start + 4].float(), expected, rtol=2e-3, atol=2e-3)
        masks = [_mask(index) for index in range(start, start + 4)]
        kinds += [kind for kind, _ in masks]
        rows = [row for row, (kind, _) in enumerate(masks) if kind != "all"]
        generate = torch.stack([masks[row][1] for row in rows])[:, None]
        generator = torch.Generator().manual_seed(start)
        noise = torch.randn(len(rows), 3, 5, 16, 16, generator=generator)
        strength = torch.exp(torch.randn(len(rows), generator=generator) * 0.5 - 3.0)
        condition = inpaint_condition(
            vae, (video[rows] + 1) / 2, generate, noise_BCTHW=noise, noise_strength=strength
        )
        found = cache.conditions[[int(cache.condition_of[start + row]) for row in rows]].float()
        torch.testing.assert_close(found, condition, rtol=2e-3, atol=2e-3)
    names = ("all", "first", "last", "ends", "box")
    assert [names[kind] for kind in cache.kind_of] == kinds
    assert len(set(kinds)) > 2


def _mask(index):
    rng = np.random.default_rng((CONFIG.seed, index, 0x3A5C))
    weights = dict(zip(CONDITION_KINDS, CONFIG.condition_weights, strict=True))
    kind, mask = random_mask(rng, 5, 16, 16, weights=weights)
    return kind, torch.from_numpy(mask)


def test_only_missing_shards_are_made(vae, tmp_path):
    build_cache(vae, ProceduralClips(0), tmp_path, dataclasses.replace(CONFIG, clips=4))
    first = tmp_path / "shard-00000.safetensors"
    written = first.stat().st_mtime_ns
    (tmp_path / ".shard-00001.safetensors.1.partial").write_bytes(b"half")
    build_cache(vae, ProceduralClips(0), tmp_path, dataclasses.replace(CONFIG, batch_size=2))
    assert first.stat().st_mtime_ns == written
    assert len(LatentCache(tmp_path)) == 8
    assert len(LatentCache(tmp_path, clips=3)) == 4


def test_a_folder_belongs_to_one_autoencoder_source_and_size(vae, tmp_path):
    build_cache(vae, ProceduralClips(0), tmp_path, dataclasses.replace(CONFIG, clips=4))
    with pytest.raises(ValueError, match=r"was made with another height \(16, now 32\)"):
        build_cache(vae, ProceduralClips(0), tmp_path, dataclasses.replace(CONFIG, height=32))
    with pytest.raises(ValueError, match="was made with another source"):
        build_cache(vae, ProceduralClips(1), tmp_path, CONFIG)
    with torch.no_grad():
        vae.quant_conv.weight.add_(0.01)
    with pytest.raises(ValueError, match="was made with another vae"):
        build_cache(vae, ProceduralClips(0), tmp_path, CONFIG)


def test_a_cache_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no latents"):
        LatentCache(tmp_path)
    (tmp_path / "cache.json").write_text(json.dumps({"vae": "x"}))
    (tmp_path / "shard-00000.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"shard-00000.safetensors cannot be read"):
        LatentCache(tmp_path)
