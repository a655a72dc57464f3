"""What flags mean that all scripts share: how long, how precise, how often, with which optimiser."""

from pathlib import Path
from typing import Final

from ea_train.compat.parser import Given
from ea_train.compat.translation import Translation, one_of, rule
from ea_train.config import MAX_SEED

ACCELERATE: Final = ("train", "train_lora", "train_control", "train_reward_lora", "train_lcm_lora")
CLIPS: Final = ("train", "train_lora", "train_control", "train_lcm_lora")

_EMA_DECAY: Final = 0.9999
_SAFETY_MINUTES: Final = 60.0
_ALL_CHECKPOINTS: Final = 1_000_000


@rule("output_dir", scripts=ACCELERATE)
def _output(given: Given, found: Translation) -> None:
    found.output = Path(given.values["output_dir"])


@rule("learning_rate", "scale_lr", scripts=ACCELERATE)
def _rate(given: Given, found: Translation) -> None:
    values, rate = given.values, given.values["learning_rate"]
    if values["scale_lr"]:
        batch = values["train_batch_size"] * values["gradient_accumulation_steps"]
        rate *= batch * (given.launch.processes or 1)
        if given.launch.processes is None:
            found.note("--scale_lr", "for one process; more multiply the rate by their number")
    found.settings["optim.lr"] = rate


@rule("use_8bit_adam", "use_came", scripts=ACCELERATE)
def _kind(given: Given, found: Translation) -> None:
    if given.values["use_8bit_adam"]:
        found.settings["optim.kind"] = "adamw8bit"
    elif given.values["use_came"]:
        # As released, CAME decays nothing.
        found.settings |= {"optim.kind": "came", "optim.weight_decay": 0.0}
    else:
        found.settings["optim.kind"] = "adamw"


@rule("adam_beta1", "adam_beta2", scripts=ACCELERATE)
def _betas(given: Given, found: Translation) -> None:
    found.settings["optim.betas"] = [given.values["adam_beta1"], given.values["adam_beta2"]]
    # As released, biases and norms decay like all others.
    found.settings["optim.decay_vectors"] = True


@rule("use_deepspeed", scripts=ACCELERATE)
def _sharding(given: Given, found: Translation) -> None:
    """As released, DeepSpeed clips at one norm, and everything else at one that falls."""
    deepspeed = given.values["use_deepspeed"] or given.launch.deepspeed
    several = given.launch.processes is None or given.launch.processes > 1
    found.settings["loop.sharding"] = "fsdp2" if deepspeed and several else "none"
    if deepspeed:
        found.note("--use_deepspeed", "PyTorch shards over several processes, as ZeRO-2 did")
    if given.script != "train_reward_lora":
        found.settings["optim.clipping"] = "norm" if deepspeed else "abnormal"


@rule("use_ema", scripts=CLIPS)
def _average(given: Given, found: Translation) -> None:
    found.settings["loop.ema_decay"] = _EMA_DECAY if given.values["use_ema"] else 0.0


@rule("num_train_epochs", "max_train_steps", scripts=ACCELERATE)
def _steps(given: Given, found: Translation) -> None:
    if given.values["max_train_steps"] is None:
        found.epochs = given.values["num_train_epochs"]
    else:
        found.settings["loop.steps"] = given.values["max_train_steps"]


@rule("seed", scripts=ACCELERATE)
def _seed(given: Given, found: Translation) -> None:
    seed = given.values["seed"]
    if seed is None:
        seed = 0
    elif not 0 <= seed < MAX_SEED:
        seed %= MAX_SEED
        found.note("--seed", f"seeds end at {MAX_SEED - 1}; this run has {seed}")
    found.settings["loop.seed"] = seed


@rule("mixed_precision", scripts=ACCELERATE)
def _precision(given: Given, found: Translation) -> None:
    wanted = given.values["mixed_precision"] or given.launch.precision or "no"
    allowed = {"no": "fp32", "bf16": "bf16", "fp16": "bf16"}
    found.settings["loop.precision"] = one_of("--mixed_precision", wanted, allowed)
    if wanted == "fp16":
        found.note("--mixed_precision", "bf16 takes the place of fp16, and no loss has to be scaled")


@rule("checkpointing_steps", "checkpoints_total_limit", scripts=ACCELERATE)
def _checkpoints(given: Given, found: Translation) -> None:
    limit = given.values["checkpoints_total_limit"]
    found.settings |= {
        "loop.checkpoint_every": given.values["checkpointing_steps"],
        "loop.checkpoint_minutes": _SAFETY_MINUTES,
        "loop.keep_checkpoints": _ALL_CHECKPOINTS if limit is None else max(limit, 1),
        "loop.export_checkpoints": True,
    }
    if limit is None:
        found.comments["loop.keep_checkpoints"] = "all"


@rule("vae_path", scripts=ACCELERATE)
def _autoencoder(given: Given, found: Translation) -> None:
    """A file of weights stands for its folder, where the config is."""
    if given.values["vae_path"] is not None:
        path = Path(given.values["vae_path"])
        found.settings["model.vae"] = str(path.parent if path.suffix == ".safetensors" else path)


@rule("resume_from_checkpoint", scripts=ACCELERATE)
def _resume(given: Given, found: Translation) -> None:
    wanted = given.values["resume_from_checkpoint"]
    folder = Path(given.values["output_dir"])
    if wanted is not None and (theirs := sorted(folder.glob("checkpoint-*/transformer"), key=_number)):
        raise ValueError(
            f"--resume_from_checkpoint: {folder} holds checkpoints of EasyAnimate, whose optimiser is not "
            f"read; start from their weights, in another --output_dir, with --transformer_path={theirs[-1]}"
        )
    if wanted not in (None, "latest"):
        text = f"the newest checkpoint of the run folder is continued, not {wanted}"
        found.note("--resume_from_checkpoint", text)


def _number(folder: Path) -> int:
    """The step of `checkpoint-N/transformer`."""
    digits = folder.parent.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


@rule("validation_steps", "validation_epochs", scripts=ACCELERATE)
def _validation(given: Given, found: Translation) -> None:
    found.settings["loop.validate_every"] = given.values["validation_steps"]


@rule("report_to", "report_model_info", scripts=ACCELERATE)
def _trackers(given: Given, found: Translation) -> None:
    names = {"tensorboard": ["tensorboard"], "wandb": ["wandb"], "all": ["tensorboard", "wandb"], "none": []}
    found.settings["loop.trackers"] = one_of("--report_to", given.values["report_to"], names)
    if given.values["report_model_info"]:
        found.settings["loop.norms"] = "blocks"


RULES: Final = (
    _output,
    _rate,
    _kind,
    _betas,
    _sharding,
    _average,
    _steps,
    _seed,
    _precision,
    _checkpoints,
    _autoencoder,
    _resume,
    _validation,
    _trackers,
)
