"""A small text encoder that reads UTF-8 bytes, for the bundled model.

No tokenizer and no vocabulary file: English, Chinese and anything else that is UTF-8 goes in as bytes. Two
strided convolutions shorten the byte sequence by four, a few transformer layers read it, and a fixed number
of learned queries collect the prompt into `num_tokens` text tokens, the only thing the diffusion transformer
sees. The sequence is always padded to `max_bytes`, so a prompt's encoding does not depend on what else is in
the batch.

Shape letters: B batch, S bytes, L shortened length, K text tokens, D width, N heads, H head dim.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ea_dit.config_values import require_whole
from ea_dit.text.base import TextStates
from ea_kernels import ops
from ea_kernels.runtime.weights import check_stored, load_into, read_config, save_checkpoint

PAD_ID = 256
"""Byte ids are 0..255; one more id fills the rest of the sequence."""


@dataclass(frozen=True, kw_only=True)
class ByteEncoderConfig:
    """Size of the encoder.

    Attributes:
        max_bytes: Longest prompt in UTF-8 bytes; a multiple of 4.
        width: Width of the states, and `text_embed_dim` of the transformer that reads them.
        num_layers: Transformer layers over the shortened byte sequence.
        num_heads: Attention heads.
        num_tokens: Text tokens that come out.
    """

    max_bytes: int = 256
    width: int = 192
    num_layers: int = 3
    num_heads: int = 4
    num_tokens: int = 12

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        require_whole(self, (field.name for field in fields(self)))
        if self.max_bytes < 4 or self.max_bytes % 4:
            raise ValueError(f"max_bytes must be a positive multiple of 4, got {self.max_bytes}")
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ByteEncoderConfig":
        """Read a `config.json`; unknown keys are refused, underscore keys are comments."""
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in values.items() if not key.startswith("_")}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"byte encoder config: unknown keys {unknown}; allowed are {sorted(known)}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {"_class_name": "ByteTextEncoder", **asdict(self)}


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = _mlp(width, 4 * width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """States (B, L, D) to states of the same shape."""
        qkv_BLD = self.to_qkv(self.attention_norm(x_BLD))
        q, k, v = rearrange(qkv_BLD, "b l (three n h) -> three b l n h", three=3, n=self.num_heads)
        x_BLD = x_BLD + self.to_out(ops.attention(q, k, v).flatten(2))
        return x_BLD + self.mlp(self.mlp_norm(x_BLD))


class QueryPool(nn.Module):
    """Learned queries that read the byte states by cross-attention."""

    def __init__(self, width: int, num_heads: int, num_tokens: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.queries_KD = nn.Parameter(torch.empty(num_tokens, width))
        nn.init.normal_(self.queries_KD, std=0.5)
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = _mlp(width, 2 * width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Byte states (B, L, D) to text tokens (B, K, D)."""
        q_BKD = self.queries_KD.expand(x_BLD.shape[0], -1, -1)
        q = rearrange(self.to_q(q_BKD), "b k (n h) -> b k n h", n=self.num_heads)
        k, v = rearrange(
            self.to_kv(self.norm(x_BLD)), "b l (two n h) -> two b l n h", two=2, n=self.num_heads
        )
        x_BKD = q_BKD + self.to_out(ops.attention(q, k, v).flatten(2))
        return x_BKD + self.mlp(self.mlp_norm(x_BKD))


class ByteTextEncoder(nn.Module):
    """UTF-8 bytes to a fixed number of text tokens.

    Args:
        config: Sizes.
    """

    def __init__(self, config: ByteEncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = nn.Embedding(PAD_ID + 1, width)
        self.shorten = nn.ModuleList([nn.Conv1d(width, width, 5, stride=2, padding=2) for _ in range(2)])
        self.positions_LD = nn.Parameter(torch.empty(config.max_bytes // 4, width))
        nn.init.normal_(self.positions_LD, std=0.02)
        self.layers = nn.ModuleList([EncoderLayer(width, config.num_heads) for _ in range(config.num_layers)])
        self.pool = QueryPool(width, config.num_heads, config.num_tokens)
        self.norm_out = nn.LayerNorm(width)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Byte ids, padded.

        Args:
            texts: Prompts; an empty string is the unconditional prompt.

        Returns:
            int64 (B, max_bytes).

        Raises:
            ValueError: A prompt is longer than `max_bytes` bytes of UTF-8.
        """
        ids_BS = torch.full((len(texts), self.config.max_bytes), PAD_ID, dtype=torch.long)
        for row, text in enumerate(texts):
            data = text.encode("utf-8")
            if len(data) > self.config.max_bytes:
                raise ValueError(
                    f"prompt is {len(data)} bytes of UTF-8 long, this model reads at most "
                    f"{self.config.max_bytes}"
                )
            ids_BS[row, : len(data)] = torch.tensor(list(data), dtype=torch.long)
        return ids_BS

    def forward(self, ids_BS: Tensor) -> Tensor:
        """Byte ids (B, max_bytes) to text states (B, num_tokens, width)."""
        x_BDL = self.embedding(ids_BS).transpose(1, 2)
        for conv in self.shorten:
            x_BDL = F.silu(conv(x_BDL))
        x_BLD = x_BDL.transpose(1, 2) + self.positions_LD
        for layer in self.layers:
            x_BLD = layer(x_BLD)
        return self.norm_out(self.pool(x_BLD))

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> TextStates:
        """Text tokens of prompts; every token counts, so the mask is all true."""
        weight = self.embedding.weight
        states_BKD = self(self.tokenize(texts).to(weight.device))
        return TextStates(
            states_BKD, torch.ones(states_BKD.shape[:2], dtype=torch.bool, device=weight.device)
        )


def load_byte_encoder(
    directory: Path, *, dtype: torch.dtype | None = None, device: str = "cpu", allow_pickle: bool = False
) -> ByteTextEncoder:
    """Load an encoder that `save_byte_encoder` wrote; strict about every key.

    Raises:
        ValueError: A missing, extra or misshapen tensor, or an unknown config key.
    """
    config = _read_byte_config(directory)
    return load_into(
        lambda: ByteTextEncoder(config), directory, dtype=dtype, device=device, allow_pickle=allow_pickle
    )


def check_byte_encoder(directory: Path, *, allow_pickle: bool = False) -> None:
    """Refuse by configs and headers what `load_byte_encoder` would refuse."""
    config = _read_byte_config(directory)
    check_stored(lambda: ByteTextEncoder(config), directory, allow_pickle=allow_pickle)


def _read_byte_config(directory: Path) -> ByteEncoderConfig:
    values = read_config(directory)
    try:
        return ByteEncoderConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{directory}/config.json: {error}") from None


def save_byte_encoder(
    encoder: ByteTextEncoder,
    directory: Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write `config.json` and `model.safetensors`."""
    save_checkpoint(
        directory,
        config=encoder.config.to_dict(),
        state_dict=encoder.state_dict(),
        dtype=dtype,
        metadata=metadata,
        filename="model.safetensors",
    )
