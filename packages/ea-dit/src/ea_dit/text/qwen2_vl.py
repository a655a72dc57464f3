"""Qwen2-VL as text encoder of V5.1. Shapes: B batch, L tokens, E width of the states."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ea_dit.text.base import TextStates
from ea_dit.text.padded import padded_ids
from ea_dit.text.pretrained import load_pretrained
from ea_dit.text.tokenizers import load_tokenizer

MAX_LENGTH = 256
"""Tokens, template included; longer prompts are cut, as released."""

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
)
"""The released chat template with one user turn and the generation prompt, for tokenizers without one."""


class Qwen2VLTextEncoder:
    """States before the last layer of a Qwen2-VL language model that reads the prompt as a user's turn.

    Args:
        model: A `Qwen2VLModel` of transformers; its vision tower is not used.
        tokenizer: Its tokenizer.
        max_length: Length that every prompt is padded or cut to, on the right.
        use_mask: Whether padding is masked inside the encoder (V5.1: yes).
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, max_length: int = MAX_LENGTH, use_mask: bool = True
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.use_mask = use_mask

    def render(self, text: str) -> str:
        """Returns what the language model reads: the prompt in the chat template."""
        if not getattr(self.tokenizer, "chat_template", None):
            return TEMPLATE.format(prompt=text)
        turn = {"role": "user", "content": [{"type": "text", "text": text}]}
        return self.tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes prompts.

        Args:
            texts: Prompts; too long ones are cut, which is logged.

        Returns:
            (B, max_length, E) in the dtype of the model.
        """
        rendered = [self.render(text) for text in texts]
        device = self.model.device
        ids_BL, mask_BL = (part.to(device) for part in padded_ids(self.tokenizer, rendered, self.max_length))
        output = self.model(
            input_ids=ids_BL,
            attention_mask=mask_BL if self.use_mask else None,
            output_hidden_states=True,
            use_cache=False,
        )
        return TextStates(output.hidden_states[-2], mask_BL.bool())


def load_qwen2_vl(
    model_directory: Path,
    tokenizer: Any,
    *,
    dtype: torch.dtype,
    device: torch.device,
    allow_pickle: bool = False,
) -> Qwen2VLTextEncoder:
    """Loads the encoder from local directories in the layout of transformers.

    Args:
        model_directory: `config.json` and safetensors.
        tokenizer: Directory of the tokenizer's files, or the tokenizer if it is loaded already.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: If files or weights are missing.
    """
    loaded = load_tokenizer(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    model = load_pretrained(
        "qwen2_vl", model_directory, dtype=dtype, device=device, allow_pickle=allow_pickle
    )
    return Qwen2VLTextEncoder(model.model, loaded)
