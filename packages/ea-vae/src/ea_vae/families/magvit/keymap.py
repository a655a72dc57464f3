"""Released tensor names of the MAGVIT family.

EasyAnimate's names; diffusers' class of the same name uses the same ones for the same network.
"""

from ea_kernels.runtime.weights import KeyMap, Rename

KEY_MAP = KeyMap(
    (
        Rename("encoder.down_blocks.{b}.convs.{l}.{rest*}", "encoder.stages.{b}.layers.{l}.{rest*}"),
        Rename("encoder.down_blocks.{b}.downsampler.{rest*}", "encoder.stages.{b}.resample.{rest*}"),
        Rename("decoder.up_blocks.{b}.convs.{l}.{rest*}", "decoder.stages.{b}.layers.{l}.{rest*}"),
        Rename("decoder.up_blocks.{b}.upsampler.{rest*}", "decoder.stages.{b}.resample.{rest*}"),
        Rename("{side}.mid_block.convs.{l}.{rest*}", "{side}.mid.layers.{l}.{rest*}"),
        Rename("{side}.mid_block.attentions.{l}.group_norm.{p}", "{side}.mid.attentions.{l}.norm.{p}"),
        Rename("{side}.mid_block.attentions.{l}.to_q.{p}", "{side}.mid.attentions.{l}.query.{p}"),
        Rename("{side}.mid_block.attentions.{l}.to_k.{p}", "{side}.mid.attentions.{l}.key.{p}"),
        Rename("{side}.mid_block.attentions.{l}.to_v.{p}", "{side}.mid.attentions.{l}.value.{p}"),
        Rename("{side}.mid_block.attentions.{l}.to_out.{p}", "{side}.mid.attentions.{l}.out.{p}"),
        Rename("{side}.conv_norm_out.{p}", "{side}.norm_out.{p}"),
    )
)
