"""Released tensor names of the CogVideoX-style autoencoder; EasyAnimate and diffusers use the same ones."""

from ea_kernels.runtime.weights import KeyMap, Rename

_LAYERS = (
    ("encoder.down_blocks.{b}.resnets.{l}", "encoder.stages.{b}.layers.{l}"),
    ("decoder.up_blocks.{b}.resnets.{l}", "decoder.stages.{b}.layers.{l}"),
    ("{side}.mid_block.resnets.{l}", "{side}.mid.{l}"),
)
# The norms of the decoder are scaled and shifted by convolutions of the latents.
_NORM = (("norm_layer", "norm"), ("conv_y.conv", "scale"), ("conv_b.conv", "shift"))
_INSIDE = (
    ("conv1.conv.{p}", "conv1.{p}"),
    ("conv2.conv.{p}", "conv2.{p}"),
    ("conv_shortcut.{p}", "shortcut.{p}"),
    *((f"{{norm}}.{old}.{{p}}", f"{{norm}}.{new}.{{p}}") for old, new in _NORM),
    ("{rest*}", "{rest*}"),
)

KEY_MAP = KeyMap(
    (
        *(Rename(f"{old}.{inner}", f"{new}.{ours}") for inner, ours in _INSIDE for old, new in _LAYERS),
        Rename("encoder.down_blocks.{b}.downsamplers.0.{rest*}", "encoder.stages.{b}.resample.{rest*}"),
        Rename("decoder.up_blocks.{b}.upsamplers.0.{rest*}", "decoder.stages.{b}.resample.{rest*}"),
        *(Rename(f"decoder.norm_out.{old}.{{p}}", f"decoder.norm_out.{new}.{{p}}") for old, new in _NORM),
        Rename("{side}.conv_in.conv.{p}", "{side}.conv_in.{p}"),
        Rename("{side}.conv_out.conv.{p}", "{side}.conv_out.{p}"),
    )
)
