"""Names in Open-Sora's checkpoints to ours; self-attention is stored with one fused query-key-value layer.

Order of a rule: released name, our name.
"""

from ea_dit.families.stdit.config import STDiTConfig
from ea_kernels.runtime.weights import Drop, KeyMap, Rename, Split

_BLOCK = "blocks.{i}."


def _embedder(released: str, ours: str) -> tuple[Rename, Rename]:
    return (
        Rename(f"{released}.mlp.0.{{p}}", f"{ours}.inner.{{p}}"),
        Rename(f"{released}.mlp.2.{{p}}", f"{ours}.outer.{{p}}"),
    )


def _self_attention(released: str, ours: str) -> tuple[Rename | Split, ...]:
    roles = tuple(f"{_BLOCK}{ours}.{role}.{{p}}" for role in ("query", "key", "value"))
    return (
        Split(f"{_BLOCK}{released}.qkv.{{p}}", roles),
        Rename(f"{_BLOCK}{released}.q_norm.{{p}}", f"{_BLOCK}{ours}.query_norm.{{p}}"),
        Rename(f"{_BLOCK}{released}.k_norm.{{p}}", f"{_BLOCK}{ours}.key_norm.{{p}}"),
        Rename(f"{_BLOCK}{released}.proj.{{p}}", f"{_BLOCK}{ours}.out.{{p}}"),
    )


_RULES = (
    # Constants of 1.0 for the size a file was made at; like the released loader, the model computes its own.
    Drop("pos_embed"),
    Drop("pos_embed_temporal"),
    Rename("x_embedder.proj.{p}", "patch_embed.{p}"),
    *_embedder("t_embedder", "time_embed"),
    *_embedder("csize_embedder", "size_embed"),
    *_embedder("ar_embedder", "aspect_embed"),
    *_embedder("fl_embedder", "length_embed"),
    *_embedder("fps_embedder", "rate_embed"),
    Rename("t_block.1.{p}", "modulation.{p}"),
    Rename("t_block_temp.1.{p}", "temporal_modulation.{p}"),
    Rename("y_embedder.y_embedding", "null_text_ME"),
    Rename("y_embedder.y_proj.fc1.{p}", "text_embed.inner.{p}"),
    Rename("y_embedder.y_proj.fc2.{p}", "text_embed.outer.{p}"),
    Rename("rope.freqs", "rotary_frequencies_P"),
    Rename("final_layer.scale_shift_table", "head.modulation.table"),
    Rename("final_layer.linear.{p}", "head.projection.{p}"),
    Rename(_BLOCK + "scale_shift_table", _BLOCK + "modulation.table"),
    Rename(_BLOCK + "scale_shift_table_temporal", _BLOCK + "temporal_modulation.table"),
    *_self_attention("attn", "spatial"),
    *_self_attention("attn_temp", "temporal"),
    Rename(_BLOCK + "cross_attn.q_linear.{p}", _BLOCK + "cross.query.{p}"),
    Split(_BLOCK + "cross_attn.kv_linear.{p}", (_BLOCK + "cross.key.{p}", _BLOCK + "cross.value.{p}")),
    Rename(_BLOCK + "cross_attn.proj.{p}", _BLOCK + "cross.out.{p}"),
    Rename(_BLOCK + "mlp.fc1.{p}", _BLOCK + "mlp.up.{p}"),
    Rename(_BLOCK + "mlp.fc2.{p}", _BLOCK + "mlp.down.{p}"),
)


def key_map(config: STDiTConfig) -> KeyMap:
    """Returns the table of a model; both generations share it."""
    del config
    return KeyMap(_RULES)
