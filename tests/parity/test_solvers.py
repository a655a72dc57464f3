"""Samplers alone against recorded runs of the original pipelines: timesteps, model inputs, every step.

Runs of V1 to V4 record the guided prediction of every call, and are replayed from those. Runs of V5 and V5.1
record the latents after every step and the first call: its output is replayed, and where the schedule is a
DDPM the rest of the run is made with the network itself.
"""

import json

import pytest
import torch
from discovery import assert_close, goldens, variants
from safetensors.torch import load_file

import ea_dit
from ea_dit.diffusion import (
    FlowMatching,
    Guidance,
    Memory,
    default_sampler,
    denoise,
    sampler_for,
    schedule_from_dict,
)
from ea_dit.diffusion.loop import kept_steps

pytestmark = pytest.mark.parity

# Runs of these classes must be among the fixtures, or a sampler would go unproven.
CLASSES = {
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "PNDMScheduler",
}


def index_of(folder):
    """The case, or of a case that only names another one's settings nothing."""
    index = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return index if "scheduler" in index else None


def class_of(index):
    return index["scheduler"].get("class_name") or index["scheduler"]["class"]


def folders():
    """Whole pipeline cases, and cases of the group "solvers", which hold only what samplers need of them."""
    found = {folder.name: folder for group in ("solvers", "pipeline") for folder in variants(group)}
    return [folder for _, folder in sorted(found.items()) if index_of(folder) is not None]


FOLDERS = folders()


def select(keep):
    return [pytest.param(folder, id=folder.name) for folder in FOLDERS if keep(index_of(folder))]


REPLAYED = select(lambda index: "guided_prediction" in index["tensors"])
FIRST_STEP = select(lambda index: "guided_prediction" not in index["tensors"])
WITH_NETWORK = select(
    lambda index: (
        "guided_prediction" not in index["tensors"] and class_of(index) != "FlowMatchEulerDiscreteScheduler"
    )
)


class RecordedDraws:
    """Plays recorded draws in order."""

    def __init__(self, draws):
        self.draws = list(draws)

    def __call__(self, shape):
        draw = self.draws.pop(0)
        assert tuple(draw.shape) == tuple(shape)
        return draw


def setting_of(folder):
    index = index_of(folder)
    schedule = schedule_from_dict({"_class_name": class_of(index), **index["scheduler"]["config"]})
    call = index["call"]
    strength = call.get("strength") or 1.0
    sampler = sampler_for(schedule, default_sampler(schedule), call["num_inference_steps"], strength)
    return index, load_file(folder / "case.safetensors"), schedule, sampler


def draws_of(tensors, prefix):
    names = sorted(
        (name for name in tensors if name.startswith(prefix)), key=lambda name: int(name[len(prefix) :])
    )
    return [tensors[name] for name in names]


def check_tables(tensors, prefix, schedule, sampler):
    """The training schedule, and the whole table of a run or the tail that is run of it."""
    table = tensors.get(f"{prefix}all_timesteps", tensors[f"{prefix}timesteps"])
    run = table[len(table) - len(sampler.timesteps) :]
    torch.testing.assert_close(sampler.timesteps.double(), run.double(), rtol=1e-6, atol=1e-6)
    if not isinstance(schedule, FlowMatching):
        recorded = tensors[f"{prefix}alphas_cumprod"]
        ours = schedule.alphas_cumprod
        if schedule.class_name == "PNDMScheduler":
            return  # which leaves the betas of a zero-SNR schedule as they are
        # Solvers of sigma / alpha replace the zero of a zero-SNR schedule.
        torch.testing.assert_close(ours[:-1], recorded[:-1], rtol=1e-5, atol=1e-9)
        assert abs(float(ours[-1] - recorded[-1])) < 1e-7


def test_every_sampler_of_the_releases_is_recorded():
    assert {class_of(index_of(folder)) for folder in FOLDERS} >= CLASSES, f"in {goldens()}"


