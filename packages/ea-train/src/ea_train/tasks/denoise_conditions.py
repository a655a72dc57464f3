"""What a network is given in training beside noisy latents: channels, a picture, sizes, held frames.

The channel layouts are those of `ea_dit.pipelines.channels`; here stands what is left out how often, so that
a model also works without. Source: the released trainers. Shapes: B batch, C latent channels, T frames, H and
W pixels; t, h, w the latent sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ea_dit.pipelines.channels import (
    camera_channels,
    inpaint_channels,
    mask_video,
    nothing_kept,
    reference_channels,
)
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.inputs import length_conditions, size_conditions
from ea_dit.pipelines.variants import InpaintInput, Traits
from ea_dit.text.base import TextStates
from ea_dit.types import Conditioning
from ea_train.objectives.base import Objective
from ea_train.objectives.levels import require_share
from ea_train.objectives.sigma import VarianceObjective

Mode = Literal[
    "auto", "normal", "inpaint", "control", "control_ref", "control_camera", "control_camera_ref", "frames"
]
Encode = Callable[[Tensor, torch.Generator], Tensor]
"""Pixels -1 ... 1 to scaled latents."""

_PIXEL_NOISE_MEAN, _PIXEL_NOISE_STD = -3.0, 0.5
_USUAL_RATE = 24.0


@dataclass(frozen=True, kw_only=True)
class ConditionConfig:
    """What is given, and how often it is left out. The shares are the released ones.

    Attributes:
        mode: "auto" for what the transformer has inputs for; another one must be that.
        inpaint_zeroed: Share of the clips without any given pixel whose channels are all zero.
        control_dropout: Share of clips without their control video or camera.
        reference_dropout: Share of clips without their reference picture.
        picture_dropout: Share of batches in which CLIP's picture is masked.
        null_text: Share of clips whose caption is replaced by the states that the network has for no text;
            of models that have such states (Open-Sora).
    """

    mode: Mode = "auto"
    inpaint_zeroed: float = 0.9
    control_dropout: float = 0.2
    reference_dropout: float = 0.2
    picture_dropout: float = 0.5
    null_text: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for name in (
            "inpaint_zeroed",
            "control_dropout",
            "reference_dropout",
            "picture_dropout",
            "null_text",
        ):
            require_share(f"conditions.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Pixels of a batch at a size that the networks take.

    Attributes:
        video_BCTHW: In -1 ... 1.
        reference_BCHW: The frame that is a reference, or CLIP's picture.
        generate_B1THW: Boolean, True where the network makes pixels; None makes all.
        control_BCTHW: Like the video.
        rays_BCTHW: Six channels.
        fps_B: Frames per second of the sources.
    """

    video_BCTHW: Tensor
    reference_BCHW: Tensor
    generate_B1THW: Tensor | None = None
    control_BCTHW: Tensor | None = None
    rays_BCTHW: Tensor | None = None
    fps_B: Tensor | None = None


@dataclass(frozen=True)
class Given:
    """What comes of a clip.

    Attributes:
        conditioning: For the network.
        frame_mask_BT: Boolean, False for latent frames that are given as they are; None without.
    """

    conditioning: Conditioning
    frame_mask_BT: Tensor | None = None


