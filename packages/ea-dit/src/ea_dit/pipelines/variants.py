"""What a transformer wants of a pipeline, read from its config: the one place where generations differ.

C is the number of latent channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Schedule
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.families.hunyuan3d.block import MAX_FRAMES
from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig
from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.mmdit.teacache import released_curve
from ea_dit.families.pixart_motion.config import PixArtMotionConfig
from ea_dit.families.stdit.config import STDiTConfig
from ea_dit.pipelines.request import Mode
from ea_dit.text.bert_t5 import BERT_LENGTH, T5_LENGTH
from ea_dit.text.t5 import LENGTHS, T5_KINDS

BYTE_ENCODER = "ByteTextEncoder"
"""`_class_name` of the bundled model's text encoder, in the place of a `model_type`."""

Variant = Literal["text", "inpaint", "control", "camera", "frames"]
"""What is given beside the text: nothing, a masked video, a control video, camera rays, or whole frames that
are held while the others are made."""

ImageStates = Literal["pooled", "patches"]
"""What of CLIP a network reads: the pooled embedding, or the last states of the patches."""

CAMERA_RAYS = 6
OPEN_SORA_GUIDED_CHANNELS = 3
OPEN_SORA_FRAME_INTERVAL = 3

LINEAR_EPSILON = DdpmSchedule(class_name="EulerDiscreteScheduler", steps_offset=1)
"""V1 to V3."""
SCALED_V = DdpmSchedule(
    class_name="EulerDiscreteScheduler",
    beta_start=0.00085,
    beta_end=0.03,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    steps_offset=1,
)
"""V4."""
ZERO_SNR_V = DdpmSchedule(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    steps_offset=1,
    set_alpha_to_one=True,
)
"""V5."""


@dataclass(frozen=True, kw_only=True)
class TextInput:
    """What a network reads of a text.

    Attributes:
        kinds: What each text encoder may be: `model_type` of its config, or `BYTE_ENCODER`.
        widths: Width of the states of every text encoder.
        lengths: Tokens that every encoder reads where the encoder itself does not say.
        masked: Whether padding is masked inside the encoders.
        passes_mask: Whether the network is told which tokens are padding.
        cleaned: Whether captions are cleaned first (`ea_dit.text.cleaning`).
        stored_negative: Whether the network has states that stand for no text. They are used in guidance
            unless a negative prompt is given, with the mask of the prompt.
    """

    kinds: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...]
    lengths: tuple[int, ...]
    masked: bool
    passes_mask: bool = True
    cleaned: bool = False
    stored_negative: bool = False


