"""What a window of a long video hands over to the next one.

Frames lose something on their way through the autoencoder; latents do not. So the next window is given the
frames of the overlap, as any first frames, and wherever both windows cut the video at the same place their
latents are taken over as they are. Networks without an input for given frames are held on the path that the
window before took through the noise. Shapes: B batch, C latent channels, T frames, H and W pixels; t, h, w
the latent sizes, o those of the overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ea_dit.diffusion import Draw
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.inputs import Inputs
from ea_dit.pipelines.stages import encode


@dataclass(frozen=True)
class Handover:
    """The end of a window.

    Attributes:
        frames: (B, 3, T, H, W) in 0 ... 1, the overlap.
        known: (B, C, o, h, w) scaled latents of it.
        exact: The first of these that is the latent of the window before; those before it are encoded again.
        path: The latents from `exact` on before every call of the network, for `PathHold`.
    """

    frames: Tensor
    known: Tensor
    exact: int
    path: tuple[Tensor, ...] = ()

    def conditioned(self, inputs: Inputs) -> Inputs:
        """Inputs in which the condition channels hold the latents themselves, where there are such."""
        channels = inputs.conditioning.inpaint_latents
        if channels is not None:
            count, width = self.known.shape[1:3]
            channels = channels.clone()
            channels[:, -count:, self.exact : width] = self.known[:, :, self.exact :].to(channels)
            return replace(inputs, conditioning=replace(inputs.conditioning, inpaint_latents=channels))
        if inputs.kept is not None:
            kept, ratios = inputs.kept
            kept = kept.clone()
            kept[:, :, self.exact : self.known.shape[2]] = self.known[:, :, self.exact :].to(kept)
            return replace(inputs, kept=(kept, ratios))
        return inputs

    def blended(self, latents_BCthw: Tensor) -> Tensor:
        """Latents that go over from the known ones at the start of the overlap to the new ones at its end."""
        count = self.known.shape[2]
        weights_t = 1 - torch.arange(count, device=latents_BCthw.device) / count
        weights = weights_t.to(latents_BCthw)[:, None, None]
        mixed = latents_BCthw.clone()
        mixed[:, :, :count] = torch.lerp(latents_BCthw[:, :, :count], self.known.to(latents_BCthw), weights)
        # A weight of 1 is exact only without arithmetic.
        mixed[:, :, :1] = self.known[:, :, :1].to(latents_BCthw)
        return mixed


@dataclass(frozen=True)
class PathHold:
    """Holds the overlap at the latents that the window before had at the same step.

    Attributes:
        handover: With its path.
    """

    handover: Handover

    def before(self, index: int, latents: Tensor, draw: Draw | None) -> Tensor:
        """Returns the latents of call `index` with the overlap put back on its path."""
        del draw
        path, start = self.handover.path[index], self.handover.exact
        held = latents.clone()
        held[:, :, start : start + path.shape[2]] = path.to(latents)
        return held

    def after(self, index: int, before: Tensor, stepped: Tensor) -> Tensor:
        """Returns the latents as the sampler made them: the next call puts the path back."""
        del index, before
        return stepped


def make_handover(
    parts: Components, frames_B3THW: Tensor, latents_BCthw: Tensor, steps: Sequence[Tensor]
) -> Handover:
    """What the window after this one is given.

    Args:
        parts: The model.
        frames_B3THW: Those frames of this window, 0 ... 1, that the next one makes again.
        latents_BCthw: Its scaled latents.
        steps: Its latents before every call of the network; empty keeps no path.
    """
    geometry = parts.vae.geometry
    count = geometry.latent_frames(frames_B3THW.shape[2])
    # A causal autoencoder packs the first frame of a clip alone, so that latent is made anew.
    anchored = geometry.rule == "causal" and geometry.time > 1
    tail = latents_BCthw[:, :, latents_BCthw.shape[2] - count :]
    if not anchored:
        return Handover(frames_B3THW, tail, 0, tuple(step[:, :, -count:] for step in steps))
    anchor = encode(parts, frames_B3THW[:, :, :1] * 2 - 1).to(latents_BCthw)
    known = torch.cat((anchor, tail[:, :, 1:]), dim=2)
    path = tuple(step[:, :, step.shape[2] - count + 1 :] for step in steps)
    return Handover(frames_B3THW, known, 1, path)