class ConditionMaker:
    """Makes conditions of clips.

    Args:
        parts: The model.
        config: What is left out how often.
        encode: Turns pixels into latents.

    Raises:
        ValueError: The transformer has no input for the mode.
    """

    def __init__(self, parts: Components, config: ConditionConfig, encode: Encode) -> None:
        self.parts = parts
        self.config = config
        self.mode = resolve_mode(config.mode, parts.traits)
        self._encode = encode

    def __call__(self, clip: Clip, latents_BCthw: Tensor, generator: torch.Generator) -> Given:
        """Conditions of a batch, each clip's drawn alone.

        Raises:
            ValueError: The batch lacks what the mode needs.
        """
        inpaint, control, picture = None, None, (None, None)
        if self.mode == "inpaint":
            inpaint = self._inpaint(clip, generator)
            picture = self._picture(clip, generator)
        elif self.mode.startswith("control"):
            control = self._control(clip, latents_BCthw, generator)
        resolution, ratio, count, rate = self._sizes(clip)
        conditioning = Conditioning(
            inpaint_latents=inpaint,
            control_latents=control,
            clip_states=picture[0],
            clip_mask=picture[1],
            resolution=resolution,
            aspect_ratio=ratio,
            num_frames=count,
            fps=rate,
        )
        return Given(conditioning, self._frame_mask(clip) if self.mode == "frames" else None)

    def without_captions(self, text: TextStates, generator: torch.Generator) -> TextStates:
        """Some captions replaced by the network's own states for no text; the masks stay, as released."""
        make = getattr(self.parts.transformer, "null_text", None)
        share = self.config.null_text
        if not self.parts.traits.text.stored_negative or make is None or not share:
            return text
        states_BLE = text.states_BLE
        dropped_B = _chosen(len(states_BLE), share, generator).to(states_BLE.device)
        null_BLE = make(*states_BLE.shape[:2]).to(states_BLE)
        return TextStates(torch.where(dropped_B[:, None, None], null_BLE, states_BLE), text.mask_BL)

    def _inpaint(self, clip: Clip, generator: torch.Generator) -> Tensor:
        rules = self.parts.traits.inpaint
        generate_B1THW = clip.generate_B1THW
        assert rules is not None
        if generate_B1THW is None:
            raise ValueError("conditions.mode 'inpaint' needs masks; set data.recipe.masks.draw to inpaint")
        noise, strength = self._pixel_noise(clip, rules, generator)
        video = (clip.video_BCTHW + 1) / 2
        masked = mask_video(video, generate_B1THW, noise_BCTHW=noise, noise_strength=strength)
        latents = self._encode(masked, generator)
        zeroed_B = _chosen(len(video), self.config.inpaint_zeroed, generator).to(video.device)
        zeroed_B = zeroed_B & nothing_kept(generate_B1THW)
        if rules.resizes_mask:
            scale = self.parts.vae.config.scaling_factor
            generate = generate_B1THW.to(latents.device)
            return inpaint_channels(generate, latents, scale, zeroed_B=zeroed_B)
        # V3 and V4 read the mask encoded like a picture of 0 and 1, see `encoded_mask`.
        pictures = generate_B1THW.expand(-1, 3, -1, -1, -1).to(video.dtype)
        joined = torch.cat((self._encode(pictures, generator), latents), dim=1)
        return joined.masked_fill(zeroed_B.to(joined.device).view(-1, 1, 1, 1, 1), 0.0)

    def _pixel_noise(
        self, clip: Clip, rules: InpaintInput, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor | float]:
        if not rules.noisy_pixels:
            return None, 0.0
        shape = clip.video_BCTHW.shape
        strength_B = torch.randn(shape[0], generator=generator) * _PIXEL_NOISE_STD + _PIXEL_NOISE_MEAN
        return torch.randn(shape, generator=generator), strength_B.exp()

    def _control(self, clip: Clip, latents_BCthw: Tensor, generator: torch.Generator) -> Tensor:
        signal = self._signal(clip, latents_BCthw, generator)
        blocks = [_left_out(signal, self.config.control_dropout, generator)]
        if self.parts.traits.reference:
            encoded = self._encode(clip.reference_BCHW[:, :, None], generator)
            reference = reference_channels(encoded, latents_BCthw.shape[2])
            blocks.append(_left_out(reference, self.config.reference_dropout, generator))
        return torch.cat(blocks, dim=1)

    def _signal(self, clip: Clip, latents_BCthw: Tensor, generator: torch.Generator) -> Tensor:
        size = (latents_BCthw.shape[2], latents_BCthw.shape[3], latents_BCthw.shape[4])
        if self.parts.traits.variant == "camera":
            if clip.rays_BCTHW is None:
                raise ValueError(
                    f"conditions.mode {self.mode!r} needs cameras; set data.recipe.control to camera"
                )
            return camera_channels(clip.rays_BCTHW, size).to(latents_BCthw)
        if clip.control_BCTHW is None:
            raise ValueError(
                f"conditions.mode {self.mode!r} needs control videos; set data.recipe.control to video"
            )
        return self._encode(clip.control_BCTHW, generator)

    def _picture(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        """CLIP's states of a frame and a mask that shows or hides them, for networks that read it."""
        parts = self.parts
        if parts.traits.image_states is None or parts.image_encoder is None:
            return None, None
        with parts.using("image_encoder"):
            encoded = parts.image_encoder.encode((clip.reference_BCHW.float() + 1) / 2)
        states = encoded.pooled_BE if parts.traits.image_states == "pooled" else encoded.patches_BSP
        states = states.to(device=parts.device, dtype=parts.dtype)
        hidden = bool(_chosen(1, self.config.picture_dropout, generator))
        shape = (len(states), parts.traits.image_tokens)
        return states, torch.full(shape, 0.0 if hidden else 1.0, device=parts.device, dtype=parts.dtype)

    def _sizes(self, clip: Clip) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        batch, _, frames, height, width = clip.video_BCTHW.shape
        resolution, ratio, count, rate = None, None, None, None
        if self.parts.traits.reads_size:
            resolution, ratio = size_conditions(self.parts, batch, height, width)
        if self.parts.traits.reads_length:
            usual_B = torch.full((batch,), _USUAL_RATE)
            rate_B = (
                usual_B
                if clip.fps_B is None
                else torch.where(clip.fps_B.cpu() > 0, clip.fps_B.cpu(), usual_B)
            )
            count, rate = length_conditions(self.parts, frames, rate_B)
        return resolution, ratio, count, rate

    def _frame_mask(self, clip: Clip) -> Tensor | None:
        """Frames of which something is to be made; one latent frame is one frame here."""
        if clip.generate_B1THW is None:
            return None
        return clip.generate_B1THW[:, 0].flatten(2).any(dim=2).to(self.parts.device)


def resolve_mode(mode: Mode, traits: Traits) -> Mode:
    """The mode of a transformer, told by its inputs.

    Raises:
        ValueError: Another one is asked for.
    """
    reference = "_ref" if traits.reference else ""
    own: Mode = {
        "text": "normal",
        "inpaint": "inpaint",
        "control": f"control{reference}",
        "camera": f"control_camera{reference}",
        "frames": "frames",
    }[traits.variant]  # type: ignore[assignment]
    if mode not in ("auto", own):
        raise ValueError(f"conditions.mode must be auto or {own} for this transformer, got {mode!r}")
    return own


def check_objective(mode: Mode, objective: Objective) -> None:
    """Refuses a loss that has no place for what a mode gives.

    Raises:
        ValueError: Frames are held, and the loss has no place for them.
    """
    if mode == "frames" and not isinstance(objective, VarianceObjective):
        raise ValueError("conditions.mode 'frames' needs objective.loss 'iddpm'")


def _chosen(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Boolean (count,), True with probability `share`."""
    return torch.rand(count, generator=generator) < share


def _left_out(channels_BCthw: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The channels, zeros in a share of the samples."""
    dropped_B = _chosen(len(channels_BCthw), share, generator).to(channels_BCthw.device)
    return channels_BCthw.masked_fill(dropped_B.view(-1, 1, 1, 1, 1), 0.0)
