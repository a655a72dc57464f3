"""The released generations: which one a network is of, and what it was released to make.

The numbers are those of the programs that came with each release (EasyAnimate's predict scripts, Open-Sora's
inference configs).
"""

from dataclasses import dataclass, replace
from typing import Any

from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig
from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.pixart_motion.config import PixArtMotionConfig
from ea_dit.families.stdit.config import STDiTConfig


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation of models.

    Attributes:
        name: Such as "EasyAnimate V5.1".
        width: Pixels of its own size.
        height: Pixels of its own size.
        frames: Its own number of frames.
        fps: Frames per second of the files that it was released to write.
        steps: Denoising steps.
        guidance: Guidance scale.
        languages: Of prompts.
    """

    name: str
    width: int = 672
    height: int = 384
    frames: int = 144
    fps: int = 24
    steps: int
    guidance: float
    languages: tuple[str, ...] = ("en",)


V1 = Generation(name="EasyAnimate V1", width=512, height=512, frames=80, fps=12, steps=30, guidance=6.0)
V1_IMAGE = replace(V1, name="PixArt, the image model of EasyAnimate V1", frames=1)
V2 = Generation(name="EasyAnimate V2", steps=50, guidance=6.0)
V3 = Generation(name="EasyAnimate V3", steps=25, guidance=7.0)
V4 = replace(V3, name="EasyAnimate V4", languages=("en", "zh"))
V5 = Generation(name="EasyAnimate V5", frames=49, fps=8, steps=50, guidance=6.0, languages=("en", "zh"))
V5_1 = replace(V5, name="EasyAnimate V5.1")
OPEN_SORA_1_0 = Generation(
    name="Open-Sora 1.0", width=256, height=256, frames=16, fps=8, steps=100, guidance=7.0
)
OPEN_SORA_1_1 = replace(OPEN_SORA_1_0, name="Open-Sora 1.1", width=426, height=240)

_LONG_CLIP, _LONG_CLIP_FPS = 64, 12
_LARGE_SIDE = 512


def generation_of(config: Any) -> Generation:
    """The generation that a transformer's config belongs to.

    Raises:
        TypeError: If it is no config of a transformer.
    """
    match config:
        case MMDiTConfig():
            return V5_1 if config.text_embed_dim_t5 is None else V5
        case Hunyuan3DConfig():
            return V4
        case PixArtMotionConfig(motion=()):
            return V1_IMAGE
        case PixArtMotionConfig():
            return V3 if len(config.motion) > 1 else V2 if config.num_skips else V1
        case STDiTConfig():
            return OPEN_SORA_1_1 if config.is_stdit2 else _open_sora_1_0(config)
        case _:
            raise TypeError(f"{type(config).__name__} is no config of a transformer")


def _open_sora_1_0(config: STDiTConfig) -> Generation:
    """1.0 has a model for every size and length: 16 x 256 x 256, 16 x 512 x 512 and 64 x 512 x 512."""
    side = _LARGE_SIDE if config.space_scale == 1 else OPEN_SORA_1_0.width
    made = replace(OPEN_SORA_1_0, width=side, height=side)
    if config.input_size[0] == _LONG_CLIP:
        return replace(made, frames=_LONG_CLIP, fps=_LONG_CLIP_FPS)
    return made
