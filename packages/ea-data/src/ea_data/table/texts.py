"""What texts are written in, and how many tokens they have: functions of expressions that need libraries."""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ea_data.control.extras import load

__all__ = ["language", "no_tokenizer", "script", "token_counter"]

_LONGEST: Final = 100_000
_EXTRA: Final = "text"
_CODE: Final = 2
_LEAST, _AHEAD = 0.1, 1.5
"""A language is told from this certainty on, and where it is so many times as likely as the next one."""
_FILE: Final = "tokenizer.json"


def script(text: str) -> str:
    """The writing of most letters: latin, cjk, hiragana, cyrillic and so on; "" without letters."""
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in text[:_LONGEST] if letter.isalpha())
    counts: dict[str, int] = {}
    for name in names:
        plain = name.lower().removesuffix("-unified")
        counts[plain] = counts.get(plain, 0) + 1
    return max(counts, key=counts.__getitem__) if counts else ""


def language(text: str) -> str | None:
    """The language of a text as its code of ISO 639-1, such as "en"; None where that is unknown.

    Raises:
        MissingExtraError: py3langid is not installed.
    """
    identifier = _identifier()
    if not any(letter.isalpha() for letter in text):
        return None
    (code, certainty), (_, next_certainty), *_ = identifier.rank(text[:_LONGEST])
    return str(code) if certainty >= max(_LEAST, _AHEAD * next_certainty) else None


def token_counter(path: Path) -> Callable[[str], int]:
    """What counts the tokens of a text, with those that the tokenizer adds, such as T5's end.

    Args:
        path: `tokenizer.json`, or a directory that has one.

    Raises:
        ValueError: It is no such file.
        MissingExtraError: tokenizers is not installed.
    """
    file = path / _FILE if path.is_dir() else path
    tokenizers = load("tokenizers", extra=_EXTRA)
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"tokenizer: cannot read {file}: {reason}; allowed: {_FILE} of a model, or a directory with one"
        ) from error
    # Files of text encoders cut texts at their length, which is not what is asked.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)


def no_tokenizer(_: str) -> int:
    """What counts tokens where no tokenizer was given.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"tokens needs a tokenizer; give --tokenizer FILE, {_FILE} of a text encoder")


# Its model is read once.
@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Knows languages of ISO 639-1 alone, not the dialects and neighbours that share their texts."""
    module = load("py3langid.langid", extra=_EXTRA)
    identifier = module.LanguageIdentifier.from_model_file(module.MODEL_FILE, norm_probs=True)
    identifier.set_languages([label for label in identifier.labels if len(label) == _CODE])
    return identifier
