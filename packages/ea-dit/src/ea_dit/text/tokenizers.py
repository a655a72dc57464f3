"""Tokenizers of encoders that transformers implements, from local directories and nothing else."""

from pathlib import Path
from typing import Any

from ea_dit.text.pretrained import first_line, quiet_transformers
from ea_kernels.runtime.files import read_json

WHOLE = "tokenizer.json"
# What a tokenizer can be made of; all names of a row have to be there.
_SOURCES = ((WHOLE,), ("*.model",), ("vocab.txt",), ("vocab.json", "merges.txt"))
_JSON = (WHOLE, "tokenizer_config.json", "vocab.json", "added_tokens.json", "special_tokens_map.json")


def has_tokenizer(directory: Path) -> bool:
    """Whether there is something in a directory that a tokenizer can be made of."""
    return any(all(any(directory.glob(name)) for name in names) for names in _SOURCES)


def check_tokenizer_files(directory: Path) -> None:
    """Refuses a tokenizer with missing or damaged files, without making it.

    Args:
        directory: Its files.

    Raises:
        ValueError: Naming the file, or what is missing.
    """
    if not directory.is_dir():
        raise ValueError(f"the tokenizer of the text encoder is missing: {directory}")
    if not has_tokenizer(directory):
        raise ValueError(
            f"{directory}: no tokenizer here: {WHOLE}, spiece.model or a vocabulary "
            "(vocab.txt, or vocab.json with merges.txt) is missing"
        )
    for name in _JSON:
        if (directory / name).is_file():
            content = read_json(directory / name)
            if name == WHOLE and not isinstance(content.get("model"), dict):
                raise ValueError(f"{directory / name}: model must be a JSON object, it holds the vocabulary")


def load_tokenizer(directory: Path) -> Any:
    """Loads a tokenizer of transformers.

    Args:
        directory: `tokenizer.json`, or a SentencePiece model or vocabulary, with `tokenizer_config.json`.

    Raises:
        ValueError: If it is missing or cannot be read.
    """
    check_tokenizer_files(directory)
    from transformers import AutoTokenizer  # noqa: PLC0415  (seconds to import)

    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        hint = ""
        if any(directory.glob("*.model")):
            hint = " (a SentencePiece model needs the packages sentencepiece and protobuf)"
        raise ValueError(f"{directory}: cannot be read as a tokenizer: {first_line(error)}{hint}") from error


def check_vocabulary(tokenizer: Any, rows: object, directory: Path) -> None:
    """Refuses a tokenizer of another model: one that knows more tokens than the encoder has embeddings.

    Args:
        tokenizer: Of transformers.
        rows: `vocab_size` of the encoder's config; not compared if it is no number.
        directory: Of the tokenizer, for the message.

    Raises:
        ValueError: With both numbers.
    """
    if isinstance(rows, int) and tokenizer.vocab_size > rows:
        raise ValueError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} tokens, but its text encoder knows "
            f"only {rows}; it is that of another model"
        )
