"""What the flags of the denoiser's scripts mean: data, objective, what learns."""

from typing import Any, Final

from ea_train.compat.parser import Given
from ea_train.compat.rules import CLIPS
from ea_train.compat.translation import Translation, one_of, rule

DENOISE: Final = ("train", "train_lora", "train_control")
_PARTS: Final = ("train", "train_control")
_SNR_GAMMA: Final = 5.0
_FIRST_FRAME_OF_INPAINT: Final = 0.5
_SHAPES: Final = "data.recipe.shapes."


@rule("trainable_modules", "trainable_modules_low_learning_rate", scripts=_PARTS)
def _parts(given: Given, found: Translation) -> None:
    names = given.values["trainable_modules"] or []
    half = given.values["trainable_modules_low_learning_rate"]
    if not names and not half:
        raise ValueError("--trainable_modules is missing; '.' trains everything")
    everything = "." in names
    found.settings["adapter.kind"] = "all" if everything else "parts"
    if not everything:
        found.settings |= {"adapter.names": names, "adapter.half_rate_names": half}


@rule("enable_bucket", "random_ratio_crop", "random_hw_adapt", scripts=CLIPS)
def _buckets(given: Given, found: Translation) -> None:
    """As released, without buckets the crops and sizes are those of squares."""
    bucket = given.values["enable_bucket"]
    found.settings[f"{_SHAPES}enable_bucket"] = bucket
    for name in ("random_ratio_crop", "random_hw_adapt"):
        found.settings[_SHAPES + name] = bucket and given.values[name]
        if given.values[name] and not bucket:
            found.note(f"--{name}", "without --enable_bucket it has no effect")


@rule("train_data_meta", "train_data_dir", scripts=CLIPS)
def _rows(given: Given, found: Translation) -> None:
    """As released, no row is held out, and without a folder paths start where the command runs."""
    if given.values["train_data_meta"] is None:
        raise ValueError("--train_data_meta is missing; give the list of files and captions")
    found.settings["data.manifest"] = given.values["train_data_meta"]
    found.settings["data.root"] = given.values["train_data_dir"] or "."
    found.settings["data.validation_clips"] = 0
    found.comments["data.validation_clips"] = "all rows are trained on"


@rule("video_repeat", scripts=CLIPS)
def _repeat(given: Given, found: Translation) -> None:
    repeat = given.values["video_repeat"]
    found.settings["data.recipe.video_repeat"] = max(repeat, 1)
    if repeat < 1:
        found.note("--video_repeat", "0, the default, left out every video; here each comes once")


@rule("train_mode", scripts=("train", "train_lora", "train_lcm_lora"))
def _mode(given: Given, found: Translation) -> None:
    inpaint = one_of("--train_mode", given.values["train_mode"], {"normal": False, "inpaint": True})
    found.settings["conditions.mode"] = given.values["train_mode"]
    if inpaint:
        found.settings |= {
            "data.recipe.masks.draw": "inpaint",
            "data.recipe.reference.mode": "random",
            "data.recipe.reference.first": _FIRST_FRAME_OF_INPAINT,
        }


@rule("train_mode", "control_ref_image", scripts=("train_control",))
def _control(given: Given, found: Translation) -> None:
    signals = {"control": "video", "control_ref": "video", "control_camera_ref": "camera"}
    mode = given.values["train_mode"]
    found.settings["data.recipe.control"] = one_of("--train_mode", mode, signals)
    found.settings["conditions.mode"] = mode
    frame = one_of(
        "--control_ref_image", given.values["control_ref_image"], {"first_frame": "first", "random": "random"}
    )
    if mode != "control":
        found.settings["data.recipe.reference.mode"] = frame


@rule("loss_type", "not_sigma_loss", scripts=DENOISE)
def _loss(given: Given, found: Translation) -> None:
    found.settings["objective.loss"] = loss_of(given)


def loss_of(given: Given) -> str:
    """The loss that a command means; "auto", that of the model, where it names none.

    Raises:
        ValueError: It names one that is not known.
    """
    if "loss_type" in given.written:
        allowed = {name: name for name in ("sigma", "ddpm", "flow")}
        return one_of("--loss_type", given.values["loss_type"], allowed)
    return "ddpm" if given.values.get("not_sigma_loss") else "auto"


@rule("uniform_sampling", "weighting_scheme", "logit_mean", "logit_std", "mode_scale", scripts=DENOISE)
def _levels(given: Given, found: Translation) -> None:
    values, scheme = given.values, given.values["weighting_scheme"]
    if values["uniform_sampling"]:
        found.settings["objective.levels.spread"] = "ranks"
        if loss_of(given) == "flow":
            found.note("--uniform_sampling", "it spreads the noise levels of this loss too, unlike before")
    if scheme == "none":
        return
    if loss_of(given) in ("sigma", "ddpm"):
        found.note("--weighting_scheme", "only the flow loss has one")
    elif scheme in ("sigma_sqrt", "cosmap"):
        found.settings["objective.weighting"] = scheme
    else:
        found.settings["objective.levels.density"] = scheme
        own: dict[str, Any] = {"mean": values["logit_mean"], "std": values["logit_std"]}
        if scheme == "mode":
            own = {"mode_scale": values["mode_scale"]}
        found.settings |= {f"objective.levels.{name}": value for name, value in own.items()}


@rule("train_sampling_steps", "snr_loss", "prediction_type", scripts=DENOISE)
def _process(given: Given, found: Translation) -> None:
    """Settings that only some losses have; the others refuse them."""
    values, loss = given.values, loss_of(given)
    own = {
        "train_sampling_steps": ("objective.timesteps", values["train_sampling_steps"], ("sigma", "ddpm")),
        "snr_loss": ("objective.snr_gamma", _SNR_GAMMA if values["snr_loss"] else 0.0, ("sigma",)),
        "prediction_type": ("objective.prediction_type", values["prediction_type"], ("ddpm",)),
    }
    for name, (setting, value, losses) in own.items():
        if name not in given.written:
            continue
        if loss in (*losses, "auto"):
            found.settings[setting] = value
        else:
            found.note(f"--{name}", f"it has no effect on the loss {loss!r}")


@rule("noise_share_in_frames", "noise_share_in_frames_ratio", scripts=DENOISE)
def _shared_noise(given: Given, found: Translation) -> None:
    if given.values["noise_share_in_frames"]:
        found.settings["objective.noise.share_in_frames"] = given.values["noise_share_in_frames_ratio"]


@rule("motion_sub_loss", "motion_sub_loss_ratio", scripts=DENOISE)
def _motion(given: Given, found: Translation) -> None:
    if not given.values["motion_sub_loss"]:
        return
    if loss_of(given) == "sigma":
        found.note("--motion_sub_loss", "it has no effect on the loss 'sigma'")
    else:
        found.settings["objective.errors.motion_share"] = given.values["motion_sub_loss_ratio"]


RULES: Final = (
    _rows,
    _parts,
    _buckets,
    _repeat,
    _mode,
    _control,
    _loss,
    _levels,
    _process,
    _shared_noise,
    _motion,
)
