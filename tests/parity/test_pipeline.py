"""Whole V5.1 pipelines against recorded runs of the original: model inputs, every step, frames."""

import json
import math
from pathlib import Path

import pytest
import torch
from discovery import assert_close, goldens, unknown, variants
from safetensors.torch import load_file

import ea_dit
import ea_vae
from ea_dit.diffusion import FlowMatching
from ea_dit.pipelines import Components, GenerationPipeline, GenerationRequest, PromptStates
from ea_dit.pipelines.conditions import resize_frames
from ea_dit.text import TextStates

pytestmark = pytest.mark.parity

SUPPORTED = {"v5.1"}
NOT_YET = {
    "v1": "PixArt family and its samplers",
    "v2": "PixArt family and its samplers",
    "v3": "PixArt family and its samplers",
    "v4": "Hunyuan family and its samplers",
    "v5": "second text encoder and the DDIM, Euler, DPM++ and PNDM samplers",
}
KNOWN_INPUTS = {
    "prompt_embeds",
    "prompt_attention_mask",
    "negative_prompt_embeds",
    "negative_prompt_attention_mask",
    "video",
    "mask_video",
    "control_video",
    "control_camera_video",
    "ref_image",
}


def version(folder):
    return folder.name.split("-")[0]


def index_of(folder):
    return json.loads((folder / "case.json").read_text(encoding="utf-8"))


FOLDERS = [
    pytest.param(folder, id=folder.name) for folder in variants("pipeline") if version(folder) in SUPPORTED
]


class RecordedNoise:
    """Plays the recorded draws in order."""

    def __init__(self, tensors):
        self.draws = [tensors[f"draw.{i}"] for i in range(sum(name.startswith("draw.") for name in tensors))]
        self.used = 0

    def __call__(self, shape):
        draw = self.draws[self.used]
        self.used += 1
        assert tuple(draw.shape) == tuple(shape)
        return draw


def load(folder):
    index = index_of(folder)
    parts = {name: (folder / path).resolve() for name, path in index["components"].items() if "../" in path}
    components = Components(
        transformer=ea_dit.load_transformer(parts["transformer"], dtype=torch.float32),
        vae=ea_vae.load_vae(parts["vae"], dtype=torch.float32),
        flow=FlowMatching.from_dict(index["scheduler"]["config"]),
    )
    return GenerationPipeline(components)


def prompts_of(tensors):
    def states(prefix):
        return TextStates(
            tensors[f"in.{prefix}prompt_embeds"], tensors[f"in.{prefix}prompt_attention_mask"] > 0
        )

    return PromptStates(states(""), states("negative_"))


