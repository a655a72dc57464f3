"""The parts of a pipeline and loading them from a directory."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from ea_dit.diffusion import Schedule
from ea_dit.lora import LoraUse, Overlay, attach_loras
from ea_dit.pipelines.checks import check_process
from ea_dit.pipelines.encoders import load_text_encoder, load_tokenizers
from ea_dit.pipelines.file_checks import tensor_checks
from ea_dit.pipelines.graphs import check_graphs
from ea_dit.pipelines.networks import networks_of
from ea_dit.pipelines.number_types import NumberTypes
from ea_dit.pipelines.outline import outline_of
from ea_dit.pipelines.parts import find_parts
from ea_dit.pipelines.variants import Traits, traits_of
from ea_dit.registry import Transformer, load_transformer
from ea_dit.text.base import TextEncoder
from ea_dit.text.clip_image import ImageStates, load_clip_image
from ea_kernels.linear import choose_arithmetic
from ea_kernels.runtime.device import resolve_device
from ea_kernels.runtime.graphs import GraphedNetwork, Recorder, graphs_asked
from ea_kernels.runtime.placement import POLICIES, Placement, plan, resolve_mode
from ea_vae import VideoAutoencoder, load_vae


class ImageEncoder(Protocol):
    """Turns pictures into states."""

    def encode(self, images_B3HW: Tensor) -> ImageStates:
        """Encodes RGB pictures in 0 ... 1 of any size."""
        ...


@dataclass(frozen=True, kw_only=True)
class Components:
    """What a pipeline runs.

    Attributes:
        transformer: The denoiser, of any family; its device and dtype are those of the latents.
        vae: The autoencoder, of any family.
        text_encoder: Turns prompts into states; None if callers bring encoded prompts.
        image_encoder: Turns the start picture into states, for networks that read them (V3, V4); None runs
            them as without a picture.
        schedule: The process; None for the one that such networks were released with.
        placement: Where the networks are; None leaves them where they were loaded.
        loras: What is over the transformer, see `ea_dit.lora`.
        graphs: Records and replays the transformer's calls as CUDA graphs, see `graphed`; None calls it.
    """

    transformer: Transformer
    vae: VideoAutoencoder[Any]
    text_encoder: TextEncoder | None = None
    image_encoder: ImageEncoder | None = None
    schedule: Schedule | None = None
    placement: Placement | None = None
    loras: tuple[Overlay, ...] = ()
    graphs: GraphedNetwork | None = None

    def __post_init__(self) -> None:
        """Refuses parts that do not fit."""
        ours, theirs = self.traits.latent_channels, self.vae.config.latent_channels
        if ours != theirs:
            raise ValueError(
                "latent channels of the transformer must be latent_channels of the vae, "
                f"got {ours} and {theirs}"
            )
        check_process(self.process, self.traits)
        if self.graphs is not None:
            check_graphs(self.graphs, self.transformer, self.placement)

    @cached_property
    def traits(self) -> Traits:
        """What the transformer wants."""
        return traits_of(self.transformer.config)

    @property
    def process(self) -> Schedule:
        """The schedule, given or released."""
        return self.traits.schedule if self.schedule is None else self.schedule

    @property
    def device(self) -> torch.device:
        """Where the transformer is when it is used."""
        if self.placement is not None:
            return self.placement.device
        return next(self.transformer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Working dtype."""
        return self.transformer.dtype

    @property
    def vae_dtype(self) -> torch.dtype:
        """Of the autoencoder's weights, to and from which pixels and latents are cast."""
        return next(self.vae.parameters()).dtype

    def placed(self, memory: str, device: str | torch.device) -> Self:
        """The same parts with their networks where a memory mode wants them.

        Args:
            memory: "auto" or a mode, see `ea_kernels.runtime.placement`.
            device: Where they are used.
        """
        networks = networks_of(
            {name: getattr(self, name) for name in ("text_encoder", "image_encoder", "vae", "transformer")}
        )
        return replace(self, placement=plan(networks, memory, device, arithmetic=choose_arithmetic))

    def graphed(self, recorder: Recorder | None = None) -> Self:
        """The same with the transformer's calls recorded as CUDA graphs, see `ea_kernels.runtime.graphs`.

        Args:
            recorder: Records; None for CUDA graphs.

        Raises:
            ValueError: If the family or the memory mode does not allow it.
        """
        return replace(self, graphs=GraphedNetwork(self.transformer, recorder))

    def using(self, part: str) -> AbstractContextManager[None]:
        """Has a part on the device where it is used."""
        if self.placement is None or part not in self.placement.names:
            return nullcontext()
        return self.placement.using(part)


