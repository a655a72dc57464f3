"""What the flags of the scripts that train a LoRA mean: its size, distillation, rewards."""

import json
from typing import Any, Final, cast

from ea_train.compat.parser import Given
from ea_train.compat.translation import Translation, one_of, rule

_LORA: Final = ("train_lora", "train_reward_lora", "train_lcm_lora")
_REWARD: Final = ("train_reward_lora",)

# Released classes: our names by their versions, the first one their default; the option that is our `encoder`
# and the one that is our `head`; the score they aim at; the weight of their loss.
_CLASSES: Final[dict[str, tuple[dict[str, str], str, str, float, float]]] = {
    "AestheticReward": (
        {"v2": "aesthetic-v2", "v2.5": "aesthetic-v2.5"}, "encoder_path", "predictor_path", 10.0, 0.1,
    ),
    "HPSReward": ({"v2.0": "hps-v2", "v2.1": "hps-v2.1"}, "", "model_path", 1.0, 1.0),
    "PickScoreReward": ({"": "pickscore"}, "model_path", "", 1.0, 1.0),
    "MPSReward": ({"": "mps"}, "", "model_path", 1.0, 1.0),
}  # fmt: skip
_PLACES: Final = ("device", "dtype")


@rule("rank", "network_alpha", scripts=_LORA)
def _lora(given: Given, found: Translation) -> None:
    found.settings |= {
        "adapter.kind": "lora",
        "adapter.rank": given.values["rank"],
        "adapter.alpha": float(given.values["network_alpha"]),
    }


@rule("reward_fn", "reward_fn_kwargs", scripts=_REWARD)
def _reward(given: Given, found: Translation) -> None:
    name, text = given.values["reward_fn"], given.values["reward_fn_kwargs"]
    options = _options(text)
    if ":" in name:
        if options:
            raise ValueError("--reward_fn_kwargs are for released rewards; a function takes none")
        found.settings["task.rewards"] = [{"name": name}]
        return
    if name not in _CLASSES:
        raise ValueError(
            f"--reward_fn is {name!r}; allowed: {', '.join(_CLASSES)}, or module:function or file.py:function"
        )
    versions, encoder, head, best, weight = _CLASSES[name]
    version = str(options.pop("version", next(iter(versions))))
    reward: dict[str, Any] = {
        "name": one_of("--reward_fn_kwargs version", version, versions),
        "best": options.pop("max_reward", best),
        "weight": float(options.pop("loss_scale", weight)),
    }
    for place, option in (("encoder", encoder), ("head", head)):
        if option in options:
            reward[place] = str(options.pop(option))
    if unknown := [option for option in options if option not in _PLACES]:
        raise ValueError(f"--reward_fn_kwargs: {name} has no option {unknown[0]!r}")
    found.settings["task.rewards"] = [reward]
    if missing := [place for place in ("encoder", "head") if place not in reward and place != _only(name)]:
        text = f"weights are not downloaded: give {' and '.join(missing)} of task.rewards"
        found.note("--reward_fn_kwargs", text)


def _only(name: str) -> str:
    return "head" if name == "PickScoreReward" else ""


def _options(text: str | None) -> dict[str, Any]:
    try:
        options = {} if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--reward_fn_kwargs is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise ValueError(f"--reward_fn_kwargs must be a JSON object, got {text}")  # noqa: TRY004
    return cast("dict[str, Any]", options)


@rule("prompt_path", "validation_prompt_path", scripts=_REWARD)
def _prompts(given: Given, found: Translation) -> None:
    if "prompt_path" not in given.written:
        raise ValueError("--prompt_path is missing; give a text file with one prompt a line")
    found.settings["prompts"] = given.values["prompt_path"]
    if given.values["validation_prompt_path"] is not None:
        found.settings["validation_prompts"] = given.values["validation_prompt_path"]


@rule("gradient_checkpointing", "vae_gradient_checkpointing", scripts=_REWARD)
def _recompute(given: Given, found: Translation) -> None:
    both = given.values["gradient_checkpointing"] or given.values["vae_gradient_checkpointing"]
    found.settings["model.recompute"] = both


@rule("low_vram", scripts=_REWARD)
def _memory(given: Given, found: Translation) -> None:
    found.settings["model.low_vram"] = False
    if given.values["low_vram"]:
        found.note("--low_vram", "the backward pass needs the autoencoder, which stays where it is")


@rule("num_sampled_frames", "backprop_step_list", scripts=_REWARD)
def _frames(given: Given, found: Translation) -> None:
    found.settings["task.num_sampled_frames"] = given.values["num_sampled_frames"] or 0
    if given.values["backprop_step_list"] is not None:
        found.settings["task.backprop.steps"] = given.values["backprop_step_list"]


RULES: Final = (_lora, _reward, _prompts, _recompute, _memory, _frames)
