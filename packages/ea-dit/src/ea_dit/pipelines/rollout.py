"""Denoising with a gradient: the stages of the pipeline for training that judges what is generated.

Shapes: B batch, C latent channels; t, h, w the latent sizes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ea_dit.diffusion import Guidance, Sampler, denoise_steps, takes_variance
from ea_dit.diffusion.iddpm_sampling import HeldFrames
from ea_dit.diffusion.loop import Predictor
from ea_dit.pipelines.checks import check_request, requested_sampler
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.inputs import make_inputs
from ea_dit.pipelines.predictor import predictor_at
from ea_dit.pipelines.request import GenerationRequest
from ea_dit.pipelines.stages import Noise, PromptStates, model_text

WrapStep = Callable[[int, Predictor], Predictor]
"""(index of the step, guided network) to what is called in its place."""


def rollout(
    parts: Components,
    request: GenerationRequest,
    prompts: PromptStates,
    noise: Noise,
    *,
    sampler: Sampler | None = None,
    gradient_from: int | None = None,
    wrap: WrapStep = lambda index, predict: predict,
) -> Tensor:
    """Runs a request from noise to scaled latents (B, C, t, h, w), at once and without decoding.

    Args:
        parts: The model.
        request: Size, steps, guidance; its prompt and seed are not used.
        prompts: Encoded prompts; their number is B.
        noise: Source of all draws, the initial noise first, as in the pipeline.
        sampler: Instead of the one that the request names.
        gradient_from: Index of the first step that keeps what a backward pass needs; None: none does.
        wrap: Changes the call of a step, for example to recompute it.

    Raises:
        ValueError: For a request that this model cannot do.
    """
    request.validate()
    if request.teacache_threshold is not None:
        raise ValueError("teacache_threshold cannot be used in training: all steps are run")
    check_request(request, parts.traits, parts.process)
    sampler = requested_sampler(request, parts.process) if sampler is None else sampler
    variance = takes_variance(sampler)
    guidance = Guidance(
        scale=request.guidance_scale,
        rescale=request.guidance_rescale,
        cfg_channel=parts.traits.guided_channels if variance else None,
    )
    shape = parts.vae.geometry.latent_shape(
        batch=len(prompts.positive),
        channels=parts.traits.latent_channels,
        num_frames=request.num_frames,
        height=request.height,
        width=request.width,
    )
    with torch.no_grad():
        text = model_text(prompts, parts, guided=guidance.active)
        latents = sampler.start(noise(shape).to(device=parts.device, dtype=parts.dtype))
        inputs = make_inputs(request, parts, shape, noise)
    hold = inputs.hold(sampler)
    at = predictor_at(
        parts,
        text,
        inputs,
        guidance,
        channels=parts.traits.latent_channels * (2 if variance else 1),
        hold=hold if isinstance(hold, HeldFrames) else None,
    )
    return denoise_steps(
        lambda index, total: wrap(index, at(index, total)),
        inputs.start(latents),
        sampler,
        draw=noise,
        hold=hold,
        gradient_from=gradient_from,
    )


def encode_batch(
    parts: Components, texts: Sequence[str], *, guided: bool, negative: str = ""
) -> PromptStates:
    """Encodes several prompts, and as many negative ones if they are needed.

    Raises:
        ValueError: If there is no text encoder or a prompt is too long for it.
    """
    if parts.text_encoder is None:
        raise ValueError("prompts cannot be encoded: the model has no text encoder")
    with torch.no_grad(), parts.using("text_encoder"):
        positive = parts.text_encoder.encode(texts)
        stored = parts.traits.text.stored_negative and not negative
        if not guided or stored:
            return PromptStates(positive)
        return PromptStates(positive, parts.text_encoder.encode([negative] * len(texts)))