def request_of(index, tensors):
    """The call as our request.

    Two things are ours on purpose. Sizes that are not multiples of 16 are refused instead of silently made
    smaller, and a length in between is generated longer and cropped instead of shorter; so the call's size
    and length are rounded down here, which is what the original then ran. And a mask that generates
    everything is no mask.
    """
    call = index["call"]
    height, width = (call[side] // 16 * 16 for side in ("height", "width"))
    frames = (call["video_length"] - 1) // 4 * 4 + 1
    pixels = {}
    if "in.video" in tensors:
        video, mask = tensors["in.video"], tensors.get("in.mask_video")
        frames = video.shape[2]
        if mask is not None and not bool((mask == 255).all()):
            pixels["mask"] = resize_frames(mask, height, width)[0, 0]
        if "mask" in pixels or call.get("strength", 1.0) < 1:
            pixels["video"] = resize_frames(video, height, width)[0]
    for name, field in (("control_video", "control_video"), ("control_camera_video", "camera")):
        if f"in.{name}" in tensors:
            pixels[field] = tensors[f"in.{name}"][0]
    if "in.ref_image" in tensors:
        pixels["ref_image"] = tensors["in.ref_image"][0, :, 0]
    options = {
        key: call[key]
        for key in ("guidance_scale", "guidance_rescale", "strength", "noise_aug_strength")
        if key in call
    }
    return GenerationRequest(
        prompt="recorded",
        height=height,
        width=width,
        num_frames=frames,
        num_steps=call["num_inference_steps"],
        **options,
        **pixels,
    )


def watch_first_call(pipeline):
    """Records what the transformer gets and gives in its first call."""
    seen = {}

    def hook(module, args, kwargs, output):
        if seen:
            return
        conditioning = kwargs["conditioning"]
        seen.update(
            hidden_states=args[0],
            timestep=args[1],
            encoder_hidden_states=args[2],
            inpaint_latents=conditioning.inpaint_latents,
            control_latents=conditioning.control_latents,
            model_output=output,
        )

    pipeline.components.transformer.register_forward_hook(hook, with_kwargs=True)
    return seen


def allowed(name, index, expected):
    suggested = index.get("tolerance_suggested", {})
    return suggested.get(name, 1e-4 * max(1.0, expected.abs().max().item()))


def check(name, actual, index, tensors):
    expected = tensors[name]
    assert_close(name, actual, expected, atol=allowed(name, index, expected))


def test_every_case_is_known():
    found = {version(folder) for folder in variants("pipeline")}
    assert found, f"no pipeline fixtures below {goldens()}"
    assert unknown(found, supported=SUPPORTED, not_yet=NOT_YET) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_run(folder):
    index, tensors = index_of(folder), load_file(folder / "case.safetensors")
    inputs = {name.removeprefix("in.") for name in tensors if name.startswith("in.")}
    assert inputs <= KNOWN_INPUTS, "the fixture has an input that this test does not know"
    pipeline = load(folder)
    seen = watch_first_call(pipeline)
    steps = []
    noise = RecordedNoise(tensors)
    result = pipeline(
        request_of(index, tensors),
        prompts=prompts_of(tensors),
        noise=noise,
        on_latents=lambda step, latents: steps.append(latents),
    )

    for name in ("hidden_states", "timestep", "encoder_hidden_states", "inpaint_latents", "control_latents"):
        assert (seen[name] is None) == (f"step0.{name}" not in tensors), name
        if seen[name] is not None:
            check(f"step0.{name}", seen[name], index, tensors)
    check("step0.model_output", seen["model_output"], index, tensors)
    check("latents.initial", steps[0], index, tensors)
    assert len(steps) - 1 == index["steps_run"]
    for number, latents in enumerate(steps[1:]):
        check(f"latents.step{number}", latents, index, tensors)
    check("latents.final", result.latents, index, tensors)
    check("frames", result.frames, index, tensors)
    assert noise.used == len(noise.draws)


def kept_frames(tensors):
    """Frames that a mask keeps as a whole, or None if it keeps parts of frames."""
    mask = tensors.get("in.mask_video")
    if mask is None:
        return None
    generate = mask[0, 0].flatten(1) >= 0.5
    whole = generate.all(dim=1) | ~generate.any(dim=1)
    if not bool(whole.all()) or bool(generate.all()):
        return None
    return [number for number, row in enumerate(generate.tolist()) if not row[0]]


def folder_of(param):
    return param.values[0]


def with_pictures():
    """Cases whose mask keeps whole frames."""
    tensors = {folder: load_file(folder / "case.safetensors") for folder in map(folder_of, FOLDERS)}
    return [
        pytest.param(folder, id=folder.name)
        for folder in tensors
        if index_of(folder)["call"].get("strength", 1.0) == 1 and kept_frames(tensors[folder]) is not None
    ]


@pytest.mark.parametrize("folder", with_pictures())
def test_pictures_give_the_model_inputs_of_the_recorded_video(folder):
    """A request with pictures is the original's video with a mask, whatever it put under the mask."""
    index, tensors = index_of(folder), load_file(folder / "case.safetensors")
    kept = kept_frames(tensors)
    video = tensors["in.video"][0]
    last = video.shape[1] - 1
    pictures = {"last_image": video[:, last]} if last in kept else {}
    first = [number for number in kept if number != last]
    assert first == list(range(len(first)))
    if first:
        pictures["image"] = video[:, 0] if len(first) == 1 else video[:, : len(first)]
    base = request_of(index, tensors)
    request = GenerationRequest.from_dict({**base.to_dict(), "num_steps": 1}, **pictures)
    assert request.mode == "image_to_video"
    pipeline = load(folder)
    seen = watch_first_call(pipeline)
    pipeline(request, prompts=prompts_of(tensors), noise=RecordedNoise(tensors))
    check("step0.hidden_states", seen["hidden_states"], index, tensors)
    check("step0.inpaint_latents", seen["inpaint_latents"], index, tensors)


@pytest.mark.parametrize("folder", FOLDERS)
def test_schedule(folder):
    index, tensors = index_of(folder), load_file(folder / "case.safetensors")
    flow = FlowMatching.from_dict(index["scheduler"]["config"])
    sigmas = flow.sigmas(index["call"]["num_inference_steps"])
    torch.testing.assert_close(sigmas, tensors["schedule.sigmas"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        flow.timesteps(sigmas[:-1]), tensors["schedule.all_timesteps"], rtol=1e-6, atol=0
    )
    assert math.isclose(float(sigmas[0]), 1.0)


def test_components_are_where_the_cases_say():
    for param in FOLDERS:
        folder = param.values[0]
        for path in index_of(folder)["components"].values():
            if "../" in path:
                assert (Path(folder) / path / "config.json").is_file(), f"{folder.name} needs {path}"
