"""Tiny networks and random LoRA files over them, shared by the tests of this folder."""

import math

import pytest
import torch
from safetensors.torch import save_file

from ea_dit import Conditioning
from ea_dit.families.hunyuan3d import Hunyuan3DConfig
from ea_dit.families.mmdit import MMDiTConfig
from ea_dit.families.pixart_motion import PixArtMotionConfig
from ea_dit.pipelines.tiny import TINY
from ea_dit.registry import family_of

FAMILIES = ("v1-t2v", "v1-image", "v2-t2v", "v3-inp", "v4-inp", "v4-t2v", "v5-12b-inp", "v5-7b-t2v")
FAMILIES += ("v5.1-12b-inp", "v5.1-7b-camera", "v5.1-7b-control", "open-sora-1.0", "open-sora-1.1")

# Their networks are those of the others, with other channels, sizes or motion modules, or without those.
_REPEATED = {"v1-image", "v2-t2v", "v4-t2v", "v5-12b-inp", "v5.1-7b-control", "open-sora-1.0"}


def quick_first(families, *rows):
    """Cases of a test for `parametrize`: rows of such families, or those, are behind `-m slow`."""
    return [
        pytest.param(*case, marks=pytest.mark.slow if case[0] in _REPEATED else ())
        for case in (*((family,) for family in families), *rows)
    ]


def network_of(name, *, seed=0, dtype=torch.float32):
    """A tiny network with random weights, of which none is zero."""
    config = TINY[name].config
    network = family_of(config.to_dict()).build(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return network.eval().to(dtype)


@torch.no_grad()
def call(network):
    """What a network makes of fixed inputs."""
    config, generator = network.config, torch.Generator().manual_seed(1)
    frames = 2 if getattr(config, "motion", True) else 1

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(network.dtype)

    x, time = draw(1, config.in_channels, frames, 4, 4), torch.tensor([500.0])
    if isinstance(config, MMDiTConfig):
        second = [draw(1, 3, config.text_embed_dim_t5)] if config.text_embed_dim_t5 else []
        return network(x, time, draw(1, 5, config.text_embed_dim), *second)
    if isinstance(config, PixArtMotionConfig):
        given = {"resolution": torch.tensor([[32.0, 32.0]]), "aspect_ratio": torch.tensor([[1.0]])}
        conditioning = Conditioning(**{key: value.to(x) for key, value in given.items()})
        sized = conditioning if config.size_conditions else None
        return network(x, time, draw(1, 5, config.caption_channels), conditioning=sized)
    if isinstance(config, Hunyuan3DConfig):
        texts = draw(1, config.text_len, config.cross_attention_dim)
        return network(x, time, texts, draw(1, config.text_len_t5, config.cross_attention_dim_t5))
    conditioning = None
    if config.is_stdit2:
        conditioning = Conditioning(
            resolution=torch.tensor([[32.0, 32.0]]).to(x),
            aspect_ratio=torch.tensor([[1.0]]).to(x),
            num_frames=torch.tensor([16.0]).to(x),
            fps=torch.tensor([8.0]).to(x),
        )
    return network(x, time, draw(1, 5, config.caption_channels), conditioning=conditioning)


def random_factors(shape, kind="lora", *, rank=3, seed=0):
    """Factors of a change of a weight, by the names that LyCORIS and kohya have for them."""
    generator = torch.Generator().manual_seed(seed)
    outputs, *inputs = shape
    kernel = tuple(inputs[1:])

    def draw(*sides):
        return torch.randn(sides, generator=generator) * 0.3

    if kind == "lora":
        ones = (1,) * len(kernel)
        return {"lora_up": draw(outputs, rank, *ones), "lora_down": draw(rank, *inputs)}
    if kind == "loha":
        width = math.prod(inputs)
        sides = {"a": (outputs, rank), "b": (rank, width)}
        return {f"hada_w{n}_{side}": draw(*sizes) for n in "12" for side, sizes in sides.items()}
    first = next(side for side in (4, 3, 2, 1) if outputs % side == 0)
    second = next(side for side in (4, 3, 2, 1) if inputs[0] % side == 0)
    small = {"lokr_w1": draw(first, second)}
    rest = (outputs // first, inputs[0] // second * math.prod(kernel))
    if kind == "lokr":
        return {**small, "lokr_w2_a": draw(rest[0], rank), "lokr_w2_b": draw(rank, rest[1])}
    assert kind == "lokr whole"
    return {**small, "lokr_w2": draw(outputs // first, inputs[0] // second, *kernel)}


def write_kohya(path, factors, *, alpha=None, prefix="lora_unet__", metadata=None, dtype=torch.float32):
    """Writes factors by released name as EasyAnimate or kohya do."""
    tensors = {}
    for name, own in factors.items():
        stem = prefix + name.replace(".", "_")
        for factor, tensor in own.items():
            suffix = f"{factor}.weight" if factor.startswith("lora_") else factor
            tensors[f"{stem}.{suffix}"] = tensor.to(dtype).contiguous()
        if alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(alpha, dtype=dtype)
    save_file(tensors, path, metadata=metadata)
    return path


def write_peft(path, factors, *, prefix="transformer.", adapter="", metadata=None):
    """Writes LoRA factors as diffusers or PEFT do."""
    tensors = {}
    for name, own in factors.items():
        tensors[f"{prefix}{name}.lora_A{adapter}.weight"] = own["lora_down"].contiguous()
        tensors[f"{prefix}{name}.lora_B{adapter}.weight"] = own["lora_up"].contiguous()
    save_file(tensors, path, metadata=metadata)
    return path


def factors_for(targets, kind="lora", *, rank=3, layout="easyanimate"):
    """Random factors for every target that has a released name."""
    named = [target for target in targets if layout in target.names]
    return {
        target.names[layout]: random_factors(target.shape, kind, rank=rank, seed=number)
        for number, target in enumerate(named)
    }
