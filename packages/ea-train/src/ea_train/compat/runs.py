"""Which recipe runs a script, and the run that a command line asks for."""

from collections.abc import Sequence
from typing import Final

from ea_train.compat import rules, rules_denoise, rules_lora, rules_open_sora, rules_vae
from ea_train.compat.parser import Launch, parse
from ea_train.compat.translation import Rule, Translation, translate

RECIPES: Final = {
    "train": ("finetune", "gpu"),
    "train_lora": ("finetune", "gpu"),
    "train_control": ("finetune", "gpu"),
    "train_reward_lora": ("reward", "gpu"),
    "train_lcm_lora": ("consistency", "gpu"),
    "train_vae": ("vae", "released-slice"),
    "opensora": ("finetune", "gpu"),
}
"""Recipe and preset of every script."""

RULES: Final[tuple[Rule, ...]] = (
    *rules.RULES,
    *rules_denoise.RULES,
    *rules_lora.RULES,
    *rules_vae.RULES,
    *rules_open_sora.RULES,
)


def run_of(script: str, arguments: Sequence[str], launch: Launch | None = None) -> Translation:
    """The run that a command line asks for.

    Args:
        script: A name of `ea_train.compat.table.SCRIPTS`.
        arguments: Its command line, without its name.
        launch: What the launcher says; nothing if None.

    Raises:
        ValueError: The command line is wrong, or no recipe does what it asks for; one line.
    """
    given = parse(script, arguments, launch)
    recipe, preset = RECIPES[script]
    return translate(Translation(given=given, recipe=recipe, preset=preset), RULES)
