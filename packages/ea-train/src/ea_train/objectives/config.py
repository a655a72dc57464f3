"""The settings of a loss, and the loss that they and a model make."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Iddpm, IddpmLoss, Schedule
from ea_dit.diffusion.flow_training import LossWeighting
from ea_dit.families.pixart_motion import PixArtMotionConfig
from ea_dit.families.stdit import STDiTConfig
from ea_train.objectives.base import Objective
from ea_train.objectives.ddpm import DdpmObjective
from ea_train.objectives.errors import ErrorConfig
from ea_train.objectives.flow import FlowObjective, training_flow
from ea_train.objectives.levels import LevelConfig
from ea_train.objectives.noise import NoiseConfig
from ea_train.objectives.sigma import VarianceObjective

LossName = Literal["auto", "flow", "ddpm", "sigma", "iddpm"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is minimised.

    Attributes:
        loss: "flow" (V5.1), "ddpm" (V4, V5), "sigma" (V1 to V3) or "iddpm" (Open-Sora); "auto" is the one
            that the model was released with.
        prediction_type: Of "ddpm"; "auto" is that of the model's schedule.
        timesteps: The first so many of the schedule are drawn; 0 for all. Not for "flow".
        levels: Which of them.
        shift: Of a flow's schedule towards noise; 0 is that of the model, see `training_flow`.
        weighting: What a sample of a flow counts by its noise level: "none", "sigma_sqrt" or "cosmap".
        snr_gamma: Where the weight by the signal-to-noise ratio stops to grow (arXiv 2303.09556); 0 weighs
            all alike. Not for "flow".
        variance: How the bound of a variance joins the squared error: "mse" as it is, "rescaled_mse" times
            steps / 1000, "kl" alone.
        errors: How errors count; not for "sigma" and "iddpm".
        noise: How noise is made.
    """

    loss: LossName = "auto"
    prediction_type: Literal["auto", "epsilon", "v_prediction", "sample"] = "auto"
    timesteps: int = 0
    levels: LevelConfig = field(default_factory=LevelConfig)
    shift: float = 0.0
    weighting: Literal["none", "sigma_sqrt", "cosmap"] = "none"
    snr_gamma: float = 0.0
    variance: Literal["mse", "rescaled_mse", "kl"] = "mse"
    errors: ErrorConfig = field(default_factory=ErrorConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        for name in ("timesteps", "shift", "snr_gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"objective.{name} must be at least 0, got {getattr(self, name)}")


def released_loss(transformer: Any) -> LossName:
    """The loss that a transformer was released with.

    Args:
        transformer: Its config.
    """
    if isinstance(transformer, STDiTConfig):
        return "iddpm"
    if isinstance(transformer, PixArtMotionConfig):
        return "sigma"
    return "flow" if getattr(transformer, "text_embed_dim_t5", "") is None else "ddpm"


def make_objective(config: ObjectiveConfig, transformer: Any, schedule: Schedule) -> Objective:
    """The loss for a model.

    Args:
        config: Settings.
        transformer: Config of the transformer.
        schedule: Of the model.

    Raises:
        ValueError: The loss and the model do not fit, or a setting is not one of this loss.
    """
    loss = released_loss(transformer) if config.loss == "auto" else config.loss
    _check_settings(config, loss)
    if loss == "flow":
        return _flow(config, schedule)
    if loss == "ddpm":
        return _ddpm(config, schedule)
    return _variance(config, loss, transformer, schedule)


def _flow(config: ObjectiveConfig, schedule: Schedule) -> FlowObjective:
    if not isinstance(schedule, FlowMatching):
        raise _misfit("flow", schedule)
    weighting: LossWeighting = config.weighting
    return FlowObjective(
        flow=training_flow(schedule, shift=config.shift),
        levels=config.levels,
        weighting=weighting,
        errors=config.errors,
        noise=config.noise,
    )


def _ddpm(config: ObjectiveConfig, schedule: Schedule) -> DdpmObjective:
    if not isinstance(schedule, DdpmSchedule):
        raise _misfit("ddpm", schedule)
    if config.prediction_type != "auto":
        schedule = replace(schedule, prediction_type=config.prediction_type)
    return DdpmObjective(
        schedule=schedule,
        count=_count(config, schedule.num_train_timesteps),
        levels=config.levels,
        snr_gamma=config.snr_gamma,
        errors=config.errors,
        noise=config.noise,
    )


def _variance(
    config: ObjectiveConfig, loss: LossName, transformer: Any, schedule: Schedule
) -> VarianceObjective:
    """V1 to V3 learn on the linear betas of their schedule, Open-Sora on its own process."""
    if isinstance(schedule, FlowMatching):
        raise _misfit(loss, schedule)
    if isinstance(schedule, Iddpm):
        process = replace(schedule, timestep_respacing="")
    else:
        linear = DdpmSchedule()
        same = all(
            getattr(schedule, name) == getattr(linear, name)
            for name in ("beta_schedule", "beta_start", "beta_end", "prediction_type", "trained_betas")
        )
        if not same:
            raise _misfit(loss, schedule)
        process = Iddpm(diffusion_steps=schedule.num_train_timesteps, table_dtype="float64")
    if not _has_variance(transformer):
        raise ValueError(
            f"objective.loss {loss!r} learns a variance, which this transformer does not predict"
        )
    if config.timesteps not in (0, len(process)):
        process = replace(process, timestep_respacing=str(_count(config, len(process))))
    weighting = "p2" if config.levels.density == "speed" else "min_snr" if config.snr_gamma else "uniform"
    return VarianceObjective(
        loss=IddpmLoss(process, config.variance, weighting, config.snr_gamma or 5.0),
        levels=config.levels,
        noise=config.noise,
    )


def _has_variance(transformer: Any) -> bool:
    if isinstance(transformer, STDiTConfig):
        return transformer.pred_sigma
    latents = getattr(transformer, "latent_channels", transformer.out_channels)
    return transformer.out_channels == 2 * latents


def _count(config: ObjectiveConfig, whole: int) -> int:
    if config.timesteps > whole:
        raise ValueError(f"objective.timesteps must be at most {whole}, the model's, got {config.timesteps}")
    return config.timesteps or whole


def _misfit(loss: LossName, schedule: Schedule) -> ValueError:
    kind = {FlowMatching: "flow", Iddpm: "iddpm"}.get(type(schedule), "ddpm")
    more = ""
    if isinstance(schedule, DdpmSchedule):
        more = f" of {schedule.prediction_type} with {schedule.beta_schedule} betas"
    return ValueError(f"objective.loss {loss!r} does not fit the model, whose schedule is {kind}{more}")


def _check_settings(config: ObjectiveConfig, loss: LossName) -> None:
    """Refuse settings that this loss would not look at."""
    default = ObjectiveConfig()
    elsewhere = {
        "flow": ("prediction_type", "timesteps", "snr_gamma", "variance"),
        "ddpm": ("shift", "weighting", "variance"),
    }.get(loss, ("prediction_type", "shift", "weighting", "errors"))
    for name in elsewhere:
        if getattr(config, name) != getattr(default, name):
            raise ValueError(f"objective.{name} is no setting of the loss {loss!r}")
    if config.levels.density == "speed" and (loss in ("flow", "ddpm") or config.snr_gamma):
        raise ValueError(
            "objective.levels.density 'speed' is for the losses 'sigma' and 'iddpm' without snr_gamma"
        )
