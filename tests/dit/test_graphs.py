"""Pipelines whose network is recorded once and replayed: the same frames, and what is refused."""

import contextlib
from dataclasses import fields, replace

import pytest
import torch
from given import request_of
from lora_files import FAMILIES, call, factors_for, quick_first, write_kohya
from recorded_calls import TapeRecorder
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ea_dit import Conditioning
from ea_dit.lora import attach, merge, read_lora, targets_of, unmerge
from ea_dit.pipelines import GenerationPipeline, load_pipeline
from ea_dit.pipelines.graphs import RECORDED
from ea_dit.pipelines.tiny import TINY
from ea_dit.registry import family_of
from ea_kernels.runtime.graphs import GraphedNetwork
from ea_kernels.runtime.placement import POLICIES

SIZE, FRAMES = 32, 5
VIDEO = torch.rand(3, FRAMES, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
PICTURE = {"image": VIDEO[:, 0]}


def request(**changes):
    values = {"prompt": "x", "height": SIZE, "width": SIZE, "num_frames": FRAMES, "num_steps": 4}
    return request_of({**values, **changes})


def graphed(pipeline):
    return GenerationPipeline(pipeline.components.graphed(TapeRecorder()))


@pytest.mark.parametrize(
    ("family", "changes", "kinds"),
    [
        ("v5.1-12b-inp", PICTURE, 1),
        pytest.param(
            "v5.1-7b-camera", {"camera": torch.ones(6, FRAMES, SIZE, SIZE)}, 1, marks=pytest.mark.slow
        ),
        ("v5.1-7b-control", {"control": VIDEO, "reference": VIDEO[:, 0]}, 1),
        pytest.param("v5-12b-t2v", {}, 1, marks=pytest.mark.slow),
        ("v1-t2v", {}, 1),
        pytest.param("v2-t2v", {}, 1, marks=pytest.mark.slow),
        ("v3-inp", PICTURE, 2),
    ],
)
def test_replays_make_the_same_frames_of_every_size(pipeline, family, changes, kinds):
    plain = pipeline(family)
    replayed = graphed(plain)
    graphs = replayed.components.graphs
    wide = {**changes, "seed": 1, "guidance_scale": 1.0}
    for count, job in enumerate((request(**changes), request(**wide), request(**changes, seed=2))):
        assert torch.equal(replayed(job).frames, plain(job).frames)
        assert graphs.recorded == kinds * min(count + 1, 2)  # with guidance and without


def test_loras_and_weights_that_change_between_jobs(directory, tmp_path):
    plain = load_pipeline(directory("v5.1-12b-inp"), dtype="float32", device="cpu")
    replayed, network = graphed(plain), plain.components.transformer
    graphs = replayed.components.graphs
    seen = []

    def agree(recorded):
        made = replayed(request()).frames
        assert torch.equal(made, plain(request()).frames)
        assert graphs.recorded == recorded
        assert all(not torch.equal(made, other) for other in seen)
        seen.append(made)

    agree(1)
    factors = factors_for(targets_of(network.config), "lora")
    file = read_lora(write_kohya(tmp_path / "lora.safetensors", factors))
    overlay = attach(network, file)
    agree(2)
    overlay.strength = 0.5
    agree(3)
    with torch.no_grad():
        network.head.projection.bias.add_(1)
    agree(3)
    merge(network)
    replayed(request())
    assert graphs.recorded == 4
    unmerge(network)
    overlay.strength = 0.25
    agree(5)
    overlay.remove()
    agree(6)


class Watched(TorchDispatchMode):
    """A network on a GPU that is only imagined: notes what a recording does not allow.

    That is to read a number off the device, and to bring one to it.
    """

    def __init__(self, network):
        super().__init__()
        self.network, self.config, self.dtype = network, network.config, network.dtype
        self.refused = []

    def __call__(self, *args, **kwargs):
        given = [tensor.to("cuda") for tensor in args]
        if (conditioning := kwargs.get("conditioning")) is not None:
            named = {field.name: getattr(conditioning, field.name) for field in fields(conditioning)}
            moved = {name: value.to("cuda") for name, value in named.items() if value is not None}
            kwargs["conditioning"] = Conditioning(**moved)
        with self:
            return self.network(*given, **kwargs)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op is torch.ops.aten._local_scalar_dense.default:
            self.refused.append(str(op))
            raise LookupError("a number was read")
        out = op(*args, **(kwargs or {}))
        tensors = [tensor for tensor in (*args, out) if isinstance(tensor, torch.Tensor)]
        if "prim" not in str(op) and any(tensor.device.type != "cuda" for tensor in tensors):
            self.refused.append(str(op))
        return out


@pytest.fixture
def watched(monkeypatch):
    """Makes the network of a family on that GPU; for use under `FakeTensorMode`."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))

    def make(family):
        config = TINY[family].config
        with torch.device("cuda"):
            return Watched(family_of(config.to_dict()).build(config).eval())

    return make


@pytest.mark.parametrize("family", quick_first(FAMILIES))
def test_only_families_that_stay_on_the_device_are_recorded(watched, family):
    with FakeTensorMode(), contextlib.suppress(LookupError):
        network = watched(family)
        assert call(network).is_cuda
    assert isinstance(network.network, RECORDED) == (not network.refused)


@pytest.mark.parametrize("family", ["v5.1-7b-control", "v5-12b-inp", "v3-inp"])
def test_pictures_and_references_stay_on_the_device_too(watched, family):
    config, masks = TINY[family].config, {}
    with FakeTensorMode(), torch.no_grad():
        if family == "v3-inp":
            states, mask = torch.ones(2, config.clip_channels), torch.ones(2, config.clip_tokens)
            given, width = {"clip_states": states, "clip_mask": mask}, config.caption_channels
            masks = {"text_mask_BM": torch.ones(2, 5, device="cuda")}
        else:
            given, width = {}, config.text_embed_dim
            if config.ref_channels:
                given["ref_latents"] = torch.ones(2, config.ref_channels, 1, 4, 4)
            if config.clip_channels:
                given |= {"clip_states": torch.ones(2, 3, config.clip_channels)}
                given["ref_latents"] = torch.ones(2, config.ref_channels, 1, 4, 4)
        texts = [torch.ones(2, 5, width)] * (2 if getattr(config, "text_embed_dim_t5", None) else 1)
        x, network = torch.ones(2, config.in_channels, 2, 4, 4), watched(family)
        assert network(x, torch.ones(2), *texts, conditioning=Conditioning(**given), **masks).is_cuda
    assert network.refused == []


@pytest.mark.parametrize("family", ["v4-inp", "open-sora-1.1"])
def test_other_families_are_refused(pipeline, family):
    name = {"v4-inp": "Hunyuan3D", "open-sora-1.1": "STDiT"}[family]
    with pytest.raises(
        ValueError, match=rf"cannot be used: {name} works out .*; only MMDiT and PixArtMotion"
    ):
        graphed(pipeline(family))


def test_memory_modes_that_move_weights_are_refused(directory):
    for mode in [mode for mode, policy in POLICIES.items() if not policy.resident]:
        parts = load_pipeline(directory("v1-t2v"), dtype="float32", device="cpu", memory=mode).components
        with pytest.raises(
            ValueError, match=f"cannot be used: memory {mode} moves weights .* model_full_load"
        ):
            parts.graphed()
        stays = replace(parts, placement=None).graphed(TapeRecorder())
        with pytest.raises(ValueError, match=f"cannot be used: memory {mode} moves weights"):
            replace(stays, placement=parts.placement)


def test_what_else_does_not_go_together(pipeline, directory, monkeypatch):
    plain = pipeline("v5.1-12b-inp")
    replayed = graphed(plain)
    with pytest.raises(
        ValueError, match=r"^teacache_threshold cannot be used with EA_CUDA_GRAPHS: every step decides"
    ):
        replayed(request(teacache_threshold=0.1, teacache_curve="identity"))
    with pytest.raises(ValueError, match="graphs must be of the transformer"):
        replace(plain.components, graphs=GraphedNetwork(pipeline("v1-t2v").components.transformer))
    monkeypatch.setenv("EA_CUDA_GRAPHS", "1")
    asked = load_pipeline(directory("v5.1-12b-inp"), dtype="float32", device="cpu")
    assert asked.components.graphs is not None
    with pytest.raises(
        ValueError, match="cannot be used: CUDA graphs need a GPU, the network is used on 'cpu'"
    ):
        asked(request())
    monkeypatch.setenv("EA_CUDA_GRAPHS", "on")
    with pytest.raises(ValueError, match="EA_CUDA_GRAPHS must be 0 or 1, got 'on'"):
        load_pipeline(directory("v5.1-12b-inp"), dtype="float32", device="cpu")
    monkeypatch.delenv("EA_CUDA_GRAPHS")
    assert plain.components.graphs is None


def test_gradients_are_refused(pipeline):
    parts = pipeline("v5.1-12b-inp").components
    x = torch.ones(1, parts.transformer.config.in_channels, 2, 4, 4)
    with pytest.raises(ValueError, match="cannot be used: gradients are wanted"):
        GraphedNetwork(parts.transformer, TapeRecorder())(x, torch.ones(1), torch.ones(1, 5, 8))


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
@pytest.mark.parametrize("family", ["v5.1-12b-inp", "v1-t2v"])
def test_sizes_guidance_loras_and_weights(directory, tmp_path, family, device):
    plain = load_pipeline(directory(family), device=device, memory="model_full_load")
    parts = plain.components.graphed(TapeRecorder() if device == "cpu" else None)
    replayed, network = GenerationPipeline(parts), parts.transformer

    def agree():
        for changes in ({}, {"guidance_scale": 1.0}, {"height": 64, "seed": 3}):
            job = request(**changes)
            assert torch.equal(replayed(job).latents, plain(job).latents)
        assert parts.graphs is not None
        return parts.graphs.recorded

    assert agree() == 3
    factors = factors_for(targets_of(network.config), "lora")
    overlay = attach(network, read_lora(write_kohya(tmp_path / "lora.safetensors", factors)))
    assert agree() == 6
    overlay.strength = 0.5
    assert agree() == 9
    overlay.remove()
    assert agree() == 12
    with torch.no_grad():
        next(network.parameters()).mul_(1.5)
    assert agree() == 12
    if device == "cpu":
        return
    reserved = []
    for _ in range(4):
        agree()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] <= reserved[0]
