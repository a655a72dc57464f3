"""Names in released checkpoints to ours: the layout of EasyAnimate and the one that diffusers writes.

Order of a rule: released name, our name. Tensors are neither transposed nor merged nor split.
"""

from collections.abc import Iterable

from ea_dit.families.mmdit.config import MMDiTConfig
from ea_kernels.runtime.weights import KeyMap, Rename

_BLOCK = "transformer_blocks.{i}."

_SHARED = (
    Rename("proj.{p}", "patch_embed.{p}"),
    Rename("time_embedding.linear_1.{p}", "time_embed.inner.{p}"),
    Rename("time_embedding.linear_2.{p}", "time_embed.outer.{p}"),
    Rename("ref_proj.{p}", "ref_embed.{p}"),
    Rename("clip_proj.{p}", "clip_embed.{p}"),
    Rename("norm_final.{p}", "head.first_norm.{p}"),
    Rename("norm_out.linear.{p}", "head.modulation.{p}"),
    Rename("norm_out.norm.{p}", "head.norm.{p}"),
    Rename("proj_out.{p}", "head.projection.{p}"),
    Rename(_BLOCK + "norm1.linear.{p}", "blocks.{i}.attention_norm.modulation.{p}"),
    Rename(_BLOCK + "norm1.norm.{p}", "blocks.{i}.attention_norm.norm.{p}"),
    Rename(_BLOCK + "norm2.linear.{p}", "blocks.{i}.mlp_norm.modulation.{p}"),
    Rename(_BLOCK + "norm2.norm.{p}", "blocks.{i}.mlp_norm.norm.{p}"),
    Rename(_BLOCK + "norm3.{p}", "blocks.{i}.mlp_out_norm.{p}"),
    Rename(_BLOCK + "ff.net.0.proj.{p}", "blocks.{i}.video_mlp.up.{p}"),
    Rename(_BLOCK + "ff.net.2.{p}", "blocks.{i}.video_mlp.down.{p}"),
    Rename(_BLOCK + "txt_ff.net.0.proj.{p}", "blocks.{i}.text_mlp.up.{p}"),
    Rename(_BLOCK + "txt_ff.net.2.{p}", "blocks.{i}.text_mlp.down.{p}"),
)

_NORMED_TEXT = (
    Rename("text_proj.0.weight", "text_embed.norm.weight"),
    Rename("text_proj.1.{p}", "text_embed.projection.{p}"),
    Rename("text_proj_t5.0.weight", "second_text_embed.norm.weight"),
    Rename("text_proj_t5.1.{p}", "second_text_embed.projection.{p}"),
)

_PLAIN_TEXT = (
    Rename("text_proj.{p}", "text_embed.projection.{p}"),
    Rename("text_proj_t5.{p}", "second_text_embed.projection.{p}"),
)

_ROLES = ("query", "key", "value", "query_norm", "key_norm", "out")
_VIDEO = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.norm_q", "attn1.norm_k", "attn1.to_out.0")
_TEXT = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.norm_q", "attn2.norm_k", "attn2.to_out.0")
_TEXT_DIFFUSERS = (
    "attn1.add_q_proj",
    "attn1.add_k_proj",
    "attn1.add_v_proj",
    "attn1.norm_added_q",
    "attn1.norm_added_k",
    "attn1.to_add_out",
)


def _attention(stream: str, released: tuple[str, ...]) -> tuple[Rename, ...]:
    return tuple(
        Rename(f"{_BLOCK}{name}.{{p}}", f"blocks.{{i}}.attention.{stream}.{role}.{{p}}")
        for role, name in zip(_ROLES, released, strict=True)
    )


def key_map(config: MMDiTConfig, *, diffusers: bool = False) -> KeyMap:
    """Returns the table of a model.

    Args:
        config: Of the model; with the RMSNorm of V5.1 the text projection is a pair (0, 1), without it a
            plain layer.
        diffusers: The layout of diffusers, in which text projections live in the video attention as "added"
            ones, instead of EasyAnimate's.
    """
    text = _NORMED_TEXT if config.add_norm_text_encoder else _PLAIN_TEXT
    text_attention = _attention("text", _TEXT_DIFFUSERS if diffusers else _TEXT)
    return KeyMap((*_SHARED, *text, *_attention("video", _VIDEO), *text_attention))


def is_diffusers_layout(names: Iterable[str]) -> bool:
    """Tells the layout by the names in a checkpoint; without separate text weights both are the same."""
    return any(".attn1.add_q_proj." in name for name in names)
