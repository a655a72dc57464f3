"""Names in released checkpoints to ours. Order of a rule: released name, our name."""

from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig
from ea_kernels.runtime.weights import KeyMap, Rename, Split

_BLOCK = "blocks.{i}."
_TIME = "time_extra_emb."
_IMAGE = "clip_projection."

_BEFORE_BLOCKS = (
    Rename("pos_embed.proj.{p}", "patch_embed.{p}"),
    Rename("text_embedder.linear_1.{p}", "second_text_embed.inner.{p}"),
    Rename("text_embedder.linear_2.{p}", "second_text_embed.outer.{p}"),
    Rename("text_embedding_padding", "text_padding"),
    Rename(_TIME + "timestep_embedder.linear_1.{p}", "condition_embed.time.inner.{p}"),
    Rename(_TIME + "timestep_embedder.linear_2.{p}", "condition_embed.time.outer.{p}"),
    Rename(_TIME + "extra_embedder.linear_1.{p}", "condition_embed.extra.inner.{p}"),
    Rename(_TIME + "extra_embedder.linear_2.{p}", "condition_embed.extra.outer.{p}"),
    Rename(_TIME + "style_embedder.weight", "condition_embed.style.weight"),
    Rename(_TIME + "pooler.positional_embedding", "condition_embed.pool.positions"),
    Rename(_TIME + "pooler.q_proj.{p}", "condition_embed.pool.query.{p}"),
    Rename(_TIME + "pooler.k_proj.{p}", "condition_embed.pool.key.{p}"),
    Rename(_TIME + "pooler.v_proj.{p}", "condition_embed.pool.value.{p}"),
    Rename(_TIME + "pooler.c_proj.{p}", "condition_embed.pool.out.{p}"),
    Rename("clip_padding", "image_padding"),
    Rename(_IMAGE + "pos_embed", "resampler.positions_QE"),
    Rename(_IMAGE + "query", "resampler.queries_QE"),
    Rename(_IMAGE + "kv_proj.weight", "resampler.patch_projection.weight"),
    Rename(_IMAGE + "ln_q.{p}", "resampler.query_norm.{p}"),
    Rename(_IMAGE + "ln_kv.{p}", "resampler.patch_norm.{p}"),
    *(
        Split(
            f"{_IMAGE}attn.in_proj_{p}",
            (f"resampler.query.{p}", f"resampler.key.{p}", f"resampler.value.{p}"),
        )
        for p in ("weight", "bias")
    ),
    Rename(_IMAGE + "attn.out_proj.{p}", "resampler.out.{p}"),
    Rename("norm_out.linear.{p}", "head.modulation.{p}"),
    Rename("proj_out.{p}", "head.projection.{p}"),
)

_IN_BLOCKS = (
    Rename(_BLOCK + "t_embed.pe", _BLOCK + "frame_table_FD"),
    Rename(_BLOCK + "skip_norm.{p}", _BLOCK + "skip.norm.{p}"),
    Rename(_BLOCK + "skip_linear.{p}", _BLOCK + "skip.projection.{p}"),
    Rename(_BLOCK + "norm1.norm.{p}", _BLOCK + "attention_norm.{p}"),
    Rename(_BLOCK + "norm1.linear.{p}", _BLOCK + "shift.{p}"),
    Rename(_BLOCK + "norm2.{p}", _BLOCK + "text_norm.{p}"),
    Rename(_BLOCK + "norm3.{p}", _BLOCK + "mlp_norm.{p}"),
    Rename(_BLOCK + "norm_clip.{p}", _BLOCK + "image.norm.{p}"),
    Rename(_BLOCK + "norm_clip_out.{p}", _BLOCK + "image.out_norm.{p}"),
    Rename(_BLOCK + "gate_clip.norm.{p}", _BLOCK + "image.gate_norm.{p}"),
    Rename(_BLOCK + "gate_clip.proj.{p}", _BLOCK + "image.gate.{p}"),
    Rename(_BLOCK + "ff.net.0.proj.{p}", _BLOCK + "mlp.up.{p}"),
    Rename(_BLOCK + "ff.net.2.{p}", _BLOCK + "mlp.down.{p}"),
)

_ATTENTIONS = {"attn1": "attention", "attn2": "text_attention", "attn_clip": "image.attention"}
_ROLES = {
    "to_q": "query",
    "to_k": "key",
    "to_v": "value",
    "norm_q": "query_norm",
    "norm_k": "key_norm",
    "to_out.0": "out",
}
_KEY_MAP = KeyMap(
    (
        *_BEFORE_BLOCKS,
        *_IN_BLOCKS,
        *(
            Rename(f"{_BLOCK}{released}.{part}.{{p}}", f"{_BLOCK}{ours}.{role}.{{p}}")
            for released, ours in _ATTENTIONS.items()
            for part, role in _ROLES.items()
        ),
    )
)


def key_map(_config: Hunyuan3DConfig) -> KeyMap:
    """Returns the table of a model; it is the same for all of them."""
    return _KEY_MAP
