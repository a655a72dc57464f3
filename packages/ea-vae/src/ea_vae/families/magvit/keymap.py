"""Released tensor names of the MAGVIT family.

EasyAnimate's names; diffusers' class of the same name uses the same ones for the same network.
"""

from ea_kernels.runtime.weights import KeyMap, Rename

# Two attentions in a row are numbered: {l} is then followed by 0 (within frames) and 1 (over frames).
_ATTENTIONS = tuple(
    Rename(
        f"{{side}}.mid_block.attentions.{index}.{released}.{{p}}",
        f"{{side}}.mid.attentions.{index}.{ours}.{{p}}",
    )
    for index in ("{l}", "{l}.{child}")
    for released, ours in (
        ("group_norm", "norm"),
        ("to_q", "query"),
        ("to_k", "key"),
        ("to_v", "value"),
        ("to_out", "out"),
    )
)

KEY_MAP = KeyMap(
    (
        Rename("encoder.down_blocks.{b}.convs.{l}.{rest*}", "encoder.stages.{b}.layers.{l}.{rest*}"),
        Rename("encoder.down_blocks.{b}.downsampler.{rest*}", "encoder.stages.{b}.resample.{rest*}"),
        Rename("decoder.up_blocks.{b}.convs.{l}.{rest*}", "decoder.stages.{b}.layers.{l}.{rest*}"),
        Rename("decoder.up_blocks.{b}.upsampler.{rest*}", "decoder.stages.{b}.resample.{rest*}"),
        Rename("{side}.mid_block.convs.{l}.{rest*}", "{side}.mid.layers.{l}.{rest*}"),
        *_ATTENTIONS,
        Rename("{side}.conv_norm_out.{p}", "{side}.norm_out.{p}"),
    )
)
