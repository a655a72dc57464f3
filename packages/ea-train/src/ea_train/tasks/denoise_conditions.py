"""What a network is given in training beside noisy latents: channels, a picture, sizes, held frames.

The channel layouts are those of `ea_dit.pipelines.channels`; here stands what is left out how often, so that
a model also works without. Source: the released trainers. Shapes: B batch, C latent channels, T frames, H and
W pixels; t, h, w the latent sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ea_dit.pipelines.channels import inpaint_channels, nothing_kept, reference_channels
from ea_dit.pipelines.components import Components
from ea_dit.pipelines.inputs import length_conditions, size_conditions
from ea_dit.pipelines.variants import Traits
from ea_dit.text.base import TextStates
from ea_dit.types import Conditioning
from ea_train.objectives.base import Objective
from ea_train.objectives.levels import require_share
from ea_train.objectives.sigma import VarianceObjective
from ea_train.tasks.denoise_pixels import (
    Clip,
    control_pixels,
    mask_pictures,
    masked_pixels,
    no_noise,
    pixel_noise,
    reference_pixels,
)

Mode = Literal[
    "auto", "normal", "inpaint", "control", "control_ref", "control_camera", "control_camera_ref", "frames"
]
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


@dataclass(frozen=True)
class Given:
    """What comes of a clip.

    Attributes:
        conditioning: For the network.
        frame_mask_BT: Boolean, False for latent frames that are given as they are; None without.
    """

    conditioning: Conditioning
    frame_mask_BT: Tensor | None = None


class Encodings(Protocol):
    """What encoders make of a clip, now or earlier."""

    def latents(
        self, role: str, clip: Clip, pixels: Callable[[], Tensor], generator: torch.Generator
    ) -> Tensor:
        """Scaled latents, drawn from the posterior; `pixels` (-1 ... 1) are made only where needed."""
        ...

    def picture(self, clip: Clip) -> Tensor:
        """CLIP's states of the reference."""
        ...

    def rays(self, clip: Clip) -> Tensor:
        """Camera channels."""
        ...


class ConditionMaker:
    """Makes conditions of clips.

    Args:
        parts: The model.
        config: What is left out how often.
        encodings: Of its clips.

    Raises:
        ValueError: The transformer has no input for the mode.
    """

    def __init__(self, parts: Components, config: ConditionConfig, encodings: Encodings) -> None:
        self.parts = parts
        self.config = config
        self.mode = resolve_mode(config.mode, parts.traits)
        self._encodings = encodings

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
        noise = pixel_noise(clip, generator) if rules.noisy_pixels else no_noise
        latents = self._encodings.latents("masked", clip, lambda: masked_pixels(clip, noise()), generator)
        zeroed_B = _chosen(clip.size_BTHW[0], self.config.inpaint_zeroed, generator)
        zeroed_B = zeroed_B.to(generate_B1THW.device) & nothing_kept(generate_B1THW)
        if rules.resizes_mask:
            scale = self.parts.vae.config.scaling_factor
            generate = generate_B1THW.to(latents.device)
            return inpaint_channels(generate, latents, scale, zeroed_B=zeroed_B)
        # V3 and V4 read the mask encoded like a picture of 0 and 1, see `encoded_mask`.
        mask = self._encodings.latents("mask", clip, lambda: mask_pictures(clip), generator)
        joined = torch.cat((mask, latents), dim=1)
        return joined.masked_fill(zeroed_B.to(joined.device).view(-1, 1, 1, 1, 1), 0.0)

    def _control(self, clip: Clip, latents_BCthw: Tensor, generator: torch.Generator) -> Tensor:
        signal = self._signal(clip, latents_BCthw, generator)
        blocks = [_left_out(signal, self.config.control_dropout, generator)]
        if self.parts.traits.reference:
            encoded = self._encodings.latents("reference", clip, lambda: reference_pixels(clip), generator)
            reference = reference_channels(encoded, latents_BCthw.shape[2])
            blocks.append(_left_out(reference, self.config.reference_dropout, generator))
        return torch.cat(blocks, dim=1)

    def _signal(self, clip: Clip, latents_BCthw: Tensor, generator: torch.Generator) -> Tensor:
        if self.parts.traits.variant == "camera":
            if clip.rays_BCTHW is None and "rays" not in clip.encoded:
                raise ValueError(
                    f"conditions.mode {self.mode!r} needs cameras; set data.recipe.control to camera"
                )
            return self._encodings.rays(clip).to(latents_BCthw)
        if clip.control_BCTHW is None and "control" not in clip.encoded:
            raise ValueError(
                f"conditions.mode {self.mode!r} needs control videos; set data.recipe.control to video"
            )
        return self._encodings.latents("control", clip, lambda: control_pixels(clip), generator)

    def _picture(self, clip: Clip, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        """CLIP's states of a frame and a mask that shows or hides them, for networks that read it."""
        parts = self.parts
        if parts.traits.image_states is None or parts.image_encoder is None:
            return None, None
        states = self._encodings.picture(clip).to(device=parts.device, dtype=parts.dtype)
        hidden = bool(_chosen(1, self.config.picture_dropout, generator))
        shape = (len(states), parts.traits.image_tokens)
        return states, torch.full(shape, 0.0 if hidden else 1.0, device=parts.device, dtype=parts.dtype)

    def _sizes(self, clip: Clip) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        batch, frames, height, width = clip.size_BTHW
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
