"""Released tensor names of the image autoencoder.

Diffusers' names. The attention in the middle has two spellings in circulation; both are read, the newer one
is written.
"""

from ea_kernels.runtime.weights import KeyMap, Rename

_LAYERS = (
    ("encoder.down_blocks.{b}.resnets.{l}", "encoder.stages.{b}.layers.{l}"),
    ("decoder.up_blocks.{b}.resnets.{l}", "decoder.stages.{b}.layers.{l}"),
    ("{side}.mid_block.resnets.{l}", "{side}.mid.layers.{l}"),
)
_ATTENTION = (
    ("group_norm", "norm"),
    ("to_q", "query"),
    ("to_k", "key"),
    ("to_v", "value"),
    ("to_out.0", "out"),
    # The older spelling.
    ("query", "query"),
    ("key", "key"),
    ("value", "value"),
    ("proj_attn", "out"),
)

KEY_MAP = KeyMap(
    (
        *(Rename(f"{old}.conv_shortcut.{{p}}", f"{new}.shortcut.{{p}}") for old, new in _LAYERS),
        *(Rename(f"{old}.{{rest*}}", f"{new}.{{rest*}}") for old, new in _LAYERS),
        Rename("encoder.down_blocks.{b}.downsamplers.0.{rest*}", "encoder.stages.{b}.resample.{rest*}"),
        Rename("decoder.up_blocks.{b}.upsamplers.0.{rest*}", "decoder.stages.{b}.resample.{rest*}"),
        *(
            Rename(f"{{side}}.mid_block.attentions.0.{old}.{{p}}", f"{{side}}.mid.attention.{new}.{{p}}")
            for old, new in _ATTENTION
        ),
        Rename("{side}.conv_norm_out.{p}", "{side}.norm_out.{p}"),
    )
)
