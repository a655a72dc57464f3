"""Rewards by name: heads of the hub, and any function."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from ea_train.rewards.aesthetic import load_aesthetic_v2, load_aesthetic_v2_5
from ea_train.rewards.base import Reward, RewardConfig, RewardMix
from ea_train.rewards.clip import ClipScore, load_open_clip, load_pair
from ea_train.rewards.locate import function_of, located
from ea_train.rewards.mps import load_mps


def _pick_score(encoder: Path, *, allow_pickle: bool) -> Reward:
    return ClipScore(load_pair(encoder, allow_pickle=allow_pickle), keeps_proportions=True)


def _hps(encoder: Path, head: Path, *, allow_pickle: bool) -> Reward:
    return ClipScore(load_open_clip(encoder, head, allow_pickle=allow_pickle), keeps_proportions=False)


HEADS: Mapping[str, Callable[..., Reward]] = MappingProxyType(
    {
        "aesthetic-v2": load_aesthetic_v2,
        "aesthetic-v2.5": load_aesthetic_v2_5,
        "hps-v2": _hps,
        "hps-v2.1": _hps,
        "mps": load_mps,
        "pickscore": _pick_score,
    }
)
"""Loaders by name. PickScore is a whole CLIP model and has no `head`; the `head` of HPS and MPS is all
weights, their `encoder` only config and tokenizer. The two HPS differ in their files."""


def load_reward(config: RewardConfig) -> Reward:
    """One reward.

    Raises:
        ValueError: An unknown name, or weights that are missing or do not fit.
    """
    if ":" in config.name:
        return function_of(config.name)
    if config.name not in HEADS:
        raise ValueError(
            f"reward {config.name!r}: must be one of {', '.join(HEADS)}, or module:function or "
            "file.py:function"
        )
    find = partial(located, allow_pickle=config.allow_pickle)
    files = {"encoder": find(config.encoder, f"encoder of reward {config.name}")}
    if config.name != "pickscore":
        files["head"] = find(config.head, f"head of reward {config.name}")
    elif config.head:
        raise ValueError("reward pickscore has no head: its encoder is the whole model")
    return HEADS[config.name](**files, allow_pickle=config.allow_pickle)


def load_rewards(configs: Sequence[RewardConfig]) -> RewardMix:
    """All rewards of a run.

    Raises:
        ValueError: None, one twice, or one that cannot be loaded.
    """
    if not configs:
        raise ValueError("task.rewards must name at least one reward")
    names = [config.name for config in configs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"task.rewards: {twice[0]} stands there twice")
    return RewardMix({config.name: (load_reward(config), config) for config in configs})
