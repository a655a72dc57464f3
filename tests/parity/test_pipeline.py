"""Whole pipelines against recorded runs of the original: model inputs, every step, frames."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from discovery import assert_close, goldens, unknown, variants
from safetensors.torch import load_file

import ea_dit
import ea_vae
from ea_dit.diffusion import FlowMatching, Guidance, schedule_from_dict
from ea_dit.pipelines import (
    Camera,
    ClipImage,
    Components,
    Control,
    Frames,
    GenerationPipeline,
    GenerationRequest,
    PromptStates,
    Reference,
    Video,
)
from ea_dit.pipelines.channels import resize_frames
from ea_dit.text import TextStates
from ea_dit.text.clip_image import ImageStates

pytestmark = pytest.mark.parity

SUPPORTED = {"v1", "v2", "v3", "v4", "v5", "v5.1"}
NOT_YET: dict[str, str] = {}

# Runs with a sampled posterior are recorded for comparison only: the mean is what the authors settled on.
SAMPLED_POSTERIOR = "-release-sampled"

KNOWN_INPUTS = {
    "prompt_embeds",
    "prompt_attention_mask",
    "negative_prompt_embeds",
    "negative_prompt_attention_mask",
    "prompt_embeds_2",
    "prompt_attention_mask_2",
    "negative_prompt_embeds_2",
    "negative_prompt_attention_mask_2",
    "video",
    "mask_video",
    "control_video",
    "control_camera_video",
    "ref_image",
}

OPTIONS = ("guidance_scale", "guidance_rescale", "strength", "noise_aug_strength", "clip_apply_ratio")

# Arguments of the network's first call: recorded name, and where we pass it.
CALL = {
    "hidden_states": "x",
    "timestep": "timestep",
    "encoder_hidden_states": "text",
    "encoder_hidden_states_t5": "second_text",
    "text_embedding_mask": "text_mask",
    "encoder_attention_mask": "text_mask",
    "text_embedding_mask_t5": "second_text_mask",
    "inpaint_latents": "inpaint_latents",
    "control_latents": "control_latents",
    "clip_encoder_hidden_states": "clip_states",
    "clip_attention_mask": "clip_mask",
    "added_cond_kwargs.resolution": "resolution",
    "added_cond_kwargs.aspect_ratio": "aspect_ratio",
}
# Recorded, but the network does not read it, or makes it itself.
IGNORED_CALL = {"image_meta_size", "style", "image_rotary_emb_cos", "image_rotary_emb_sin"}


def version(folder):
    return folder.name.split("-")[0]


def index_of(folder):
    return json.loads((folder / "case.json").read_text(encoding="utf-8"))


def folders():
    return [
        folder
        for folder in variants("pipeline")
        if version(folder) in SUPPORTED and not folder.name.endswith(SAMPLED_POSTERIOR)
    ]


FOLDERS = [pytest.param(folder, id=folder.name) for folder in folders()]


@dataclasses.dataclass
class Recording:
    """A recorded run of V5 or V5.1, or one of V1 to V4 with its tensors under the names of those.

    Attributes:
        index: The case file.
        tensors: By name: `in.*`, `draw.N`, `step0.*`, `latents.*`, `prediction.N`, `clip_mask.N`, `frames`.
    """

    index: dict
    tensors: dict

    @classmethod
    def read(cls, folder, *, release=False):
        index, tensors = index_of(folder), load_file(folder / "case.safetensors")
        if "prompt_embeds" in tensors:
            tensors = dict(renamed(tensors, release=release))
        return cls(index, tensors)

    @property
    def call(self):
        return self.index["call"]

    def schedule(self):
        settings = self.index["scheduler"]
        name = settings.get("class_name") or settings["class"]
        return schedule_from_dict({"_class_name": name, **settings["config"]})

    def numbered(self, prefix):
        count = sum(name.startswith(f"{prefix}.") and name.split(".")[1].isdigit() for name in self.tensors)
        return [self.tensors[f"{prefix}.{number}"] for number in range(count)]

    def steps(self):
        count = sum(name.startswith("latents.step") for name in self.tensors)
        return [f"latents.step{number}" for number in range(count)]

    def allowed(self, name):
        """By the rules of the case: absolute by name, or relative by kind of tensor."""
        peak = self.tensors[name].abs().max().item()
        rules = self.index.get("suggested_tolerance")
        if rules is None:
            return self.index["tolerance_suggested"].get(name, 1e-4 * max(1.0, peak))
        if name == "frames":
            return rules["frames_absolute"]
        if name == "step0.inpaint_latents":
            return rules["inpaint_latents"] * peak
        if name.startswith("prediction"):
            return rules["guided_prediction"] * peak
        return rules["latents"] * max(peak, 1e-3)

    def check(self, name, actual):
        assert_close(name, actual, self.tensors[name], atol=self.allowed(name))


INPUTS_IN_BYTES = {"video_uint8": ("in.video", 255), "mask_video_uint8": ("in.mask_video", 1)}
RENAMED = {
    **{name: f"in.{name}" for name in KNOWN_INPUTS},
    "clip_image_embeds": "clip.pooled",
    "clip_last_hidden_state": "clip.patches",
    "clip_image_uint8": "clip.image",
    "model0.output": "step0.model_output",
    "initial_latents": "latents.initial",
    "final_latents": "latents.final",
}
BY_STEP = {
    "latents_steps": "latents.step",
    "guided_prediction": "prediction.",
    "clip_attention_mask_per_step": "clip_mask.",
}


def renamed(tensors, *, release):
    """Tensors of V1 to V4 under the names of V5; those of the still-image pipeline get a frame axis."""
    if release:
        # The denoiser of V4's release differs from later code in one rotation; everything else is equal.
        of_release = {
            name.removeprefix("release."): tensor
            for name, tensor in tensors.items()
            if name.startswith("release.")
        }
        later = {"guided_prediction", "frames"}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in later} | of_release
    still = tensors["initial_latents"].ndim == 4
    for name, tensor in tensors.items():
        if name in INPUTS_IN_BYTES:
            ours, scale = INPUTS_IN_BYTES[name]
            yield ours, tensor.float() / scale
        elif name in RENAMED:
            yield RENAMED[name], framed(tensor, still)
        elif name in BY_STEP:
            yield from ((f"{BY_STEP[name]}{step}", framed(part, still)) for step, part in enumerate(tensor))
        elif name.startswith("draw_"):
            yield f"draw.{int(name[5:])}", framed(tensor, still)
        elif name.startswith("model0."):
            yield f"step0.{name[7:]}", framed(tensor, still)
        elif name == "frames":
            yield name, tensor.movedim(-1, 1)[:, :, None] if still else tensor


def framed(tensor, still):
    return tensor[:, :, None] if still and tensor.ndim == 4 else tensor


class RecordedNoise:
    """Plays the recorded draws in order."""

    def __init__(self, recording):
        self.draws = recording.numbered("draw")
        self.used = 0

    def __call__(self, shape):
        draw = self.draws[self.used]
        self.used += 1
        assert tuple(draw.shape) == tuple(shape)
        return draw


class RecordedPicture:
    """Gives the recorded states of CLIP for the recorded picture."""

    def __init__(self, tensors):
        self.tensors = tensors

    def encode(self, images):
        recorded = self.tensors["clip.image"].permute(2, 0, 1)[None].float() / 255
        torch.testing.assert_close(resize(images, recorded), recorded, rtol=0, atol=1e-6)
        pooled = self.tensors.get("clip.pooled", torch.zeros(1, 1))
        patches = self.tensors.get("clip.patches", torch.zeros(1, 2, 1))
        return ImageStates(pooled, patches[:, 1:])


def resize(images, like):
    """Recorded sizes may be no multiples of 16, which the request had to be rounded to."""
    if images.shape == like.shape:
        return images
    assert images.shape[-2] == like.shape[-2] // 16 * 16
    return like


def load(folder, recording, *, release=False):
    index = recording.index
    parts = {name: (folder / path).resolve() for name, path in index["components"].items() if "../" in path}
    overrides = {"rope_in_first_block": release} if version(folder) == "v4" else None
    components = Components(
        transformer=ea_dit.load_transformer(parts["transformer"], dtype=torch.float32, overrides=overrides),
        vae=ea_vae.load_vae(parts["vae"], dtype=torch.float32),
        image_encoder=RecordedPicture(recording.tensors) if "clip.image" in recording.tensors else None,
        schedule=recording.schedule(),
    )
    return GenerationPipeline(components)


def prompts_of(tensors):
    def states(prefix, suffix=""):
        if f"in.{prefix}prompt_embeds{suffix}" not in tensors:
            return None
        return TextStates(
            tensors[f"in.{prefix}prompt_embeds{suffix}"],
            tensors[f"in.{prefix}prompt_attention_mask{suffix}"] > 0,
            None if suffix else states(prefix, "_2"),
        )

    return PromptStates(states(""), states("negative_"))


def conditions_of(call, tensors, size):
    """The conditions of a request.

    A mask that generates everything is no mask, and then a video counts only with strength below 1.
    """
    given = []
    if "in.video" in tensors:
        video, mask = resize_frames(tensors["in.video"], *size)[0], tensors.get("in.mask_video")
        if mask is not None and not bool((mask == 255).all()):
            given.append(Video(pixels=video, mask=resize_frames(mask, *size)[0, 0]))
        elif call.get("strength", 1.0) < 1:
            given.append(Video(pixels=video))
        if "clip.image" in tensors:
            given.append(ClipImage(pixels=video[:, 0]))
    if "in.control_video" in tensors:
        given.append(Control(pixels=tensors["in.control_video"][0]))
    if "in.control_camera_video" in tensors:
        given.append(Camera(rays=tensors["in.control_camera_video"][0]))
    if "in.ref_image" in tensors and call.get("video_length", 1) > 1:  # of one frame the original ignores it
        given.append(Reference(pixels=tensors["in.ref_image"][0, :, 0]))
    return tuple(given)


def request_of(recording, vae):
    """The call as our request.

    Sizes that are not multiples of 16 are refused by us on purpose instead of silently made smaller, and a
    length in between is generated longer and cropped instead of shorter; so the call's size and length are
    rounded down here, which is what the original then ran.
    """
    call, tensors = recording.call, recording.tensors
    height, width = (call[side] // 16 * 16 for side in ("height", "width"))
    frames = vae.geometry.round_frames_down(call.get("video_length", 1))
    if "in.video" in tensors:
        frames = tensors["in.video"].shape[2]
    options = {
        key: call[key]
        for key in (
            "guidance_scale",
            "guidance_rescale",
            "strength",
            "noise_aug_strength",
            "clip_apply_ratio",
        )
        if key in call
    }
    return GenerationRequest(
        prompt="recorded",
        height=height,
        width=width,
        num_frames=frames,
        num_steps=call["num_inference_steps"],
        **options,
        conditions=conditions_of(call, tensors, (height, width)),
    )


def watch_calls(pipeline):
    """Records what the transformer gets and gives in every call."""
    seen = []
    network = pipeline.components.transformer
    ahead = remember_timesteps(network)

    def hook(module, args, kwargs, output):
        names = ("x", "timestep", "text", "second_text")
        call = dict(zip(names, args, strict=False)) | {"output": output}
        if not isinstance(call["timestep"], torch.Tensor):
            call["timestep"] = ahead[id(call["timestep"])].expand(len(call["x"]))
        call["text_mask"] = kwargs.get("text_mask_BM")
        call["second_text_mask"] = kwargs.get("second_text_mask_BN")
        conditioning = kwargs["conditioning"]
        fields = dataclasses.fields(conditioning)
        seen.append(call | {field.name: getattr(conditioning, field.name) for field in fields})

    network.register_forward_hook(hook, with_kwargs=True)
    return seen


def remember_timesteps(network):
    """The timesteps of what a network computes ahead, by the identity of what it is given in their place."""
    ahead = {}
    if hasattr(network, "conditions"):
        compute = network.conditions

        def conditions(timestep_S):
            made = compute(timestep_S)
            ahead.update({id(one): timestep for one, timestep in zip(made, timestep_S, strict=True)})
            return made

        network.conditions = conditions
    return ahead


def check_first_call(recording, call):
    """Every recorded argument is what we passed; one that is all zero may be left out."""
    traits_mask = call["text_mask"] is not None
    for name, tensor in recording.tensors.items():
        argument = name.removeprefix("step0.")
        if not name.startswith("step0.") or argument in IGNORED_CALL | {"model_output"}:
            continue
        assert argument in CALL, "the fixture has an argument that this test does not know"
        actual = call.get(CALL[argument])
        if "mask" in CALL[argument] and "text" in CALL[argument] and not traits_mask:
            continue  # V5 and V5.1 do not tell the network
        if actual is None and (not bool(tensor.any()) or argument.startswith("added_cond_kwargs")):
            continue  # V4 is told sizes that it does not read
        assert actual is not None, name
        recording.check(name, actual.float() if actual.dtype == torch.bool else actual)
    for ours in ("inpaint_latents", "control_latents"):
        assert call[ours] is None or f"step0.{ours}" in recording.tensors


def check_predictions(recording, calls, channels):
    """Guided predictions of V1 to V4: a late mistake does not show in their latents."""
    guidance = Guidance(scale=recording.call["guidance_scale"])
    for number, call in enumerate(calls):
        if f"prediction.{number}" in recording.tensors:
            recording.check(f"prediction.{number}", guidance.combine(call["output"][:, :channels]))
        expected = recording.tensors.get(f"clip_mask.{number}")
        if expected is not None:
            ours = call["clip_mask"]
            assert torch.equal(torch.zeros_like(expected) if ours is None else ours, expected), number


def test_every_case_is_known():
    found = {version(folder) for folder in variants("pipeline")}
    assert found, f"no pipeline fixtures below {goldens()}"
    assert unknown(found, supported=SUPPORTED, not_yet=NOT_YET) == []


def run_and_check(folder, *, release=False):
    recording = Recording.read(folder, release=release)
    inputs = {name.removeprefix("in.") for name in recording.tensors if name.startswith("in.")}
    assert inputs <= KNOWN_INPUTS, "the fixture has an input that this test does not know"
    pipeline = load(folder, recording, release=release)
    calls, steps, noise = watch_calls(pipeline), [], RecordedNoise(recording)
    result = pipeline(
        request_of(recording, pipeline.components.vae),
        prompts=prompts_of(recording.tensors),
        noise=noise,
        on_latents=lambda step, latents: steps.append(latents),
    )
    check_first_call(recording, calls[0])
    recording.check("step0.model_output", calls[0]["output"])
    check_predictions(recording, calls, result.latents.shape[1])
    recording.check("latents.initial", steps[0])
    assert len(steps) - 1 == len(recording.steps()) == len(calls)
    for name, latents in zip(recording.steps(), steps[1:], strict=True):
        recording.check(name, latents)
    recording.check("latents.final", result.latents)
    if "frames" in recording.tensors:
        recording.check("frames", result.frames)
    assert noise.used == len(noise.draws)


@pytest.mark.parametrize("folder", FOLDERS)
def test_run(folder):
    run_and_check(folder)


@pytest.mark.parametrize("folder", [param for param in FOLDERS if version(param.values[0]) == "v4"])
def test_run_with_the_rotation_of_the_release(folder):
    run_and_check(folder, release=True)


def kept_frames(tensors):
    """Frames that a mask keeps as a whole, or None if it keeps parts of frames."""
    mask = tensors.get("in.mask_video")
    if mask is None or "clip.image" in tensors:
        return None
    generate = mask[0, 0].flatten(1) >= 0.5
    whole = generate.all(dim=1) | ~generate.any(dim=1)
    if not bool(whole.all()) or bool(generate.all()):
        return None
    return [number for number, row in enumerate(generate.tolist()) if not row[0]]


def with_pictures():
    """Cases whose mask keeps whole frames; those with CLIP are run with pictures anyway."""
    found = {folder: Recording.read(folder) for folder in folders()}
    return [
        pytest.param(folder, id=folder.name)
        for folder, recording in found.items()
        if recording.call.get("strength", 1.0) == 1 and kept_frames(recording.tensors) is not None
    ]


@pytest.mark.parametrize("folder", with_pictures())
def test_pictures_give_the_model_inputs_of_the_recorded_video(folder):
    """A request with pictures is the original's video with a mask, whatever it put under the mask."""
    recording = Recording.read(folder)
    kept = kept_frames(recording.tensors)
    video = recording.tensors["in.video"][0]
    last = video.shape[1] - 1
    pictures = [Frames(pixels=video[:, last], at=-1)] if last in kept else []
    first = [number for number in kept if number != last]
    assert first == list(range(len(first)))
    if first:
        pictures.append(Frames(pixels=video[:, 0] if len(first) == 1 else video[:, : len(first)]))
    pipeline = load(folder, recording)
    base = request_of(recording, pipeline.components.vae)
    request = dataclasses.replace(base, num_steps=1, conditions=tuple(pictures))
    assert request.mode == "image_to_video"
    calls = watch_calls(pipeline)
    pipeline(request, prompts=prompts_of(recording.tensors), noise=RecordedNoise(recording))
    recording.check("step0.hidden_states", calls[0]["x"])
    recording.check("step0.inpaint_latents", calls[0]["inpaint_latents"])


@pytest.mark.parametrize("folder", [param for param in FOLDERS if version(param.values[0]) == "v5.1"])
def test_schedule(folder):
    recording = Recording.read(folder)
    flow, tensors = recording.schedule(), recording.tensors
    assert isinstance(flow, FlowMatching)
    sigmas = flow.sigmas(recording.call["num_inference_steps"])
    torch.testing.assert_close(sigmas, tensors["schedule.sigmas"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        flow.timesteps(sigmas[:-1]), tensors["schedule.all_timesteps"], rtol=1e-6, atol=0
    )
    assert math.isclose(float(sigmas[0]), 1.0)


def test_components_are_where_the_cases_say():
    for folder in folders():
        for path in index_of(folder)["components"].values():
            if "../" in path:
                assert (Path(folder) / path / "config.json").is_file(), f"{folder.name} needs {path}"
