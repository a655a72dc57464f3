"""Where weights and functions are that settings name."""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@([0-9a-f]{40})(?::([\w./-]+))?")
_FETCHED = ("*.safetensors", "*.json", "*.txt", "*.model")


def located(where: str, field: str, *, allow_pickle: bool = False) -> Path:
    """A file or folder on this machine, or of the Hugging Face hub.

    Args:
        where: A path; or `owner/name@commit` for a repository and `owner/name@commit:file` for a file of it,
            with all 40 digits of the commit, so that a run can be made again.
        field: Name of the setting, for messages.
        allow_pickle: Fetch `.bin` and `.pt` files too.

    Raises:
        ValueError: Nothing is given, it does not exist, or it cannot be fetched.
    """
    if not where:
        raise ValueError(f"{field} must be given: a path, or owner/name@commit of the hub")
    path = Path(where)
    if path.exists():
        return path
    found = _HUB.fullmatch(where)
    if found is None:
        raise ValueError(
            f"{field}: {where!r} does not exist, and is no owner/name@commit of the hub with the 40 digits "
            "of a commit"
        )
    import huggingface_hub  # noqa: PLC0415  only what fetches needs it

    name, commit, file = found.groups()
    patterns = [*_FETCHED, *(("*.bin", "*.pt", "*.pth") if allow_pickle else ())]
    try:
        if file is not None:
            return Path(huggingface_hub.hf_hub_download(name, file, revision=commit))
        return Path(huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=patterns))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(f"{field}: {where} cannot be fetched: {reason}") from error


def function_of(where: str) -> Callable[..., Any]:
    """A function by `module:function`, or `file.py:function` with a path.

    Raises:
        ValueError: There is no such module or function, naming it.
    """
    home, colon, name = where.rpartition(":")
    if not colon or not home or not name:
        raise ValueError(f"reward {where!r}: write it as module:function or file.py:function")
    try:
        module = _module_of_file(Path(home)) if home.endswith(".py") else importlib.import_module(home)
    except (ImportError, OSError) as error:
        raise ValueError(f"reward {where!r}: {home} cannot be imported ({error})") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"reward {where!r}: {home} has no function {name!r}")  # noqa: TRY004
    return function


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise ImportError(f"{path} does not exist")
    spec = importlib.util.spec_from_file_location(f"reward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
