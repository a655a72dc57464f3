"""Whether the parts of a model directory are there and go together, told by small files and headers.

`read_outline` refuses by the first check that fails, `ea-app models verify` reports all of them.
`file_checks` are quick enough to come before anything else; `tensor_checks` build the networks without memory
and ask transformers, once before the weights are read.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ea_dit.pipelines.encoders import EncoderFolder, text_encoders
from ea_dit.pipelines.layout import IMAGE_ENCODER, TEXT_ENCODER, TRANSFORMER, VAE
from ea_dit.pipelines.parts import Parts, read_schedule
from ea_dit.pipelines.variants import BYTE_ENCODER
from ea_dit.registry import check_transformer
from ea_dit.text.bytes import check_byte_encoder
from ea_dit.text.clip_image import read_preprocessing
from ea_dit.text.pretrained import check_pretrained
from ea_kernels.runtime.files import CONFIG_NAME, read_config
from ea_kernels.runtime.stored import check_whole
from ea_vae.registry import check_vae, read_vae_config

CLIP_KINDS = ("clip", "clip_vision_model")
_CLIP_WIDTHS = {"pooled": "projection_dim", "patches": "hidden_size"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to hold.

    Attributes:
        part: What it is about, such as "vae".
        says: What holds if it passes, for reports.
        run: Raises ValueError, one line, if it does not.
    """

    part: str
    says: str
    run: Callable[[], object]


def file_checks(parts: Parts, *, weights: bool = True) -> Iterator[Check]:
    """What small files and headers tell; no tensor is read and no network is built.

    Args:
        parts: Of the directory.
        weights: Look at the headers of weight files too.

    Raises:
        ValueError: If the second text encoder is missing, whose checks there cannot be.
    """
    traits, layout = parts.traits, parts.layout
    for encoder in text_encoders(layout, traits.text):
        yield Check(part=encoder.name, says="fits the transformer", run=encoder.check)
        if encoder.reads_tokens:
            yield Check(part=encoder.tokenizer_name, says="its files are there", run=encoder.check_tokenizer)
    if traits.image_states is not None:
        yield Check(part=IMAGE_ENCODER, says="fits the transformer", run=partial(_check_clip, parts))
    yield Check(part=VAE, says="fits the transformer", run=partial(_check_latents, parts))
    if layout.scheduler is not None:
        yield Check(part="scheduler", says="fits the transformer", run=partial(read_schedule, parts))
    for name, path in _weights(parts) if weights else ():
        whole = partial(check_whole, path, allow_pickle=parts.allow_pickle)
        yield Check(part=name, says="its files are whole", run=whole)


def tensor_checks(parts: Parts) -> Iterator[Check]:
    """What names and shapes of tensors tell; still none is read."""
    layout, pickles = parts.layout, parts.allow_pickle
    transformer = partial(
        check_transformer,
        layout.transformer,
        motion_module=parts.motion_module,
        weights=parts.transformer_weights,
        allow_pickle=pickles,
    )
    yield Check(part=TRANSFORMER, says="its tensors fit", run=transformer)
    yield Check(part=VAE, says="its tensors fit", run=partial(check_vae, layout.vae, allow_pickle=pickles))
    for encoder in text_encoders(layout, parts.traits.text):
        yield Check(part=encoder.name, says="its tensors fit", run=partial(_check_encoder, encoder, pickles))
    if parts.traits.image_states is not None and layout.image_encoder is not None:
        clip = partial(check_pretrained, "clip", layout.image_encoder, allow_pickle=pickles)
        yield Check(part=IMAGE_ENCODER, says="its tensors fit", run=clip)


def _check_encoder(encoder: EncoderFolder, allow_pickle: bool) -> None:  # noqa: FBT001  (of a partial)
    if encoder.kind == BYTE_ENCODER:
        check_byte_encoder(encoder.folder, allow_pickle=allow_pickle)
    else:
        check_pretrained(encoder.kind, encoder.folder, allow_pickle=allow_pickle)


def _check_clip(parts: Parts) -> None:
    folder, states = parts.layout.image_encoder, parts.traits.image_states
    if folder is None:
        raise ValueError(f"{parts.layout.directory}: the transformer reads {IMAGE_ENCODER}, which is missing")
    file, values = folder / CONFIG_NAME, read_config(folder)
    kind = values.get("model_type")
    if kind not in CLIP_KINDS:
        raise ValueError(f"{file}: model_type must be {' or '.join(CLIP_KINDS)}, got {kind!r}")
    assert states is not None
    vision: Any = values.get("vision_config")
    sizes = {**values, **vision} if isinstance(vision, Mapping) else values
    width = sizes.get(_CLIP_WIDTHS[states], parts.traits.image_width)
    if width != parts.traits.image_width:
        raise ValueError(
            f"{file}: {_CLIP_WIDTHS[states]} must be {parts.traits.image_width} for this transformer, "
            f"got {width!r}"
        )
    read_preprocessing(folder)


def _check_latents(parts: Parts) -> None:
    folder = parts.layout.vae
    ours = parts.traits.latent_channels
    theirs = read_vae_config(folder, allow_pickle=parts.allow_pickle).latent_channels
    if ours != theirs:
        raise ValueError(
            f"{folder / CONFIG_NAME}: latent channels of the transformer must be latent_channels of the vae, "
            f"got {ours} and {theirs}"
        )


def _weights(parts: Parts) -> Iterator[tuple[str, Path]]:
    layout, traits = parts.layout, parts.traits
    yield TRANSFORMER, parts.transformer_weights or layout.transformer
    if parts.motion_module is not None:
        yield "motion_module", parts.motion_module
    yield VAE, layout.vae
    yield TEXT_ENCODER, layout.text_encoder
    if len(traits.text.widths) > 1 and layout.second_text_encoder is not None:
        yield "text_encoder_2", layout.second_text_encoder
    if traits.image_states is not None and layout.image_encoder is not None:
        yield IMAGE_ENCODER, layout.image_encoder