@dataclass(frozen=True, kw_only=True)
class InpaintInput:
    """How a mask and what it keeps become condition channels.

    Attributes:
        resizes_mask: Whether the mask is resized to one channel; else it is encoded as a picture to C.
        noisy_pixels: Whether kept pixels get a little noise.
        zero_without_pictures: Whether all channels are zero where nothing is kept.
    """

    resizes_mask: bool
    noisy_pixels: bool
    zero_without_pictures: bool


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a pipeline must know of a network.

    Attributes:
        latent_channels: C.
        schedule: The released process, for directories without scheduler config.
        text: Text inputs.
        variant: See `Variant`.
        inpaint: For inpaint variants.
        reference: Whether control channels end with a reference image.
        image_states: What the network reads of CLIP, None if it does not.
        image_width: Width of what it reads of CLIP, 0 if it does not.
        image_tokens: Tokens that it makes of that.
        size_multiple: Pixels that height and width must be multiples of, given an autoencoder of 8; 1 where
            the network fills up its last patches.
        max_latent_frames: Most latent frames that it makes at once; None where it has no limit.
        moves: Whether the network makes videos; an image model makes one frame.
        reads_size: Whether the network is told height, width and their ratio.
        reads_length: Whether it is told the number of frames and their rate.
        guided_channels: Guidance leaves further channels alone where the sampler takes a learned variance;
            None guides all.
        skips_steps: Whether the blocks of a step can be left out, see `ea_dit.pipelines.teacache`.
        teacache_curve: Coefficients for that; None where none were released.
        vae_overflows: Whether the autoencoder that it was released with leaves the range of float16.
    """

    latent_channels: int
    schedule: Schedule
    text: TextInput
    variant: Variant = "text"
    inpaint: InpaintInput | None = None
    reference: bool = False
    image_states: ImageStates | None = None
    image_width: int = 0
    image_tokens: int = 0
    size_multiple: int = 16
    max_latent_frames: int | None = None
    moves: bool = True
    reads_size: bool = False
    reads_length: bool = False
    guided_channels: int | None = None
    skips_steps: bool = False
    teacache_curve: tuple[float, ...] | None = None
    vae_overflows: bool = False

    @property
    def modes(self) -> frozenset[Mode]:
        """What the network can be asked for."""
        return _TEXT_MODES | _MODES[self.variant] if self.moves else _IMAGE_MODES

    @property
    def takes_frames(self) -> bool:
        """Whether the network has an input for frames that are given."""
        return self.variant in ("inpaint", "frames")

    def check_size(self, height: int, width: int) -> None:
        """Refuses a size in pixels that the network cannot make.

        Raises:
            ValueError: Naming the side, the rule, and the nearest sides that are allowed.
        """
        step = self.size_multiple
        for name, side in (("height", height), ("width", width)):
            if side % step:
                below, above = side // step * step, (side // step + 1) * step
                nearest = f"{below} and {above} are" if below else f"{above} is"
                raise ValueError(
                    f"{name} must be a multiple of {step} for this model, got {side}; {nearest} nearest"
                )


_IMAGE_MODES: frozenset[Mode] = frozenset({"text_to_image"})
_TEXT_MODES: frozenset[Mode] = frozenset({"text_to_image", "text_to_video", "video_to_video"})
_MODES: Mapping[Variant, frozenset[Mode]] = MappingProxyType(
    {
        "text": frozenset(),
        "inpaint": frozenset({"image_to_video", "masked_video"}),
        "control": frozenset({"control"}),
        "camera": frozenset({"control"}),
        "frames": frozenset({"image_to_video", "masked_video"}),
    }
)


def traits_of(config: Any) -> Traits:
    """Reads the traits of a transformer's config.

    Raises:
        ValueError: If its input channels fit no variant.
    """
    for kind, read in _READERS:
        if isinstance(config, kind):
            return read(config)
    raise AssertionError(f"{type(config).__name__} has no traits")


def variant_of(config: Any) -> Variant:
    """Tells the variant by the number of condition channels, see `traits_of`."""
    return traits_of(config).variant


def _mmdit(config: MMDiTConfig) -> Traits:
    """With condition channels: 1 + C (mask, masked video); C or 2 C (control, reference); 6 or 6 + C."""
    channels = config.out_channels
    variants: dict[int, Variant] = {
        0: "text",
        1 + channels: "inpaint",
        channels: "control",
        2 * channels: "control",
        CAMERA_RAYS: "camera",
        CAMERA_RAYS + channels: "camera",
    }
    variant = _by_channels(config, channels, variants)
    # V5 reads BERT and T5 and came with a DDPM, V5.1 reads one language model and came with a flow.
    second = config.text_embed_dim_t5
    widths = (config.text_embed_dim,) if second is None else (config.text_embed_dim, second)
    return Traits(
        latent_channels=channels,
        schedule=FlowMatching() if second is None else ZERO_SNR_V,
        text=TextInput(
            kinds=(("qwen2_vl", BYTE_ENCODER),) if second is None else (("bert",), T5_KINDS),
            widths=widths,
            lengths=(BERT_LENGTH, T5_LENGTH),
            masked=config.enable_text_attention_mask,
            passes_mask=False,
        ),
        variant=variant,
        inpaint=_inpaint(config),
        reference=config.condition_channels in (2 * channels, CAMERA_RAYS + channels),
        skips_steps=True,
        teacache_curve=released_curve(config),
        vae_overflows=second is not None,
    )


def _hunyuan3d(config: Hunyuan3DConfig) -> Traits:
    channels = config.latent_channels
    return Traits(
        latent_channels=channels,
        schedule=SCALED_V,
        text=TextInput(
            kinds=(("bert",), T5_KINDS),
            widths=(config.cross_attention_dim, config.cross_attention_dim_t5),
            lengths=(config.text_len, config.text_len_t5),
            masked=config.enable_text_attention_mask,
        ),
        variant=_by_channels(config, channels, _latent_variants(config, channels)),
        inpaint=_inpaint(config),
        image_states="patches" if config.enable_clip_in_inpaint else None,
        image_width=config.projection_dim if config.enable_clip_in_inpaint else 0,
        image_tokens=config.n_query,
        size_multiple=8 * config.patch_size,
        max_latent_frames=MAX_FRAMES,
        vae_overflows=True,
    )


def _pixart(config: PixArtMotionConfig) -> Traits:
    channels = config.latent_channels
    grid = max((kind.grid for kind in config.motion), default=1)
    return Traits(
        latent_channels=channels,
        schedule=LINEAR_EPSILON,
        text=TextInput(
            kinds=((*T5_KINDS, BYTE_ENCODER),),
            widths=(config.caption_channels,),
            lengths=(LENGTHS["easyanimate-v3"],),
            masked=config.enable_text_attention_mask,
            cleaned=True,
        ),
        variant=_by_channels(config, channels, _latent_variants(config, channels)),
        inpaint=_inpaint(config),
        image_states="pooled" if config.clip_channels else None,
        image_width=config.clip_channels or 0,
        image_tokens=config.clip_tokens,
        size_multiple=8 * config.patch_size * grid,
        max_latent_frames=min((kind.max_frames for kind in config.motion), default=1),
        moves=bool(config.motion),
        reads_size=config.size_conditions,
        # V1 came with the autoencoder of an image model, V2 and V3 with one of their own.
        vae_overflows=len(config.motion) > 1 or bool(config.num_skips),
    )


def _stdit(config: STDiTConfig) -> Traits:
    return Traits(
        latent_channels=config.in_channels,
        # Near the first step the numbers of 1.0 and 1.1 differ.
        schedule=Iddpm(table_dtype="float32" if config.is_stdit2 else "float64"),
        text=TextInput(
            kinds=((*T5_KINDS, BYTE_ENCODER),),
            widths=(config.caption_channels,),
            lengths=(config.model_max_length,),
            masked=True,
            cleaned=True,
            stored_negative=True,
        ),
        variant="frames",
        size_multiple=1 if config.is_stdit2 else 8 * max(config.patch_size[1:]),
        reads_size=config.is_stdit2,
        reads_length=config.is_stdit2,
        guided_channels=OPEN_SORA_GUIDED_CHANNELS,
    )


_READERS: tuple[tuple[type[Any], Callable[[Any], Traits]], ...] = (
    (MMDiTConfig, _mmdit),
    (Hunyuan3DConfig, _hunyuan3d),
    (PixArtMotionConfig, _pixart),
    (STDiTConfig, _stdit),
)


def _inpaint(config: Any) -> InpaintInput:
    return InpaintInput(
        resizes_mask=config.resize_inpaint_mask_directly,
        noisy_pixels=config.add_noise_in_inpaint_model,
        zero_without_pictures=config.enable_zero_in_inpaint,
    )


def _latent_variants(config: Any, channels: int) -> dict[int, Variant]:
    """V3 and V4: a mask (resized to one channel, or encoded), then the masked video."""
    mask_channels = 1 if config.resize_inpaint_mask_directly else channels
    return {0: "text", mask_channels + channels: "inpaint"}


def _by_channels(config: Any, channels: int, variants: Mapping[int, Variant]) -> Variant:
    extra = config.in_channels - channels
    if extra not in variants:
        allowed = ", ".join(str(channels + number) for number in sorted(variants))
        raise ValueError(f"in_channels must be one of {allowed} for pipelines, got {config.in_channels}")
    return variants[extra]
