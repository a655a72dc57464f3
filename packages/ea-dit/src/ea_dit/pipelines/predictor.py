"""The guided network of every step. Shapes: B batch, C latent channels; t, h, w the latent sizes."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance
from ea_dit.diffusion.iddpm_sampling import HeldFrames
from ea_dit.diffusion.loop import Predictor, PredictorAt
from ea_dit.pipelines.calling import bind_text
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.inputs import Inputs, Picture
from ea_dit.pipelines.teacache import StepCache
from ea_dit.text.base import TextStates
from ea_dit.types import Conditioning

STEPS_AHEAD = 64
"""Steps whose conditions are computed at once; of the largest model that is about 230 MB."""


def predictor_at(
    parts: Components,
    text: TextStates,
    inputs: Inputs,
    guidance: Guidance,
    *,
    channels: int,
    hold: HeldFrames | None = None,
    timesteps: Tensor | None = None,
    cache: StepCache | None = None,
) -> PredictorAt:
    """The network with its text, conditions and guidance bound, for every step.

    Args:
        parts: The model.
        text: [negative, positive] with guidance.
        inputs: Both halves get the same, except for the picture, which the negative half does not see.
        guidance: How the halves are combined.
        channels: Leading channels of the network's output that the sampler takes; the rest is dropped.
        hold: Frames that the network takes for given, by step.
        timesteps: Of all model calls, where no gradients are wanted: what depends on them alone is computed
            for many steps at once, by networks that can.
        cache: Leaves out blocks of some steps; None runs all.
    """
    network = parts.transformer if parts.graphs is None else parts.graphs
    call = bind_text(network, parts.traits, text)
    fixed = Conditioning(
        **{
            field.name: guidance.double(value)
            for field in fields(Conditioning)
            if (value := getattr(inputs.conditioning, field.name)) is not None
        }
    )

    condition_at = _conditions_ahead(parts, timesteps)

    def at(index: int, total: int) -> Predictor:
        conditioning = fixed
        if inputs.picture is not None and inputs.picture.shown(index, total):
            conditioning = _with_picture(conditioning, inputs.picture, parts, guidance)
        if hold is not None:
            mask_BT = hold.frame_mask(index).to(parts.device)
            conditioning = replace(conditioning, frame_mask=guidance.double(mask_BT))

        def predict(latents_BCthw: Tensor, timestep: Tensor) -> Tensor:
            x_BCthw = guidance.double(latents_BCthw.to(parts.dtype))
            # Released runs round the timestep to the latents' dtype.
            timestep_B = timestep.to(device=x_BCthw.device, dtype=x_BCthw.dtype).expand(x_BCthw.shape[0])
            step = timestep_B if condition_at is None else condition_at(index)
            options = {} if cache is None else {"shortcut": cache.at(index, total)}
            prediction = call(x_BCthw, step, conditioning=conditioning, **options)
            return guidance.combine(prediction[:, :channels])

        return predict

    return at


def _conditions_ahead(parts: Components, timesteps: Tensor | None) -> Callable[[int], Any] | None:
    """Gives what the network makes of the timestep of a call, None if it makes nothing ahead."""
    make = getattr(parts.transformer, "conditions", None)
    if make is None or timesteps is None:
        return None
    rounded = timesteps.to(device=parts.device, dtype=parts.dtype)
    made: dict[int, list[Any]] = {}

    def at(index: int) -> Any:
        chunk, step = divmod(index, STEPS_AHEAD)  # by absolute numbers, so that a resumed run sees the same
        if chunk not in made:
            made.clear()
            made[chunk] = make(rounded[chunk * STEPS_AHEAD : (chunk + 1) * STEPS_AHEAD])
        return made[chunk][step]

    return at


def _with_picture(
    conditioning: Conditioning, picture: Picture, parts: Components, guidance: Guidance
) -> Conditioning:
    """Adds the picture's states; the negative half gets zeros, and a mask that hides them."""
    states = picture.states
    mask_BQ = states.new_ones(states.shape[0], parts.traits.image_tokens)
    if guidance.active:
        states = torch.cat((torch.zeros_like(states), states))
        mask_BQ = torch.cat((torch.zeros_like(mask_BQ), mask_BQ))
    return replace(conditioning, clip_states=states, clip_mask=mask_BQ)
