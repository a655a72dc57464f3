"""Recipes: functions that return the settings of a run and build its task."""

from importlib import import_module
from types import ModuleType

NAMES = (
    "default",
    "default-pictures",
    "default-vae",
    "default-text",
    "default-dit-pictures",
    "default-dit",
    "default-control",
    "default-camera",
    "default-style",
    "finetune",
    "finetune-lora",
    "stage",
    "consistency",
    "reward",
    "vae",
)


def find(name: str) -> ModuleType:
    """The recipe module of a command, with its `config` and `build`; `default` only lists the others.

    Raises:
        ValueError: No such recipe.
    """
    if name not in NAMES:
        raise ValueError(f"unknown recipe {name!r}; known: {', '.join(NAMES)}")
    return import_module(f"ea_train.recipes.{name.replace('-', '_')}")
