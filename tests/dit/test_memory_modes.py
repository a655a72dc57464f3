"""Memory modes in the pipeline: parts come when they are used, and the frames are the same."""

import dataclasses

import pytest
import torch
from given import request_of

from ea_dit.pipelines import GenerationPipeline, load_components
from ea_dit.pipelines.networks import networks_of
from ea_kernels.runtime.placement import plan

PICTURE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
SKIPPING = {"timesteps": (999, 998, 997, 996), "teacache_threshold": 1, "teacache_curve": "identity"}
PARTS = ("text_encoder", "image_encoder", "vae", "transformer")


def make(**changes):
    options = {"prompt": "a red fox", "height": 32, "width": 32, "num_frames": 5, "num_steps": 1}
    return request_of(options | changes)


class Spoiler:
    """A transfer whose copies are right while the weights at home are NaN, so that using those shows.

    Attributes:
        order: Names of the parts that came, repetitions merged.
    """

    def __init__(self, networks):
        self.order = []
        self._weights = {}
        for part, network in networks.items():
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
                # The stored states of an empty prompt are read at home.
                if tensor.numel() and tensor.is_floating_point() and "null_text" not in name:
                    self._weights[tensor.data_ptr()] = (part, tensor.detach().clone())
                    tensor.data.fill_(torch.nan)

    def __call__(self, tensor, device):
        part, weight = self._weights.get(tensor.data_ptr(), (None, tensor))
        if part is not None and self.order[-1:] != [part]:
            self.order.append(part)
        return weight.clone()


ROWS = {
    "v5.1-7b-inp": ({"image": PICTURE}, ["text_encoder", "vae", "transformer", "vae"]),
    "v4-inp": ({"image": PICTURE}, ["text_encoder", "vae", "image_encoder", "transformer", "vae"]),
    "v3-inp": ({"image": PICTURE}, ["text_encoder", "vae", "image_encoder", "transformer", "vae"]),
    "v5.1-7b-t2v": (SKIPPING, ["text_encoder", "transformer", "vae"]),
    "v1-t2v": ({}, ["text_encoder", "transformer", "vae"]),
    "open-sora-1.1": ({}, ["text_encoder", "transformer", "vae"]),
}
# Layer by layer every network differs; as wholes, those with and without an encoder of pictures.
WHOLE = {"v5.1-7b-inp", "v4-inp"}
CASES = [
    pytest.param(
        family, mode, marks=pytest.mark.slow if mode == "model_cpu_offload" and family not in WHOLE else ()
    )
    for mode in ("model_cpu_offload", "sequential_cpu_offload")
    for family in ROWS
]


@pytest.mark.parametrize(("family", "mode"), CASES)
def test_parts_come_when_they_are_used(directory, family, mode):
    changes, order = ROWS[family]
    parts = load_components(directory(family), dtype="float32", device="cpu")
    expected = GenerationPipeline(parts)(make(**changes)).frames
    networks = networks_of({name: getattr(parts, name) for name in PARTS})
    assert set(networks) == set(order)
    before = {id(tensor) for network in networks.values() for tensor in network.parameters()}
    spoiler = Spoiler(networks)
    parts = dataclasses.replace(parts, placement=plan(networks, mode, "cpu", transfer=spoiler))
    assert torch.equal(GenerationPipeline(parts)(make(**changes)).frames, expected)
    assert spoiler.order == order
    assert {id(tensor) for network in networks.values() for tensor in network.parameters()} == before


def test_eight_bits_change_little(directory):
    folder = directory("v5.1-7b-t2v")
    options = {"dtype": "float32", "device": "cpu"}
    exact = GenerationPipeline(load_components(folder, **options))(make()).latents
    parts = load_components(folder, memory="model_cpu_offload_and_qfloat8", **options)
    assert (parts.dtype, parts.placement.mode) == (torch.float32, "model_cpu_offload_and_qfloat8")
    rounded = GenerationPipeline(parts)(make()).latents
    error = (rounded - exact).square().mean() / exact.square().mean()
    assert 0 < float(error.sqrt()) < 0.05


def test_encoders_of_other_kinds_take_care_of_themselves():
    assert networks_of({"text_encoder": object(), "image_encoder": None}) == {}
