"""Timesteps that are given: against the schedulers of diffusers, and what is refused."""

import json
from importlib import import_module

import pytest
import torch
from given import request_of
from test_solvers_witness import BETAS, SHAPE, close, follow, witness

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Iddpm, Memory, sampler_for, sampler_names
from ea_dit.pipelines import GenerationRequest
from ea_dit.pipelines.run import Run

# The witness hands tensors to numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

TABLE = (999, 800, 501, 500, 120, 3)
V5 = DdpmSchedule.from_dict({**BETAS, "prediction_type": "v_prediction"})
FLOW = FlowMatching()
TAKING = [
    pytest.param(schedule, name, id=name)
    for schedule in (V5, FLOW)
    for name in sampler_names(schedule)
    if name != "PNDM"
]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["Euler", "DPM++", "DPM++ SDE"])
def test_every_step_is_that_of_the_witness(name, kind):
    config = {**BETAS, "prediction_type": kind, "steps_offset": 1}
    scheduler = witness(name, config)
    scheduler.set_timesteps(timesteps=list(TABLE))
    follow(sampler_for(DdpmSchedule.from_dict(config), name, 25, timesteps=TABLE), scheduler, tolerance=2e-5)


def test_euler_takes_fractions_as_the_witness_does():
    table = (998.5, 512.25, 0.75)
    scheduler = witness("Euler", BETAS)
    scheduler.set_timesteps(timesteps=list(table))
    sampler = sampler_for(DdpmSchedule.from_dict(BETAS), "Euler", 25, timesteps=table)
    follow(sampler, scheduler, tolerance=2e-5)


def test_ancestral_ddpm_is_the_scheduler_of_that_name():
    """Of the DDPMs of diffusers the one that takes a table."""
    kind = import_module("diffusers.schedulers.scheduling_ddpm").DDPMScheduler
    scheduler = kind(**BETAS, prediction_type="v_prediction", clip_sample=False)
    scheduler.set_timesteps(timesteps=list(TABLE))
    follow(sampler_for(V5, "DDPM", 25, timesteps=TABLE), scheduler, tolerance=2e-5)


def test_lcm_jumps_as_the_witness_does():
    table = (999, 759, 499, 259)  # of the 50 that it was distilled on, as the witness wants
    scheduler = witness("LCM", {**BETAS, "prediction_type": "v_prediction"})
    scheduler.set_timesteps(timesteps=list(table))
    follow(sampler_for(V5, "LCM", 25, timesteps=table), scheduler, tolerance=2e-5)


def test_a_flow_goes_where_it_is_sent():
    """The witness shifts levels and not timesteps unless its shift is 1, which is what is meant here."""
    table = (1000, 712.5, 250, 0.5)
    kind = import_module("diffusers.schedulers.scheduling_flow_match_euler_discrete")
    scheduler = kind.FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(timesteps=list(table))
    sampler = sampler_for(FLOW, "Flow", 25, timesteps=table)
    torch.testing.assert_close(sampler.timesteps, scheduler.timesteps, rtol=0, atol=0)
    generator = torch.Generator().manual_seed(1)
    ours = theirs = torch.randn(SHAPE, generator=generator)
    for index, timestep in enumerate(scheduler.timesteps):
        prediction = torch.randn(SHAPE, generator=generator)
        ours, _ = sampler.step(index, ours, prediction, Memory())
        theirs = scheduler.step(prediction, timestep, theirs, return_dict=False)[0]
        close(f"step {index}", ours, theirs, 1e-6)


@pytest.mark.parametrize(("schedule", "name"), TAKING)
def test_a_schedule_given_back_to_its_sampler_changes_nothing(schedule, name):
    """Euler's fractions of "linspace" and the levels of a flow come back rounded to float32."""
    own = sampler_for(schedule, name, 5)
    given = sampler_for(schedule, name, 5, timesteps=tuple(own.timesteps.tolist()))
    latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    prediction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))

    def draw(shape):
        return torch.ones(shape)

    assert torch.equal(given.timesteps, own.timesteps)
    close("start", given.start(latents), own.start(latents), 1e-6)
    if name in ("DDIM", "DDPM"):
        return  # the schedule's own step goes to t - N // n, see DdimSampler
    ours, theirs = (latents, Memory()), (latents, Memory())
    for index in range(5):
        ours = given.step(index, ours[0], prediction, ours[1], draw)
        theirs = own.step(index, theirs[0], prediction, theirs[1], draw)
        close(f"step {index}", ours[0], theirs[0], 1e-5)


