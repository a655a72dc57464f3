"""Every family learns with the losses that fit it: the held-out loss of a tiny model falls."""

import pytest
import torch
from denoise_models import MemoryBatches, task_of, train

from ea_train.objectives.config import ObjectiveConfig
from ea_train.objectives.errors import ErrorConfig
from ea_train.objectives.levels import LevelConfig
from ea_train.objectives.noise import NoiseConfig
from ea_train.tasks.base import Place

RELEASED = {
    "v1-t2v": "VarianceObjective",
    "v1-image": "VarianceObjective",
    "v2-t2v": "VarianceObjective",
    "v3-inp": "VarianceObjective",
    "v4-inp": "DdpmObjective",
    "v4-t2v": "DdpmObjective",
    "v5-12b-inp": "DdpmObjective",
    "v5-7b-control": "DdpmObjective",
    "v5.1-7b-t2v": "FlowObjective",
    "v5.1-7b-inp": "FlowObjective",
    "v5.1-12b-control": "FlowObjective",
    "v5.1-12b-camera": "FlowObjective",
    "open-sora-1.0": "VarianceObjective",
    "open-sora-1.1": "VarianceObjective",
}
# The same objective on a network that another family has too.
REPEATED = {"v1-image", "v4-t2v", "v5-12b-inp", "v5.1-7b-t2v", "v5.1-12b-control", "open-sora-1.0"}
OTHERS = {
    "V1 without its variance": ("v1-t2v", ObjectiveConfig(loss="ddpm", snr_gamma=5.0)),
    "V2 weighed": ("v2-t2v", ObjectiveConfig(snr_gamma=5.0, timesteps=100)),
    "V5 of noise": ("v5-7b-control", ObjectiveConfig(prediction_type="epsilon", timesteps=500)),
    "V5.1 in the middle": (
        "v5.1-7b-t2v",
        ObjectiveConfig(
            levels=LevelConfig(density="mode", spread="both"),
            weighting="cosmap",
            shift=2.0,
            errors=ErrorConfig(motion_share=0.25),
            noise=NoiseConfig(share_in_frames=0.5, offset=0.1, input_perturbation=0.1),
        ),
    ),
    "Open-Sora fast": ("open-sora-1.1", ObjectiveConfig(levels=LevelConfig(density="speed"))),
}


def _falls(task):
    before, again = task.validate(), task.validate()
    assert before == again
    assert before["val/loss_interval"] > 0
    train(task)
    after = task.validate()["val/loss"]
    assert after < before["val/loss"] - 0.05, (before, after)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in RELEASED]
)
def test_every_family_learns_by_its_released_loss(family, tiny_model):
    task = task_of(tiny_model(family))
    assert type(task.objective).__name__ == RELEASED[family]
    _falls(task)


@pytest.mark.parametrize("name", OTHERS)
def test_other_losses_learn_too(name, tiny_model):
    family, objective = OTHERS[name]
    _falls(task_of(tiny_model(family), objective=objective))


def test_a_step_is_a_function_of_batch_and_generator(tiny_model):
    task = task_of(tiny_model("v5.1-7b-inp"))
    place = Place(step=3, batch=7, rank=1, world_size=2, lead=6)
    batch = task.batch(0, place, 2)

    def loss(seed):
        output = task.step(batch, torch.Generator().manual_seed(seed), place)
        return float(output.losses["generator"].detach())

    torch.manual_seed(1)
    first = loss(5)
    torch.manual_seed(2)
    assert loss(5) == first
    assert loss(6) != first


@pytest.mark.parametrize(
    "family", ["v2-t2v", pytest.param("v4-inp", marks=pytest.mark.slow), "v5.1-7b-inp", "open-sora-1.1"]
)
def test_recomputed_activations_give_the_same_gradients(family, tiny_model):
    gradients = []
    for recompute in (False, True):
        task = task_of(tiny_model(family), recompute=recompute)
        train(task, steps=1, lr=0.0)
        place = Place.alone(1)
        task.step(task.batch(0, place, 2), torch.Generator().manual_seed(1), place).losses[
            "generator"
        ].backward()
        gradients.append({n: p.grad for n, p in task.transformer.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_clips_are_cut_to_what_the_model_takes(tiny_model):
    task = task_of(tiny_model("v5.1-7b-t2v"), data=MemoryBatches(frames=8, side=40))
    sample = task.source.prepare(task.batch(0, Place.alone(0), 2), torch.Generator())
    assert sample.latents_BCthw.shape == (2, 16, 2, 4, 4)  # 5 frames of 32 x 32
    image = task_of(tiny_model("v1-image"))
    sample = image.source.prepare(image.batch(0, Place.alone(0), 2), torch.Generator())
    assert sample.latents_BCthw.shape[2] == 1
    small = task_of(tiny_model("v5.1-7b-t2v"), data=MemoryBatches(side=8))
    with pytest.raises(ValueError, match="clips of 8 x 8 are too small; this model takes 16 pixels or more"):
        small.source.prepare(small.batch(0, Place.alone(0), 2), torch.Generator())
