"""`scripts/train.py CONFIG` of Open-Sora 1.0 and 1.1: its config file, and the few flags over it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ea_kernels.runtime.hints import known_names
from ea_train.compat.parser import Given
from ea_train.compat.python_config import read_python_config
from ea_train.compat.table import Flag, flags_of
from ea_train.compat.translation import Translation, one_of, rule

_OPEN_SORA: Final = ("opensora",)
_OVER: Final = {
    "seed": "seed",
    "ckpt_path": "model.from_pretrained",
    "batch_size": "batch_size",
    "data_path": "dataset.data_path",
}
"""Keys that flags of the command line lie over."""

_RELEASED: Final[Mapping[str, Any]] = {
    "adapter.kind": "all",
    "data.root": ".",
    "data.validation_clips": 0,
    "loop.checkpoint_minutes": 60.0,
    "loop.ema_decay": 0.9999,
    "loop.export_checkpoints": True,
    "loop.keep_checkpoints": 1_000_000,
    "optim.betas": [0.9, 0.999],
    "optim.kind": "adamw",
    "optim.lr": 2e-5,
    "optim.max_grad_norm": 1.0,
    "optim.warmup_steps": 0,
    "optim.weight_decay": 0.0,
}
"""What its trainer has no key for, and what it does without one."""

_SQUARES: Final[Mapping[str, Any]] = {
    "enable_bucket": False,
    "random_hw_adapt": False,
    "training_with_video_token_length": False,
}
_SHAPES: Final = "data.recipe.shapes"


@rule("config", *_OVER, "wandb", scripts=_OPEN_SORA)
def _config(given: Given, found: Translation) -> None:
    values = _known(read_python_config(Path(given.values["config"])))
    values |= {key: given.values[name] for name, key in _OVER.items() if given.values[name] is not None}
    values = {key: value for key, value in values.items() if value is not None}
    if given.values["wandb"] is not None:
        values["wandb"] = given.values["wandb"]
    found.settings |= _RELEASED
    _copied(values, found)
    _networks(values, found)
    _batches(values, found)
    _run(given, values, found)
    if (loss := values.get("scheduler.type")) is not None:
        allowed = {"iddpm": "uniform", "iddpm-speed": "speed"}
        found.settings["objective.levels.density"] = one_of("scheduler.type", loss, allowed)
        found.settings["objective.loss"] = "iddpm"


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the keys of the table; 1.0 has those of the data set at the top."""
    rows = {flag.name: flag for flag in flags_of("opensora", keys=True)}
    values: dict[str, Any] = {}
    for key, value in _flat(config, rows):
        row = next((name for name in (key, f"dataset.{key}", key.partition(".")[0]) if name in rows), None)
        if row is None:
            raise ValueError(f"unknown key {key} in the config; {known_names(key, rows)}")
        values[row] = value
    return values


