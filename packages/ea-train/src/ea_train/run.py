"""One recipe from its settings to its export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ea_train.config import RunConfig
from ea_train.loop.trainer import Trainer
from ea_train.recipes import find


def run_recipe(
    name: str,
    settings: RunConfig,
    output: Path,
    *,
    device: torch.device,
    inputs: Mapping[str, Any],
    facts: Mapping[str, str],
) -> dict[str, float] | None:
    """Train, or continue, and export to `output/export`.

    Args:
        name: Recipe.
        settings: Of that recipe.
        output: Run folder.
        device: Where the networks live.
        inputs: Arguments of the recipe's `build`.
        facts: Text for the header of the exported weights.

    Returns:
        The validation figures, or None if the run was stopped before its last step.

    Raises:
        ValueError: Settings, inputs or the run folder do not fit together.
    """
    task = find(name).build(settings, **inputs)
    trainer = Trainer(task, settings, output, device=device)
    trainer.fit()
    if trainer.finished_steps < settings.loop.steps:
        return None
    figures = trainer.validate()
    numbers = {figure: f"{value:.4f}" for figure, value in figures.items()}
    trainer.export({"recipe": name, **facts, **numbers})
    return figures