@pytest.mark.parametrize("folder", REPLAYED)
def test_replay(folder):
    """A run of V1 to V4 from its recorded predictions."""
    index, tensors, schedule, sampler = setting_of(folder)
    check_tables(tensors, "scheduler.", schedule, sampler)
    called = tensors["model_timesteps"][:, 0]
    torch.testing.assert_close(sampler.timesteps.double(), called.double(), rtol=1e-6, atol=1e-6)
    if "scheduler.sigmas" in tensors and hasattr(sampler, "sigmas"):
        recorded = tensors["scheduler.sigmas"]
        ours = torch.tensor(sampler.sigmas)
        torch.testing.assert_close(ours, recorded[len(recorded) - len(ours) :], rtol=1e-5, atol=1e-6)

    tolerance = index["suggested_tolerance"]["latents"]
    initial = tensors["initial_latents"]
    noise, *rest = draws_of(tensors, "draw_")
    if (index["call"].get("strength") or 1.0) == 1:
        close("initial latents", sampler.start(noise), initial, tolerance)
    if "model_input_scaled" in tensors:
        close("model input", sampler.model_input(0, initial), tensors["model_input_scaled"], tolerance)
    draw, memory, latents = RecordedDraws(rest), Memory(), initial
    assert len(sampler.timesteps) == len(tensors["guided_prediction"]) == len(tensors["latents_steps"])
    for step, prediction in enumerate(tensors["guided_prediction"]):
        latents, memory = sampler.step(step, latents, prediction, memory, draw)
        close(f"latents of step {step}", latents, tensors["latents_steps"][step], tolerance)
    assert draw.draws == []


def close(name, ours, recorded, tolerance):
    """By the sheet's rule: relative to the largest recorded value."""
    assert_close(name, ours, recorded, atol=tolerance * recorded.abs().max().item())


def guidance_of(index):
    call = index["call"]
    return Guidance(scale=call["guidance_scale"], rescale=call.get("guidance_rescale", 0.0))


def allowed(index, name, recorded):
    """By the case's rule for latents."""
    suggested = index["tolerance_suggested"].get(name)
    return suggested or 1e-4 * max(1.0, recorded.abs().max().item())


def check_latents(index, tensors, name, ours):
    assert_close(name, ours, tensors[name], atol=allowed(index, name, tensors[name]))


@pytest.mark.parametrize("folder", FIRST_STEP)
def test_first_step(folder):
    """The start and the first step of a run of V5 or V5.1 from the recorded output of the network."""
    index, tensors, schedule, sampler = setting_of(folder)
    check_tables(tensors, "schedule.", schedule, sampler)
    assert len(sampler.timesteps) == index["steps_run"]
    initial = tensors["latents.initial"]
    draws = draws_of(tensors, "draw.")
    strength = index["call"].get("strength") or 1.0
    if strength == 1:
        check_latents(index, tensors, "latents.initial", sampler.start(draws[0]))
    else:
        kept = kept_steps(index["call"]["num_inference_steps"], strength)
        assert len(sampler.timesteps) == kept
        vae = json.loads((folder / index["components"]["vae"] / "config.json").read_text(encoding="utf-8"))
        clean = tensors["vae_encode.0.mode"] * vae["scaling_factor"]
        check_latents(index, tensors, "latents.initial", sampler.start(draws[0], clean))
    guidance = guidance_of(index)
    given = guidance.double(sampler.model_input(0, initial))
    assert_close("model input", given, tensors["step0.hidden_states"], atol=1e-4)
    prediction = guidance.combine(tensors["step0.model_output"][:, : initial.shape[1]])
    latents, _ = sampler.step(0, initial, prediction, Memory(), RecordedDraws(draws[1:]))
    check_latents(index, tensors, "latents.step0", latents)


@pytest.mark.parametrize("folder", WITH_NETWORK)
def test_run(folder):
    """Every step of a run of V5, whose network gets what the first recorded call got beside the latents."""
    index, tensors, _, sampler = setting_of(folder)
    model = ea_dit.load_transformer(folder / index["components"]["transformer"], dtype=torch.float32)
    guidance = guidance_of(index)
    texts = [tensors["step0.encoder_hidden_states"], tensors["step0.encoder_hidden_states_t5"]]
    conditioning = ea_dit.Conditioning(
        inpaint_latents=tensors.get("step0.inpaint_latents"),
        control_latents=tensors.get("step0.control_latents"),
    )

    def predict(latents, timestep):
        doubled = guidance.double(latents)
        timesteps = timestep.to(doubled.dtype).expand(len(doubled))
        output = model(doubled, timesteps, *texts, conditioning=conditioning)
        return guidance.combine(output[:, : latents.shape[1]])

    steps = []
    ancestral = class_of(index) == "EulerAncestralDiscreteScheduler"
    recorded = draws_of(tensors, "draw.")
    draw = RecordedDraws(recorded[len(recorded) - len(sampler.timesteps) :] if ancestral else [])
    denoise(
        predict,
        tensors["latents.initial"],
        sampler,
        draw=draw,
        on_step=lambda done, total, latents: steps.append(latents),
    )
    for step, latents in enumerate(steps):
        check_latents(index, tensors, f"latents.step{step}", latents)
    check_latents(index, tensors, "latents.final", steps[-1])
    assert draw.draws == []
