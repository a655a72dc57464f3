"""Models of transformers and their image processors, from a directory or the hub: safetensors, no code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ea_data.control.extras import load
from ea_data.control.networks.source import Notify, Source, fetch_files

__all__ = ["load_pretrained", "placed"]

_FILES: Final = ("config.json", "preprocessor_config.json", "model.safetensors")
# Whatever a wrong config or a damaged file makes of transformers.
_WRONG: Final = (
    AssertionError,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_pretrained(
    option: str, given: str, model_types: tuple[str, ...], class_name: str, *, offline: bool, notify: Notify
) -> tuple[Any, Any]:
    """A model and its image processor.

    Args:
        option: What messages call the place.
        given: A directory, or OWNER/NAME[@REVISION] of the hub.
        model_types: Allowed in its `config.json`.
        class_name: Of transformers.
        offline: Download nothing.
        notify: See `fetch_files`.

    Raises:
        ValueError: It cannot be had, is damaged or incomplete, or is another model.
    """
    transformers = load("transformers")
    load("torch")
    source = Source.of(option, given)
    folder = source.path or fetch_files(source, _FILES, offline=offline, notify=notify)
    missing = [name for name in _FILES[:2] if not (folder / name).is_file()]
    if missing or not any(folder.glob("*.safetensors")):
        raise ValueError(f"{option}: {folder} has no {missing[0] if missing else 'safetensors file'}")
    local = {"local_files_only": True, "trust_remote_code": False}
    with _quiet(transformers.utils.logging), _one_line(option, folder):
        config = transformers.AutoConfig.from_pretrained(folder, **local)
        if config.model_type not in model_types:
            allowed = " or ".join(model_types)
            raise ValueError(f"the model there is of the type {config.model_type}; allowed: {allowed}")
        # Pillow, whatever else is installed: the same pixels everywhere.
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **local)
        model, report = getattr(transformers, class_name).from_pretrained(
            folder,
            config=config,
            dtype=load("torch").float32,
            use_safetensors=True,
            output_loading_info=True,
            **local,
        )
        if report["missing_keys"]:
            raise ValueError(f"a tensor is missing: {min(report['missing_keys'])}")
    return model.eval(), processor


def placed(model: Any, device: str) -> Any:
    """Move a model to a device.

    Raises:
        ValueError: There is no such device.
    """
    try:
        return model.to(load("torch").device(device))
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device is {device!r}, which cannot be used: {reason}") from None


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Keep progress bars and reports off the terminal; what is wrong arrives as an error."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _one_line(option: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except (*_WRONG, load("safetensors").SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"{option}: {folder}: {lines[0] if lines else type(error).__name__}") from error
