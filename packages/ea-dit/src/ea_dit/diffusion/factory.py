"""Samplers by the names under which released programs offer them, and schedules by their config files."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.ddpm_released import CLASS_NAMES
from ea_dit.diffusion.flow import CLASS_NAME as FLOW_CLASS_NAME
from ea_dit.diffusion.flow import EulerFlowSampler, FlowMatching
from ea_dit.diffusion.iddpm import CLASS_NAME as IDDPM_CLASS_NAME
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.iddpm_sampling import IddpmSampler, dpm_sampler, with_steps
from ea_dit.diffusion.loop import Sampler
from ea_dit.diffusion.solvers.ddim import DdimSampler
from ea_dit.diffusion.solvers.dpm import DpmSolverSampler
from ea_dit.diffusion.solvers.euler import EulerSampler
from ea_dit.diffusion.solvers.grid import ddpm_grid, flow_grid
from ea_dit.diffusion.solvers.lcm import FlowLcmSampler, LcmSampler
from ea_dit.diffusion.solvers.pndm import PndmSampler
from ea_dit.diffusion.solvers.unipc import UniPcSampler
from ea_dit.diffusion.tables import Table, check_table

Schedule: TypeAlias = DdpmSchedule | FlowMatching | Iddpm

DDPM_SAMPLERS: Mapping[str, Callable[[DdpmSchedule, int, float, Table], Sampler]] = {
    "Euler": lambda schedule, steps, strength, table: EulerSampler(schedule, steps, strength, table=table),
    "Euler A": lambda schedule, steps, strength, table: EulerSampler(
        schedule, steps, strength, ancestral=True, table=table
    ),
    "DPM++": lambda schedule, steps, strength, table: DpmSolverSampler(
        ddpm_grid(schedule, steps, strength, table), schedule.solver_order
    ),
    "DPM++ SDE": lambda schedule, steps, strength, table: DpmSolverSampler(
        ddpm_grid(schedule, steps, strength, table), schedule.solver_order, stochastic=True
    ),
    "PNDM": lambda schedule, steps, strength, table: PndmSampler(schedule, steps, strength),
    "DDIM": lambda schedule, steps, strength, table: DdimSampler(schedule, steps, strength, table=table),
    "DDPM": lambda schedule, steps, strength, table: DdimSampler(
        schedule, steps, strength, eta=1.0, table=table
    ),
    "LCM": lambda schedule, steps, strength, table: LcmSampler(schedule, steps, strength, table=table),
    "UniPC": lambda schedule, steps, strength, table: UniPcSampler(
        ddpm_grid(schedule, steps, strength, table), schedule.solver_order
    ),
}

FLOW_SAMPLERS: Mapping[str, Callable[[FlowMatching, int, float, Table], Sampler]] = {
    "Flow": lambda flow, steps, strength, table: EulerFlowSampler(flow, steps, strength, table=table),
    "Flow_DPM++": lambda flow, steps, strength, table: DpmSolverSampler(
        flow_grid(flow, steps, strength, table)
    ),
    "Flow_Unipc": lambda flow, steps, strength, table: UniPcSampler(flow_grid(flow, steps, strength, table)),
    "Flow_LCM": lambda flow, steps, strength, table: FlowLcmSampler(flow, steps, strength, table=table),
}

OWN_TIMESTEPS = frozenset({"PNDM"})
"""Samplers of a DDPM or a flow that only visit timesteps of their own: steps of one width."""


def _dpm_solver(process: Iddpm, num_steps: int, strength: float) -> Sampler:
    if strength < 1:
        raise ValueError(f"strength must be 1 with the sampler DPM-Solver, got {strength}")
    return dpm_sampler(process, num_steps)


IDDPM_SAMPLERS: Mapping[str, Callable[[Iddpm, int, float], Sampler]] = {
    "IDDPM": lambda process, steps, strength: IddpmSampler(with_steps(process, steps), strength),
    "DDIM": lambda process, steps, strength: IddpmSampler(with_steps(process, steps), strength, eta=0.0),
    "DPM-Solver": _dpm_solver,
}

_NAME_OF_CLASS = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DPMSolverMultistepScheduler": "DPM++",
    "EulerAncestralDiscreteScheduler": "Euler A",
    "EulerDiscreteScheduler": "Euler",
    "LCMScheduler": "LCM",
    "PNDMScheduler": "PNDM",
    "UniPCMultistepScheduler": "UniPC",
}


def schedule_from_dict(values: Mapping[str, Any]) -> Schedule:
    """Reads a released `scheduler_config.json` of any kind, told by `_class_name`.

    Raises:
        ValueError: If the class is not known, or the config has an unknown key.
    """
    name = values.get("_class_name")
    if name == FLOW_CLASS_NAME:
        return FlowMatching.from_dict(values)
    if name == IDDPM_CLASS_NAME:
        return Iddpm.from_dict(values)
    if name in CLASS_NAMES:
        return DdpmSchedule.from_dict(values)
    known = ", ".join((FLOW_CLASS_NAME, IDDPM_CLASS_NAME, *CLASS_NAMES))
    raise ValueError(f"scheduler config: _class_name must be one of {known}, got {name!r}")


def sampler_names(schedule: Schedule) -> tuple[str, ...]:
    """Names of the samplers that fit a schedule."""
    if isinstance(schedule, Iddpm):
        return tuple(IDDPM_SAMPLERS)
    return tuple(FLOW_SAMPLERS if isinstance(schedule, FlowMatching) else DDPM_SAMPLERS)


def default_sampler(schedule: Schedule) -> str:
    """Name of the sampler that the schedule's config file is for."""
    if isinstance(schedule, Iddpm):
        return "IDDPM"
    if isinstance(schedule, FlowMatching):
        return "Flow"
    name = _NAME_OF_CLASS[schedule.class_name]
    return "DPM++ SDE" if name == "DPM++" and schedule.algorithm_type == "sde-dpmsolver++" else name


