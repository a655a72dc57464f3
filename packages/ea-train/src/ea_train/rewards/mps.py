"""MPS: a picture is read through the words of its prompt that a condition is about.

Source: Zhang et al. 2024 (arXiv 2405.14705). N pictures, B texts, L tokens, P patches, E width, H heads,
D width of a head.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ea_kernels.runtime.weights import load_weights
from ea_train.rewards.clip import ClipPair, empty_pair
from ea_train.rewards.pictures import Look, mean_over_frames

CONDITION = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, "
    "instance, texture, quantity, attributes, position, number, location, word, things."
)
"""What overall quality is about, as released."""

_LEAST_SIMILARITY = 0.01
_ROTARY_BASE = 10_000.0
_LAYER = re.compile(r"cross_model\.layers\.(\d+)\.([01])\.fn\.(.+)")
_NAMES = (
    {"norm.weight": "norm", "to_q.weight": "query", "to_kv.weight": "key_value", "to_out.weight": "out"}
    | {"ff.0.weight": "inner", "ff.2.weight": "outer"},
    {"norm.weight": "norm", "fused_attn_ff_proj.weight": "fused", "attn_out.weight": "out"}
    | {"ff_out.1.weight": "outer"},
)
_COMPUTED = ("norm.bias", "rotary_emb.inv_freq", "pos_emb")


class CrossLayer(nn.Module):
    """Patches look at words, then at each other; one key and value for all heads.

    Args:
        weights: By place: 0 looks at words, 1 at patches; the names are the values of `_NAMES`.
    """

    def __init__(self, weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
        super().__init__()
        self.words, self.patches = (
            nn.ParameterDict({name: nn.Parameter(value, requires_grad=False) for name, value in half.items()})
            for half in weights
        )
        self._head = weights[0]["key_value"].shape[0] // 2
        self._heads = weights[0]["query"].shape[0] // self._head

    def forward(self, x_NPE: Tensor, words_NLE: Tensor, mask_NL: Tensor) -> Tensor:
        """Read words where the mask is 0 and skip those where it is minus infinity."""
        x_NPE = x_NPE + self._look_at_words(x_NPE, words_NLE, mask_NL)
        return x_NPE + self._look_at_patches(x_NPE)

    def _look_at_words(self, x_NPE: Tensor, words_NLE: Tensor, mask_NL: Tensor) -> Tensor:
        weights = self.words
        x_NPE = F.layer_norm(x_NPE, x_NPE.shape[-1:], weights["norm"])
        query_NHPD = self._split(F.linear(x_NPE, weights["query"]))
        key_NLD, value_NLD = F.linear(words_NLE, weights["key_value"]).chunk(2, dim=-1)
        found = self._attend(query_NHPD, key_NLD, value_NLD, mask_NL[:, None, None])
        return F.linear(found, weights["out"]) + _swiglu(F.linear(x_NPE, weights["inner"]), weights["outer"])

    def _look_at_patches(self, x_NPE: Tensor) -> Tensor:
        weights = self.patches
        x_NPE = F.layer_norm(x_NPE, x_NPE.shape[-1:], weights["norm"])
        width = self._heads * self._head
        fused = F.linear(x_NPE, weights["fused"])
        sizes = (width, self._head, self._head, fused.shape[-1] - width - 2 * self._head)
        query, key_NPD, value_NPD, inner = fused.split(sizes, dim=-1)
        turned_NHPD, key_NPD = _rotated(self._split(query)), _rotated(key_NPD)
        found = self._attend(turned_NHPD, key_NPD, value_NPD, None)
        return F.linear(found, weights["out"]) + _swiglu(inner, weights["outer"])

    def _split(self, x_NPE: Tensor) -> Tensor:
        return rearrange(x_NPE, "n p (h d) -> n h p d", h=self._heads)

    def _attend(self, query_NHPD: Tensor, key_NLD: Tensor, value_NLD: Tensor, mask: Tensor | None) -> Tensor:
        scores = torch.einsum("nhpd,nld->nhpl", query_NHPD * self._head**-0.5, key_NLD)
        shares = (scores if mask is None else scores + mask).softmax(dim=-1)
        return rearrange(torch.einsum("nhpl,nld->nhpd", shares, value_NLD), "n h p d -> n p (h d)")


class MpsScore:
    """Cosine of a prompt and a frame that was read through it.

    Args:
        pair: CLIP's towers.
        layers: Read patches through words.
        condition: Words that say what counts.
    """

    def __init__(self, pair: ClipPair, layers: Sequence[CrossLayer], condition: str = CONDITION) -> None:
        self._pair, self._layers, self._condition = pair, nn.ModuleList(layers), condition
        self._look = Look(side=pair.side)

    def __call__(self, frames_B3THW: Tensor, prompts: Sequence[str]) -> Tensor:
        """See `ea_train.rewards.base.Reward`."""
        pair, count = self._pair.to(frames_B3THW.device), frames_B3THW.shape[2]
        self._layers.to(frames_B3THW.device)
        with torch.no_grad():
            words_BLE, texts_BE = pair.text_states(pair.tokens(prompts))
            condition_1LE, _ = pair.text_states(pair.tokens([self._condition]))
            likeness_BL = (words_BLE @ condition_1LE[0].T).amax(dim=-1)
            # Of each text by itself; the released program divides by the largest value of the whole batch.
            likeness_BL = likeness_BL / likeness_BL.amax(dim=-1, keepdim=True)
            closed = likeness_BL <= _LEAST_SIMILARITY
            mask_BL = torch.zeros_like(likeness_BL).masked_fill(closed, float("-inf"))
        x_NPE, _ = pair.picture_states(self._look(frames_B3THW))
        words_NLE, mask_NL, texts_NE = (
            one.repeat_interleave(count, dim=0) for one in (words_BLE, mask_BL, texts_BE)
        )
        for layer in self._layers:
            x_NPE = layer(x_NPE, words_NLE, mask_NL)
        scores_N = F.cosine_similarity(x_NPE[:, 0].float(), texts_NE.float())
        return mean_over_frames(scores_N, frames_B3THW)


def load_mps(encoder: Path, head: Path, *, allow_pickle: bool = False) -> MpsScore:
    """Read MPS.

    Args:
        encoder: Config and tokenizer of the CLIP model.
        head: One file with CLIP (`model.*`) and the layers over it (`cross_model.*`).
        allow_pickle: Accept a pickle, read without running code.

    Raises:
        ValueError: A tensor is missing or misshapen, naming it.
    """
    pair = empty_pair(encoder)
    state = load_weights(head, dtype=torch.float32, allow_pickle=allow_pickle)
    towers = {
        name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")
    }
    for name, wanted in pair.model.state_dict().items():
        if name not in towers or towers[name].shape != wanted.shape:
            given = list(towers[name].shape) if name in towers else "nothing"
            raise ValueError(f"{head}: model.{name} must have shape {list(wanted.shape)}, got {given}")
    pair.model.load_state_dict({name: towers[name] for name in pair.model.state_dict()})
    return MpsScore(pair, _cross_layers(state, head))


def _cross_layers(state: dict[str, Tensor], file: Path) -> list[CrossLayer]:
    found: dict[int, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
    for name, value in state.items():
        place = _LAYER.fullmatch(name)
        if place is None or place[3] in _COMPUTED:
            continue
        half = int(place[2])
        if place[3] not in _NAMES[half]:
            raise ValueError(f"{file}: unexpected tensor {name!r}")
        found.setdefault(int(place[1]), ({}, {}))[half][_NAMES[half][place[3]]] = value
    for number in range(max(found, default=-1) + 1):
        for half, names in enumerate(_NAMES):
            for released, ours in names.items():
                if ours not in found.get(number, ({}, {}))[half]:
                    raise ValueError(
                        f"{file}: missing tensor 'cross_model.layers.{number}.{half}.fn.{released}'"
                    )
    if not found:
        raise ValueError(f"{file}: no tensors of cross_model: these are not the weights of MPS")
    return [CrossLayer(found[number]) for number in sorted(found)]


def _swiglu(inner: Tensor, outer: Tensor) -> Tensor:
    value, gate = inner.chunk(2, dim=-1)
    return F.linear(F.silu(gate) * value, outer)


def _rotated(x: Tensor) -> Tensor:
    """Rotary positions along the patches, halves against each other; (..., P, D)."""
    width = x.shape[-1]
    rates = _ROTARY_BASE ** -(torch.arange(0, width, 2, device=x.device, dtype=torch.float32) / width)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * rates
    angles = torch.cat((angles, angles), dim=-1).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()
