"""Recipes: functions that return the settings of a run and build its task."""

from types import ModuleType


def find(name: str) -> ModuleType:
    """The recipe module of a command, with its `config` and `build`.

    Raises:
        ValueError: No such recipe.
    """
    from ea_train.recipes import default_dit, default_text, default_vae  # noqa: PLC0415  one heavy import for all

    recipes = {"default-vae": default_vae, "default-text": default_text, "default-dit": default_dit}
    if name not in recipes:
        raise ValueError(f"unknown recipe {name!r}; known: {', '.join(recipes)}")
    return recipes[name]
