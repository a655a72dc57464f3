"""Aesthetic predictors: a few linear layers over pooled states of a picture tower.

v2: Schuhmann's improved aesthetic predictor over CLIP ViT-L/14. v2.5: Discus' predictor over SigLIP so400m.
N pictures, E width of the states.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.text.pretrained import load_pretrained
from ea_kernels.runtime.weights import load_weights
from ea_train.rewards.clip import load_pair
from ea_train.rewards.pictures import Look, mean_over_frames

_PARAMETER = re.compile(r"(?:\w+\.)?(\d+)\.(weight|bias)")
_SIGLIP_COLOUR = (0.5, 0.5, 0.5)


class LinearHead(nn.Module):
    """Linear layers one after the other, with nothing between them, as they were trained.

    Args:
        layers: In order; the last has one output.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers).requires_grad_(requires_grad=False)

    @classmethod
    def from_file(cls, file: Path, *, allow_pickle: bool = False) -> "LinearHead":
        """Read `layers.0.weight`, `layers.0.bias`, `layers.2.weight` ... under any first name.

        Raises:
            ValueError: The file cannot be read or holds something else.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_weights(file, dtype=torch.float32, allow_pickle=allow_pickle).items():
            part = _PARAMETER.fullmatch(name)
            if part is None:
                raise ValueError(f"{file}: no head of an aesthetic predictor: unexpected tensor {name!r}")
            found.setdefault(int(part[1]), {})[part[2]] = tensor
        layers: list[nn.Linear] = []
        width: int | None = None
        for number, tensors in sorted(found.items()):
            weight, bias = tensors.get("weight"), tensors.get("bias")
            if weight is None or bias is None or weight.ndim != 2 or width not in (None, weight.shape[1]):
                raise ValueError(f"{file}: no head of an aesthetic predictor: layer {number} does not fit")
            width = weight.shape[0]
            layers.append(nn.Linear(weight.shape[1], width))
            layers[-1].load_state_dict({"weight": weight, "bias": bias})
        if width != 1:
            raise ValueError(
                f"{file}: no head of an aesthetic predictor: it must end in one number, got {width}"
            )
        return cls(layers)

    @property
    def width(self) -> int:
        """E."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        return first.in_features

    def forward(self, states_NE: Tensor) -> Tensor:
        """Scores (N,), about 1 to 10."""
        return self.layers(states_NE).squeeze(-1)


class AestheticScore:
    """Score of frames, whatever the prompt.

    Args:
        tower: Pooled states of pictures; a module.
        pooled: Calls it.
        head: The linear layers.
        look: How pictures are prepared.
        width: Of the tower's states, for the check.

    Raises:
        ValueError: The head was made for another tower.
    """

    def __init__(
        self,
        tower: nn.Module,
        pooled: Callable[[Tensor], Tensor],
        head: LinearHead,
        look: Look,
        *,
        width: int,
    ) -> None:
        if width != head.width:
            raise ValueError(
                f"the aesthetic head reads states of {head.width} numbers, its encoder has {width}"
            )
        self._tower, self._pooled, self._head, self._look = tower, pooled, head, look

    def __call__(self, frames_B3THW: Tensor, prompts: Sequence[str]) -> Tensor:
        """See `ea_train.rewards.base.Reward`."""
        del prompts
        self._tower.to(frames_B3THW.device)
        states_NE = F.normalize(self._pooled(self._look(frames_B3THW)).float(), dim=-1)
        return mean_over_frames(self._head.to(frames_B3THW.device)(states_NE), frames_B3THW)


def load_aesthetic_v2(encoder: Path, head: Path, *, allow_pickle: bool = False) -> AestheticScore:
    """Read the predictor over CLIP.

    Raises:
        ValueError: A file is missing or does not fit.
    """
    pair = load_pair(encoder, allow_pickle=allow_pickle)
    return AestheticScore(
        pair,
        lambda pictures: pair.picture_states(pictures)[1],
        LinearHead.from_file(head, allow_pickle=allow_pickle),
        Look(side=pair.side),
        width=pair.model.config.projection_dim,
    )


def load_aesthetic_v2_5(encoder: Path, head: Path, *, allow_pickle: bool = False) -> AestheticScore:
    """Read the predictor over SigLIP.

    Raises:
        ValueError: A file is missing or does not fit.
    """
    tower = load_pretrained(
        "siglip", encoder, dtype=torch.float32, device=torch.device("cpu"), allow_pickle=allow_pickle
    ).requires_grad_(False)
    return AestheticScore(
        tower,
        lambda pictures: tower(pixel_values=pictures).pooler_output,
        LinearHead.from_file(head, allow_pickle=allow_pickle),
        Look(side=tower.config.image_size, mean=_SIGLIP_COLOUR, std=_SIGLIP_COLOUR),
        width=tower.config.hidden_size,
    )
