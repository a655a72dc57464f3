"""`train_vae.py`: its yaml files, the words `key=value` after them, and its few flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ea_kernels.runtime.hints import known_names
from ea_train.compat.parser import Given
from ea_train.compat.table import Flag, flags_of
from ea_train.compat.translation import Translation, rule

_VAE: Final = ("train_vae",)
_NAME: Final = "autoencoder_kl_32x32x4_"
_OURS: Final = ("loop", "optim", "task")
PRESETS: Final = {
    "mag": "released-mag",
    "slice": "released-slice",
    "slice_decoder_only": "released-slice-decoder-only",
    "slice_t_downsample_8": "released-slice-t-downsample-8",
    "mag_v2": "released-mag-v2",
    "cogvideox": "released-cogvideox",
}
"""Released yaml files, without the beginning that all share, and our presets with their settings."""


@rule("base", "scale_lr", "accumulate_grad_batches", scripts=_VAE)
def _base(given: Given, found: Translation) -> None:
    """Keys from left to right, then those of the command line; a preset is what they are laid over."""
    known = {flag.name: flag for flag in flags_of("train_vae", keys=True)}
    values: dict[str, Any] = {}
    # A word with `=` behind --base is one of its file names to argparse.
    for name in (word for word in given.values["base"] if "=" not in word):
        values |= _flat(_read(Path(name), found))
    for word in (*(word for word in given.values["base"] if "=" in word), *given.more):
        key, _, text = word.partition("=")
        values[key] = _value(text, key)
    if given.values["accumulate_grad_batches"] is not None:
        values["lightning.trainer.accumulate_grad_batches"] = given.values["accumulate_grad_batches"]
    for key, value in values.items():
        if key.split(".")[0] in _OURS:
            found.settings[key] = value
        else:
            _use(_row(key, known), value, found)
    _scale(given, values, found)


def _read(path: Path, found: Translation) -> Mapping[str, Any]:
    import yaml  # noqa: PLC0415  only this script needs it

    preset = PRESETS.get(path.stem.removeprefix(_NAME))
    if preset is not None:
        found.preset = preset
    if not path.is_file():
        if preset is None:
            raise ValueError(f"--base {path}: no such file; released ones are {', '.join(PRESETS)}")
        found.note("--base", f"{path} is not here; its settings are those of the preset {preset}")
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--base {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"--base {path}: expected names with values")  # noqa: TRY004  a wrong file
    return cast("Mapping[str, Any]", values)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _value(text: str, key: str) -> Any:
    import yaml  # noqa: PLC0415  only this script needs it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{key}={text}: not a YAML value") from None


def _row(key: str, known: Mapping[str, Flag]) -> Flag:
    """The row of a key, or of the group that it is in."""
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        if (flag := known.get(".".join(parts[:end]))) is not None:
            return flag
    raise ValueError(f"--base: unknown key {key}; {known_names(key, known)}")


_INPUTS: Final = {
    "model.params.ckpt_path": "model",
    "data.params.train.params.data_json_path": "data",
}


def _use(flag: Flag, value: Any, found: Translation) -> None:
    if flag.name in _INPUTS:
        path = Path(str(value))
        found.inputs[_INPUTS[flag.name]] = path.parent if path.suffix in (".safetensors", ".ckpt") else path
    elif flag.name == "model.params.train_decoder_only":
        found.settings["task.learns"] = "decoder" if value else "all"
    elif flag.status != "dropped" and flag.to and value is not None:
        # YAML takes 1e-4, without a point, for a word.
        found.settings[flag.to[0]] = float(value) if flag.type == "float" else value


def _scale(given: Given, values: Mapping[str, Any], found: Translation) -> None:
    """As released, the base rate is that of one sample."""
    rate = values.get("model.base_learning_rate")
    if rate is None or not given.values["scale_lr"]:
        return
    batch = values.get("data.params.batch_size", 1)
    accumulate = values.get("lightning.trainer.accumulate_grad_batches", 1)
    found.settings["optim.lr"] = float(rate) * batch * accumulate * (given.launch.processes or 1)


@rule("name", "logdir", "postfix", scripts=_VAE)
def _folder(given: Given, found: Translation) -> None:
    """As released, but for the time of day: the same command continues the same run."""
    values = given.values
    stem = Path(values["base"][0]).stem if values["base"] else "run"
    name = values["name"] if isinstance(values["name"], str) and values["name"] else stem
    found.output = Path(values["logdir"]) / f"{name}{values['postfix']}"


@rule("max_steps", "max_epochs", "precision", scripts=_VAE)
def _length(given: Given, found: Translation) -> None:
    values = given.values
    if values["max_steps"] is not None:
        found.settings["loop.steps"] = values["max_steps"]
    elif values["max_epochs"] is not None:
        found.note("--max_epochs", "cuts are drawn at random, without epochs; --max_steps says how long")
    if values["precision"] is not None:
        half = str(values["precision"]).startswith(("16", "bf16"))
        found.settings["loop.precision"] = "bf16" if half else "fp32"


RULES: Final = (
    _base,
    _folder,
    _length,
)