@pytest.mark.parametrize(("schedule", "name"), TAKING)
def test_strength_runs_the_last_of_them(schedule, name):
    full = sampler_for(schedule, name, 25, timesteps=TABLE)
    cut = sampler_for(schedule, name, 25, 0.5, timesteps=TABLE)
    assert cut.timesteps.tolist() == full.timesteps.tolist()[3:] == list(TABLE[3:])
    assert full == sampler_for(schedule, name, 25, timesteps=TABLE) != sampler_for(schedule, name, 25)


@pytest.mark.parametrize(
    ("schedule", "name", "table", "message"),
    [
        (V5, "PNDM", TABLE, "cannot be given to the sampler PNDM; those that take them: Euler, 'Euler A', D"),
        (Iddpm(), "IDDPM", TABLE, "cannot be given to this model"),
        (V5, "DDIM", (1000, 3), "must be at most 999 for this model, got 1000"),
        (V5, "Euler", (999.5, 3), "must be at most 999 for this model, got 999.5"),
        (V5, "UniPC", (999, 3.5), "must be whole numbers with this sampler, got 3.5"),
        (FLOW, "Flow", (1001, 3), "must be above 0 and at most 1000 for this model, got 1001"),
        (FLOW, "Flow_DPM++", (1000, 0), "must be above 0 and at most 1000 for this model, got 0"),
        (FLOW, "Flow", (3, 1000), "must fall from one to the next, got 1000 after 3"),
    ],
)
def test_what_a_sampler_cannot_visit_is_refused(schedule, name, table, message):
    with pytest.raises(ValueError, match=f"^timesteps {message}"):
        sampler_for(schedule, name, 25, timesteps=table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ((), "must be 1 to 1000 numbers, got 0"),
        (tuple(range(1001, 0, -1)), "must be 1 to 1000 numbers, got 1001"),
        ("999,3", "must be numbers in a row, got '999,3'"),
        (999, "must be numbers in a row, got 999"),
        ((999, 999), "must fall from one to the next, got 999 after 999"),
        ((999, -1), "must be numbers from 0 up, got -1"),
        ((float("nan"),), "must be numbers from 0 up, got nan"),
        ((float("inf"), 3), "must be numbers from 0 up, got inf"),
        ((999, True), "must be numbers from 0 up, got True"),
        ((999, "3"), "must be numbers from 0 up, got '3'"),
    ],
)
def test_requests_refuse_what_is_no_table(table, message):
    with pytest.raises(ValueError, match=f"^timesteps {message}"):
        request_of({"prompt": "x", "timesteps": table}).validate()


def test_a_request_keeps_its_table_in_json():
    request = request_of({"prompt": "x", "timesteps": (999, 500.5)})
    again = GenerationRequest.from_dict(json.loads(json.dumps(request.to_dict())))
    assert again.timesteps == (999, 500.5)
    assert GenerationRequest.from_dict({"prompt": "written before there were any"}).timesteps is None


def test_the_network_is_told_them_and_they_count_as_steps(pipeline):
    progress, run = [], pipeline("v5.1-7b-t2v")
    given = {"prompt": "x", "height": 32, "width": 32, "num_frames": 5}
    flow = run.components.process
    own = run(request_of({**given, "num_steps": 2}))
    table = tuple(flow.timesteps(flow.sigmas(2))[:-1].tolist())
    same = run(
        request_of({**given, "num_steps": 25, "timesteps": table}),
        on_progress=lambda *step: progress.append(step),
    )
    assert ("denoise", 2, 2) in progress
    torch.testing.assert_close(same.latents, own.latents, rtol=0, atol=1e-5)
    other = run(request_of({**given, "timesteps": (1000, 300)}))
    assert not torch.allclose(other.latents, own.latents, atol=1e-3)


@pytest.mark.parametrize("family", ["v5.1-7b-t2v", "v2-t2v"])
def test_a_run_goes_on_from_every_step(family, pipeline):
    run, states = pipeline(family), []
    request = request_of(
        {"prompt": "x", "height": 32, "width": 32, "num_frames": 5, "timesteps": (900, 500, 30)}
    )
    whole = torch.cat([chunk.frames for chunk in run.stream(request, run=Run(on_state=states.append))], dim=2)
    for state in states:
        again = torch.cat([chunk.frames for chunk in run.stream(request, run=Run(resume=[state]))], dim=2)
        assert torch.equal(again, whole)
