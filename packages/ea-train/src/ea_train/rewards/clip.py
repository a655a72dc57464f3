"""CLIP's two towers, as transformers has them, and the scores that are their cosine.

PickScore: Kirstain et al. 2023 (arXiv 2305.01569). HPS v2: Wu et al. 2023 (arXiv 2306.09341), whose weights
are in the layout of open_clip. N pictures, B texts, L tokens, E width of the shared space.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.text.pretrained import load_pretrained
from ea_dit.text.tokenizers import load_tokenizer
from ea_kernels.runtime.weights import KeyMap, Rename, Split, load_weights
from ea_train.rewards.pictures import Look, mean_over_frames

_TOKENS = 77
_LAYER = (
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)
_TOWERS = (
    ("visual.transformer.resblocks", "vision_model.encoder.layers"),
    ("transformer.resblocks", "text_model.encoder.layers"),
)
OPEN_CLIP_KEYS = KeyMap(
    (
        *(
            Rename(f"{theirs}.{{l}}.{part}.{{p}}", f"{ours}.{{l}}.{name}.{{p}}")
            for theirs, ours in _TOWERS
            for part, name in _LAYER
        ),
        *(
            Split(
                f"{theirs}.{{l}}.attn.in_proj_{kind}",
                tuple(f"{ours}.{{l}}.self_attn.{one}_proj.{kind}" for one in "qkv"),
            )
            for theirs, ours in _TOWERS
            for kind in ("weight", "bias")
        ),
        Rename("visual.class_embedding", "vision_model.embeddings.class_embedding"),
        Rename("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        Rename("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
        # The name is misspelt in transformers.
        Rename("visual.ln_pre.{p}", "vision_model.pre_layrnorm.{p}"),
        Rename("visual.ln_post.{p}", "vision_model.post_layernorm.{p}"),
        Rename("visual.proj", "visual_projection.weight"),
        Rename("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
        Rename("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        Rename("ln_final.{p}", "text_model.final_layer_norm.{p}"),
        Rename("text_projection", "text_projection.weight"),
    )
)
"""Names of open_clip to those of transformers; the two projections are the other way round there."""
_TURNED = ("visual_projection.weight", "text_projection.weight")


class ClipPair(nn.Module):
    """Both towers, frozen.

    Args:
        model: A `CLIPModel` of transformers.
        tokenizer: Of transformers.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer

    @property
    def side(self) -> int:
        """Of the pictures that it takes."""
        return self.model.config.vision_config.image_size

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokens (B, L), cut and padded to the length that the tower was trained with."""
        most = min(_TOKENS, self.model.config.text_config.max_position_embeddings)
        found = self.tokenizer(
            list(texts), max_length=most, padding="max_length", truncation=True, return_tensors="pt"
        )
        return found.input_ids.to(self.model.logit_scale.device)

    def picture_states(self, pictures_N3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Projected states of all patches (N, 1 + patches, E), and the pooled ones (N, E)."""
        weight = self.model.visual_projection.weight
        found = self.model.vision_model(pixel_values=pictures_N3SS.to(weight))
        return self.model.visual_projection(found.last_hidden_state), self.model.visual_projection(
            found.pooler_output
        )

    def text_states(self, tokens_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Projected states of all tokens (B, L, E), and those of the last one (B, E)."""
        # No mask: a token sees only those before it, and padding comes last.
        found = self.model.text_model(input_ids=tokens_BL)
        return self.model.text_projection(found.last_hidden_state), self.model.text_projection(
            found.pooler_output
        )


class ClipScore:
    """Cosine of a frame and its prompt.

    Args:
        pair: Both towers.
        keeps_proportions: See `Look`.
    """

    def __init__(self, pair: ClipPair, *, keeps_proportions: bool) -> None:
        self.pair = pair
        self._look = Look(side=pair.side, keeps_proportions=keeps_proportions)

    def __call__(self, frames_B3THW: Tensor, prompts: Sequence[str]) -> Tensor:
        """See `ea_train.rewards.base.Reward`."""
        pair = self.pair.to(frames_B3THW.device)
        _, pictures_NE = pair.picture_states(self._look(frames_B3THW))
        with torch.no_grad():
            _, texts_BE = pair.text_states(pair.tokens(prompts))
        texts_NE = texts_BE.repeat_interleave(frames_B3THW.shape[2], dim=0)
        return mean_over_frames(F.cosine_similarity(pictures_NE.float(), texts_NE.float()), frames_B3THW)


def load_pair(folder: Path, *, allow_pickle: bool = False) -> ClipPair:
    """Read a CLIP model with its weights and its tokenizer from a folder.

    Raises:
        ValueError: A file is missing or does not fit.
    """
    model = load_pretrained(
        "clip_pair", folder, dtype=torch.float32, device=torch.device("cpu"), allow_pickle=allow_pickle
    )
    return ClipPair(model, load_tokenizer(folder))


def empty_pair(folder: Path) -> ClipPair:
    """A CLIP model of the sizes that a folder's config has, without weights, and the folder's tokenizer.

    Raises:
        ValueError: The folder has no config.
    """
    from transformers import CLIPConfig, CLIPModel  # noqa: PLC0415  (seconds to import)

    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no encoder here, config.json is missing")
    config = CLIPConfig.from_pretrained(folder, local_files_only=True)
    return ClipPair(CLIPModel(config).eval(), load_tokenizer(folder))


def load_open_clip(folder: Path, weights: Path, *, allow_pickle: bool = False) -> ClipPair:
    """Read weights in the layout of open_clip, such as those of HPS, into a CLIP model of transformers.

    Args:
        folder: Config and tokenizer of the CLIP model.
        weights: The file.
        allow_pickle: Accept a pickle, read without running code.

    Raises:
        ValueError: A tensor is missing, left over or misshapen, naming it.
    """
    pair = empty_pair(folder)
    state = load_weights(weights, key_map=OPEN_CLIP_KEYS, dtype=torch.float32, allow_pickle=allow_pickle)
    state = {name: tensor.T if name in _TURNED else tensor for name, tensor in state.items()}
    wanted = pair.model.state_dict()
    for name in sorted(state.keys() | wanted.keys()):
        given, needed = (list(one[name].shape) if name in one else None for one in (state, wanted))
        if given != needed:
            raise ValueError(
                f"{weights}: {name} must have shape {needed}, got {given}; is it of this encoder?"
            )
    pair.model.load_state_dict(state)
    return pair
