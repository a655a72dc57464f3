"""Loading of encoders that transformers implements, from local directories and nothing else.

Remote code never runs, nothing is downloaded, and weights come from safetensors unless pickles are allowed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ea_kernels.runtime.pickles import is_pickle
from ea_kernels.runtime.weights import load_weights, weight_files


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and reports off the terminal; what is wrong arrives as an error."""
    from transformers.utils import logging  # noqa: PLC0415  (seconds to import)

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_pretrained(
    class_name: str,
    directory: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    allow_pickle: bool = False,
    **options: Any,
) -> Any:
    """Loads a model of transformers in evaluation mode.

    Args:
        class_name: Such as "T5EncoderModel".
        directory: `config.json` and safetensors.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles such as `pytorch_model.bin`, read without running code.
        **options: For the model's constructor.

    Raises:
        ValueError: If files or tensors are missing, or a tensor has another shape than the config says.
    """
    import transformers  # noqa: PLC0415  (seconds to import)

    if not (directory / "config.json").is_file():
        raise ValueError(f"{directory}: no encoder here, config.json is missing")
    model_class = getattr(transformers, class_name)
    source: dict[str, Any] = {"pretrained_model_name_or_path": directory, "use_safetensors": True}
    try:
        if any(is_pickle(file) for file in weight_files(directory, allow_pickle=allow_pickle)):
            source = {
                "pretrained_model_name_or_path": None,
                "config": model_class.config_class.from_pretrained(directory, local_files_only=True),
                "state_dict": load_weights(directory, allow_pickle=True),
            }
        with quiet_transformers():
            loaded: Any = model_class.from_pretrained(
                **source,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, RuntimeError, ValueError) as error:
        line = _first_line(error)
        raise ValueError(line if line.startswith(str(directory)) else f"{directory}: {line}") from error
    model, info = loaded
    if missing := sorted(info["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{directory}: missing tensor {missing[0]!r}{more}")
    return model.to(device).eval()


def load_tokenizer(directory: Path) -> Any:
    """Loads a tokenizer of transformers.

    Args:
        directory: `tokenizer.json`, or a SentencePiece model or vocabulary, with `tokenizer_config.json`.

    Raises:
        ValueError: If it is missing or cannot be read.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415  (seconds to import)

    if not directory.is_dir():
        raise ValueError(f"the tokenizer of the text encoder is missing: {directory}")
    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (ImportError, OSError, ValueError) as error:
        hint = ""
        if any(directory.glob("*.model")):
            hint = " (a SentencePiece model needs the packages sentencepiece and protobuf)"
        raise ValueError(f"{directory}: {_first_line(error)}{hint}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