def load_components(
    directory: str | Path,
    *,
    dtype: str | torch.dtype | NumberTypes = "auto",
    device: str | torch.device = "auto",
    memory: str = "auto",
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    loras: Sequence[LoraUse] = (),
    allow_pickle: bool = False,
) -> Components:
    """Loads a released model directory of any generation, told by its configs and tensors.

    Args:
        directory: In EasyAnimate's or diffusers' layout: `transformer`, `vae`, `text_encoder` and `tokenizer`
            (V4 and V5 also `text_encoder_2` and `tokenizer_2`, V3 and V4 `image_encoder`), optionally
            `scheduler/scheduler_config.json`. Or Open-Sora's: a checkpoint, the autoencoder and T5, each
            wherever it is.
        dtype: Number type of all weights, "auto" for what suits the device; `NumberTypes` for an autoencoder
            in another one. Unless those say otherwise, autoencoders that overflow in float16 are in float32.
        device: "auto", "cpu", "cuda" or "cuda:N"; where the parts are used.
        memory: "auto" or where parts are when they are not used, see `ea_kernels.runtime.placement`.
        motion_module: File of V1's motion modules; None looks for one in the directory.
        transformer_weights: A personalised checkpoint whose tensors replace those of the transformer (of V1:
            of the image model, which the motion modules complete).
        loras: LoRA files over the transformer; their changes add up.
        allow_pickle: Accept weights in pickles (`.bin`, `.pt`, `.pth`, `.ckpt`), read without running code.

    Raises:
        ValueError: If a part is missing or not understood, parts or LoRAs do not fit, or EA_CUDA_GRAPHS asks
            for what the family or the memory mode does not allow.
    """
    parts = find_parts(
        directory,
        motion_module=motion_module,
        transformer_weights=transformer_weights,
        allow_pickle=allow_pickle,
    )
    outline = outline_of(parts)
    layout, traits = outline.layout, outline.traits
    outline.check_loras(loras, allow_pickle=allow_pickle)
    tokenizers = load_tokenizers(layout, traits.text)
    for check in tensor_checks(parts):
        check.run()
    target = resolve_device(device)
    graphed = graphs_asked()
    number, of_vae = NumberTypes.of(dtype).resolved(target, traits)
    stays = memory != "auto" and POLICIES[resolve_mode(memory)].resident
    place = target if stays else torch.device("cpu")
    loaded: dict[str, Any] = {"device": place, "allow_pickle": allow_pickle}
    vae = load_vae(layout.vae, dtype=of_vae, **loaded)
    image_encoder = None
    if traits.image_states is not None and layout.image_encoder is not None:
        image_encoder = load_clip_image(layout.image_encoder, dtype=number, **loaded)
    transformer = load_transformer(
        layout.transformer,
        dtype=number,
        device=place,
        motion_module=outline.motion_module,
        weights=transformer_weights,
        allow_pickle=allow_pickle,
    )
    overlays = attach_loras(transformer, loras, allow_pickle=allow_pickle)
    try:
        text_encoder = load_text_encoder(
            layout, traits.text, tokenizers, dtype=number, device=place, allow_pickle=allow_pickle
        )
        components = Components(
            transformer=transformer,
            vae=vae,
            text_encoder=text_encoder,
            image_encoder=image_encoder,
            schedule=outline.schedule,
            loras=overlays,
        ).placed(memory, target)
        return components.graphed() if graphed else components
    except ValueError as error:
        # Messages about files begin with the file; those about parts do not know the directory.
        text = str(error)
        raise ValueError(text if str(layout.directory) in text else f"{layout.directory}: {text}") from None