def sampler_for(
    schedule: Schedule, name: str, num_steps: int, strength: float = 1.0, *, timesteps: Table = ()
) -> Sampler:
    """Makes the sampler of one run.

    Args:
        schedule: Of the checkpoint.
        name: One of `sampler_names(schedule)`.
        num_steps: Steps of the full schedule.
        strength: Share of the steps, the last ones, that are run; below 1 with a clean video to start from.
        timesteps: To visit instead of those of the schedule, falling; their number takes the place of
            `num_steps`. The network is told them as they are, and a flow's levels are not shifted.

    Raises:
        ValueError: For a name that is unknown or does not fit the schedule, or steps that it cannot make.
    """
    if name not in sampler_names(schedule):
        raise ValueError(
            f"sampler must be one of {_listed(sampler_names(schedule))} for {_kind(schedule)} schedule, "
            f"got {name!r}"
        )
    if timesteps:
        _check_timesteps(schedule, name, timesteps)
    if isinstance(schedule, Iddpm):
        return IDDPM_SAMPLERS[name](schedule, num_steps, strength)
    if isinstance(schedule, FlowMatching):
        return FLOW_SAMPLERS[name](schedule, num_steps, strength, timesteps)
    return DDPM_SAMPLERS[name](schedule, num_steps, strength, timesteps)


def _check_timesteps(schedule: Schedule, name: str, timesteps: Table) -> None:
    if isinstance(schedule, Iddpm):
        raise ValueError(  # noqa: TRY004
            "timesteps cannot be given to this model: its samplers keep steps of the training schedule"
        )
    if name in OWN_TIMESTEPS:
        others = _listed(other for other in sampler_names(schedule) if other not in OWN_TIMESTEPS)
        raise ValueError(f"timesteps cannot be given to the sampler {name}; those that take them: {others}")
    check_table(timesteps, schedule.num_train_timesteps)


def _listed(names: Iterable[str]) -> str:
    """Names of two words are quoted, as they have to be on a command line."""
    return ", ".join(repr(name) if " " in name else name for name in names)


def takes_variance(sampler: Sampler) -> bool:
    """Whether the predictions that a sampler steps with hold the learned variance after the noise."""
    return isinstance(sampler, IddpmSampler)


def _kind(schedule: Schedule) -> str:
    if isinstance(schedule, Iddpm):
        return "an IDDPM"
    return "a flow" if isinstance(schedule, FlowMatching) else "a DDPM"
