"""Clips of a denoiser in training, for its recipes: settings are checked, then joined with the networks."""

from ea_data.training.recipe import DataRecipe
from ea_dit.pipelines import Components, GenerationRequest
from ea_dit.pipelines.generations import generation_of
from ea_dit.pipelines.outline import Outline
from ea_dit.pipelines.variants import Traits
from ea_train.adapters import Factors, Trained
from ea_train.sample_requests import sample_requests
from ea_train.samples import ClipMaker, SampleConfig


def requests_of(
    samples: SampleConfig, outline: Outline, traits: Traits, config: object, recipe: DataRecipe
) -> list[GenerationRequest]:
    """The jobs of the clips, at the size and length that is trained on where they have none of their own.

    Args:
        samples: Settings.
        outline: Of the model.
        traits: Of the transformer as it is trained.
        config: Likewise.
        recipe: Of the data; one with buckets has no size, so the generation's own counts.

    Raises:
        ValueError: A file cannot be used, or the model cannot do what is asked for.
    """
    if not samples.prompts:
        return []
    shapes = recipe.shapes
    if shapes is None or recipe.buckets is not None:
        usual = generation_of(config)
        size, num_frames = (usual.height, usual.width), usual.frames
    else:
        side = shapes.video_sample_size
        size, num_frames = (side, side), shapes.video_sample_n_frames
    process = traits.schedule if outline.schedule is None else outline.schedule
    return sample_requests(samples, traits, process, size=size, num_frames=num_frames if traits.moves else 1)


def clip_maker(
    samples: SampleConfig, networks: Components, requests: list[GenerationRequest], trained: Trained
) -> ClipMaker | None:
    """Makes the clips; None where none are asked for."""
    if not requests:
        return None
    return ClipMaker(networks, samples, requests, trained.lora if isinstance(trained, Factors) else None)
