"""Names in released checkpoints to ours; files of PixArt in the layout of diffusers have the same ones.

Order of a rule: released name, our name. Tensors are neither transposed nor merged nor split.
"""

from ea_dit.families.pixart_motion.config import PixArtMotionConfig
from ea_kernels.runtime.weights import Drop, KeyMap, Rename

_EMBED = "adaln_single.emb."
_BLOCK = "transformer_blocks.{i}."
MOTION = _BLOCK + "attn_temporal.temporal_transformer."
_INNER = MOTION + "transformer_blocks.{j}."
_OURS_INNER = "blocks.{i}.motion.blocks.{j}."

_PROJECTIONS = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "out"))


def _pair(released: str, ours: str) -> tuple[Rename, Rename]:
    return (
        Rename(f"{released}.linear_1.{{p}}", f"{ours}.inner.{{p}}"),
        Rename(f"{released}.linear_2.{{p}}", f"{ours}.outer.{{p}}"),
    )


def _attention(released: str, ours: str) -> tuple[Rename, ...]:
    return tuple(Rename(f"{released}.{old}.{{p}}", f"{ours}.{new}.{{p}}") for old, new in _PROJECTIONS)


_RULES = (
    Rename("pos_embed.proj.{p}", "patch_embed.{p}"),
    *_pair(_EMBED + "timestep_embedder", "time_embed.timestep"),
    *_pair(_EMBED + "resolution_embedder", "time_embed.resolution"),
    *_pair(_EMBED + "aspect_ratio_embedder", "time_embed.aspect_ratio"),
    Rename("adaln_single.linear.{p}", "time_embed.modulation.{p}"),
    *_pair("caption_projection", "text_embed"),
    # Early PixArt files carry the caption that training put in place of dropped ones.
    Drop("caption_projection.y_embedding"),
    *_pair("clip_projection", "clip_embed"),
    Rename("scale_shift_table", "head.modulation.table"),
    Rename("proj_out.{p}", "head.projection.{p}"),
    Rename("long_connect_fc.{i}.{p}", "skips.{i}.{p}"),
    Rename(_BLOCK + "scale_shift_table", "blocks.{i}.modulation.table"),
    *_attention(_BLOCK + "attn1", "blocks.{i}.attention"),
    *_attention(_BLOCK + "attn2", "blocks.{i}.text_attention"),
    Rename(_BLOCK + "ff.net.0.proj.{p}", "blocks.{i}.mlp.up.{p}"),
    Rename(_BLOCK + "ff.net.2.{p}", "blocks.{i}.mlp.down.{p}"),
    Rename(MOTION + "norm.{p}", "blocks.{i}.motion.norm.{p}"),
    Rename(MOTION + "proj_in.{p}", "blocks.{i}.motion.project_in.{p}"),
    Rename(MOTION + "proj_out.{p}", "blocks.{i}.motion.project_out.{p}"),
    Rename(_INNER + "norms.{k}.{p}", _OURS_INNER + "attentions.{k}.norm.{p}"),
    Rename(_INNER + "attention_blocks.{k}.pos_encoder.pe", _OURS_INNER + "attentions.{k}.positions"),
    *_attention(_INNER + "attention_blocks.{k}", _OURS_INNER + "attentions.{k}.attention"),
    Rename(_INNER + "ff_norm.{p}", _OURS_INNER + "mlp_norm.{p}"),
    Rename(_INNER + "ff.net.0.proj.{p}", _OURS_INNER + "mlp.up.{p}"),
    Rename(_INNER + "ff.net.2.{p}", _OURS_INNER + "mlp.down.{p}"),
)


def key_map(_config: PixArtMotionConfig) -> KeyMap:
    """Returns the table, the same for every config."""
    return KeyMap(_RULES)