def _flat(config: Mapping[str, Any], rows: Mapping[str, Flag], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        name = f"{prefix}{key}"
        inner = any(row.startswith(f"{name}.") for row in rows)
        if isinstance(value, Mapping) and inner:
            yield from _flat(cast("Mapping[str, Any]", value), rows, f"{name}.")
        else:
            yield name, value


_COPIED: Final = (
    "dataset.frame_interval",
    "grad_checkpoint",
    "grad_clip",
    "log_every",
    "lr",
    "num_workers",
    "seed",
)


def _copied(values: Mapping[str, Any], found: Translation) -> None:
    for flag in flags_of("opensora", keys=True):
        if flag.name in _COPIED and flag.name in values:
            value = values[flag.name]
            whole = isinstance(value, int) and not isinstance(value, bool)
            found.settings[flag.to[0]] = float(value) if flag.type == "float" and whole else value


def _networks(values: Mapping[str, Any], found: Translation) -> None:
    """The checkpoint stands in its model directory, beside autoencoder and text encoder."""
    if "model.from_pretrained" not in values:
        raise ValueError("--ckpt-path is missing; give the directory of the model")
    path = Path(str(values["model.from_pretrained"]))
    found.settings["model.path"] = str(path.parent if path.is_file() else path)
    if path.is_file():
        found.settings["model.transformer"] = str(path)
    if "vae.from_pretrained" in values:
        folder = Path(str(values["vae.from_pretrained"]))
        if folder.is_dir():
            found.settings["model.vae"] = str(folder)
        else:
            found.note(
                "vae.from_pretrained", f"{folder} is no folder here; that of the model directory is used"
            )


def _batches(values: Mapping[str, Any], found: Translation) -> None:
    if "dataset.data_path" not in values:
        raise ValueError("--data-path is missing; give the list of files and captions")
    found.settings["data.manifest"] = str(values["dataset.data_path"])
    if "mask_ratios" in values:
        ratios = _numbers("mask_ratios", values["mask_ratios"])
        ratios.setdefault("mask_no", round(1 - sum(ratios.values()), 9))
        found.settings |= {"data.recipe.masks.draw": "frames", "data.recipe.masks.weights": ratios}
    if "bucket_config" in values:
        found.settings["data.recipe.buckets"] = _buckets(values["bucket_config"])
        found.settings |= {_SHAPES: None, "loop.batch_size": 1}
        if "batch_size" in values:
            found.note("batch_size", "every bucket has its own")
        return
    found.settings["loop.batch_size"] = values.get("batch_size", 1)
    found.settings |= {f"{_SHAPES}.{name}": value for name, value in _SQUARES.items()}
    if "dataset.num_frames" in values:
        found.settings[f"{_SHAPES}.video_sample_n_frames"] = values["dataset.num_frames"]
    match values.get("dataset.image_size", (256, 256)):
        case (int(side), int(other)) if side == other:
            for name in ("video_sample_size", "image_sample_size", "token_sample_size"):
                found.settings[f"{_SHAPES}.{name}"] = side
        case size:
            raise ValueError(f"dataset.image_size is {size!r}; allowed: (N, N), or a bucket_config")


def _buckets(value: Any) -> dict[str, dict[int, list[Any]]]:
    """Resolution to {frames: [keep probability, batch size]}; the recipe checks the numbers."""
    match value:
        case {**resolutions} if all(isinstance(lengths, dict) for lengths in resolutions.values()):
            pairs = [pair for lengths in resolutions.values() for pair in lengths.values()]
            if all(isinstance(pair, tuple | list) for pair in pairs):
                return {
                    name: {frames: list(pair) for frames, pair in lengths.items()}
                    for name, lengths in resolutions.items()
                }
        case _:
            pass
    raise ValueError("bucket_config must be {resolution: {frames: (keep probability, batch size)}}")


def _numbers(key: str, value: Any) -> dict[str, float]:
    match value:
        case {**numbers} if all(isinstance(number, int | float) for number in numbers.values()):
            return numbers
        case _:
            raise ValueError(f"{key} must be a dict of numbers, got {value!r}")


def _run(given: Given, values: Mapping[str, Any], found: Translation) -> None:
    found.output = Path(str(values.get("outputs", "outputs")))
    found.epochs = values.get("epochs", 1)
    if "ckpt_every" in values:
        found.settings["loop.checkpoint_every"] = values["ckpt_every"]
    wanted = values.get("dtype", "bf16")
    found.settings["loop.precision"] = one_of(
        "dtype", wanted, {"bf16": "bf16", "fp16": "bf16", "fp32": "fp32"}
    )
    if wanted == "fp16":
        found.note("dtype", "bf16 takes the place of fp16, and no loss has to be scaled")
    several = given.launch.processes is None or given.launch.processes > 1
    found.settings["loop.sharding"] = "fsdp2" if several else "none"
    if values.get("plugin", "zero2") != "zero2" or values.get("sp_size", 1) != 1:
        found.note("plugin, sp_size", "every process trains on whole clips; PyTorch shards, as ZeRO-2 did")
    found.settings["loop.trackers"] = ["tensorboard", "wandb"] if values.get("wandb") else ["tensorboard"]


RULES: Final = (_config,)
