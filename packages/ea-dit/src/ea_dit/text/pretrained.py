"""Loading of encoders that transformers implements, from local directories and nothing else.

Remote code never runs, nothing is downloaded, and weights come from safetensors unless pickles are allowed.
Loading is strict: what is missing, left over or misshapen is told by configs and headers before a tensor is
read.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ea_dit.config_values import MOST_LAYERS
from ea_kernels.runtime.completeness import Faults
from ea_kernels.runtime.pickles import is_pickle
from ea_kernels.runtime.stored import check_whole, stored_tensors
from ea_kernels.runtime.weights import WithoutValues, load_weights, read_config, weight_files

_DEPTHS = ("depth", "num_hidden_layers", "num_layers")


@dataclass(frozen=True, kw_only=True)
class PretrainedKind:
    """How a kind of encoder is loaded.

    Attributes:
        class_name: Class of transformers.
        options: For its constructor.
        left_out: Tensors that files may have and that are not read (`*` matches anything): other parts of the
            model that the encoder was trained in, and tables that are computed today.
    """

    class_name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


_T5_LEFT_OUT = ("decoder.*", "lm_head.*")
KINDS: Mapping[str, PretrainedKind] = MappingProxyType(
    {
        "bert": PretrainedKind(
            class_name="BertModel",
            # Only last hidden states are read.
            options={"add_pooling_layer": False},
            left_out=("*pooler.*", "cls.*", "*position_ids"),
        ),
        "t5": PretrainedKind(class_name="T5EncoderModel", left_out=_T5_LEFT_OUT),
        "mt5": PretrainedKind(class_name="MT5EncoderModel", left_out=_T5_LEFT_OUT),
        "qwen2_vl": PretrainedKind(
            class_name="Qwen2VLForConditionalGeneration", left_out=("*rotary_emb.inv_freq",)
        ),
        "clip": PretrainedKind(
            class_name="CLIPVisionModelWithProjection",
            left_out=("text_model.*", "text_projection.*", "logit_scale", "*position_ids"),
        ),
        # Both towers, for scores of pictures and texts.
        "clip_pair": PretrainedKind(class_name="CLIPModel", left_out=("*position_ids",)),
        "siglip": PretrainedKind(
            class_name="SiglipVisionModel",
            left_out=("text_model.*", "logit_scale", "logit_bias", "*position_ids"),
        ),
    }
)
"""Encoders by kind, which is the `model_type` of a text encoder's config."""


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
    kind: str, directory: Path, *, dtype: torch.dtype, device: torch.device, allow_pickle: bool = False
) -> Any:
    """Loads a model of transformers in evaluation mode.

    Args:
        kind: One of `KINDS`.
        directory: `config.json` and safetensors.
        dtype: Of the weights.
        device: Where to put them.
        allow_pickle: Accept weights in pickles such as `pytorch_model.bin`, read without running code.

    Raises:
        ValueError: If files or tensors are missing, left over or damaged, or a tensor has another shape than
            the config says.
    """
    if not (directory / "config.json").is_file():
        raise ValueError(f"{directory}: no encoder here, config.json is missing")
    _check_depth(read_config(directory), f"{directory}/config.json")
    check_whole(directory, allow_pickle=allow_pickle)
    model_class = _class_of(kind)
    source: dict[str, Any] = {"pretrained_model_name_or_path": directory, "use_safetensors": True}
    with _one_line(directory), quiet_transformers():
        if any(is_pickle(file) for file in weight_files(directory, allow_pickle=allow_pickle)):
            source = {
                "pretrained_model_name_or_path": None,
                "config": model_class.config_class.from_pretrained(directory, local_files_only=True),
                "state_dict": load_weights(directory, allow_pickle=True),
            }
        model, found = model_class.from_pretrained(
            **source,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **KINDS[kind].options,
        )
    _refuse(_faults_of(kind, found), directory)
    return model.to(device).eval()


def check_pretrained(kind: str, directory: Path, *, allow_pickle: bool = False) -> None:
    """Refuses an encoder whose tensors are not exactly the model's, without reading them.

    Args:
        kind: One of `KINDS`.
        directory: As for `load_pretrained`.
        allow_pickle: As for `load_pretrained`.

    Raises:
        ValueError: On the first tensor that is misshapen, left over or missing, with the number of others.
    """
    _refuse(pretrained_faults(kind, directory, allow_pickle=allow_pickle), directory)


def pretrained_faults(kind: str, directory: Path, *, allow_pickle: bool = False) -> Faults:
    """Tells what is wrong with an encoder's tensors by its config and the headers of its files.

    transformers itself says it, which renames tensors of many versions: it gets stand-ins of the stored names
    and shapes that take no memory. Arguments as for `check_pretrained`.

    Raises:
        ValueError: If a file is missing or damaged, or the config is not understood.
    """
    if not (directory / "config.json").is_file():
        raise ValueError(f"{directory}: no encoder here, config.json is missing")
    _check_depth(read_config(directory), f"{directory}/config.json")
    tensors = stored_tensors(directory, allow_pickle=allow_pickle)
    state = {tensor.name: torch.zeros(()).expand(tensor.shape) for tensor in tensors}
    model_class = _class_of(kind)
    with _one_line(directory), quiet_transformers(), WithoutValues():
        _, found = model_class.from_pretrained(
            None,
            config=model_class.config_class.from_pretrained(directory, local_files_only=True),
            state_dict=state,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **KINDS[kind].options,
        )
    return _faults_of(kind, found)


def _faults_of(kind: str, found: Mapping[str, Any]) -> Faults:
    """What is wrong, from what transformers tells of a load."""
    left_out = KINDS[kind].left_out
    return Faults(
        unfit=tuple(
            f"tensor {name!r} has shape {list(shape)}, expected {list(wanted)}"
            for name, shape, wanted in sorted(found["mismatched_keys"])
        ),
        unexpected=tuple(
            name
            for name in sorted(found["unexpected_keys"])
            if not any(fnmatchcase(name, pattern) for pattern in left_out)
        ),
        missing=tuple(sorted(found["missing_keys"])),
    )


def _refuse(faults: Faults, directory: Path) -> None:
    for sentences in faults.by_kind():
        more = f" and {len(sentences) - 1} more" if len(sentences) > 1 else ""
        raise ValueError(f"{directory}: {sentences[0]}{more}")


def first_line(error: Exception) -> str:
    """The first line of a message that may be many, or the name of the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "Validation error for field 'd_ff':" is followed by what it is.
    return " ".join(lines[: 1 + lines[0].endswith(":")]) if lines else type(error).__name__


def _class_of(kind: str) -> Any:
    import transformers  # noqa: PLC0415  (seconds to import)

    return getattr(transformers, KINDS[kind].class_name)


def _check_depth(values: Mapping[str, Any], file: str) -> None:
    """Refuses numbers of layers that would take minutes to build, in a config and in those inside it."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            _check_depth(value, file)
        elif key not in _DEPTHS or value is None:
            continue
        elif not isinstance(value, int) or not 1 <= value <= MOST_LAYERS:
            raise ValueError(f"{file}: {key} must be a whole number from 1 to {MOST_LAYERS}, got {value!r}")


@contextmanager
def _one_line(directory: Path) -> Iterator[None]:
    """Makes one line that names the directory of whatever transformers has against it."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        line = first_line(error)
        raise ValueError(line if line.startswith(str(directory)) else f"{directory}: {line}") from error
