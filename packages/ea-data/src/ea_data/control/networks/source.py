"""Where the weights of a network come from: a file, a directory, or a repository of the Hugging Face hub."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ea_data.control.extras import load

__all__ = ["Source", "fetch_files", "fetch_repository", "pinned"]

Notify = Callable[[str], None]

_HUB_NAME: Final = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_MODEL_FILES: Final = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")
_MOST_NAMED: Final = 4
_HOW: Final = "a file or directory that exists, or OWNER/NAME[@REVISION] of the hub"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What an option that names weights stands for: `path`, or `repository` and `revision`.

    Attributes:
        path: A file or directory.
        repository: OWNER/NAME of the hub.
        revision: Commit, tag or branch; None for the newest.
    """

    path: Path | None = None
    repository: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, option: str, given: str) -> Self:
        """Read the value of an option.

        Args:
            option: Its name, for messages.
            given: Its value.

        Raises:
            ValueError: Neither something that exists nor a name of the hub.
        """
        path = Path(given).expanduser() if given else None
        if path is not None and path.exists():
            return cls(path=path)
        found = _HUB_NAME.fullmatch(given)
        if not found or given.endswith((".safetensors", ".pth", ".onnx")):
            raise ValueError(f"{option} is {given!r}; allowed: {_HOW}")
        return cls(repository=found[1], revision=found[2])


def fetch_files(source: Source, names: Sequence[str], *, offline: bool, notify: Notify) -> Path:
    """Have files of a repository of the hub on disk. What is in the local cache is not asked for again.

    Args:
        source: One with a repository.
        names: The files.
        offline: Download nothing.
        notify: Is told what is about to be downloaded and how large it is.

    Returns:
        The folder that has them all.

    Raises:
        ValueError: They are neither in the local cache nor to be had.
        MissingExtraError: huggingface_hub is not installed.
    """

    def get(hub: Any, where: dict[str, Any], **options: Any) -> list[Any]:
        return [hub.hf_hub_download(**where, filename=name, **options) for name in names]

    files = _had(source, get, cached_first=True, offline=offline, notify=notify)
    return Path(files[-1]).parent


def fetch_repository(source: Source, *, offline: bool, notify: Notify) -> Path:
    """Have a model of a repository of the hub on disk: safetensors, configs and tokenizers, no code.

    Args:
        source: One with a repository.
        offline: Download nothing.
        notify: See `fetch_files`.

    Returns:
        Its folder.

    Raises:
        ValueError: It is neither in the local cache nor to be had.
        MissingExtraError: huggingface_hub is not installed.
    """

    def get(hub: Any, where: dict[str, Any], **options: Any) -> Any:
        return hub.snapshot_download(**where, allow_patterns=list(_MODEL_FILES), **options)

    # The cache cannot tell a whole copy from a part of one, so the hub is asked where it may be.
    return Path(_had(source, get, cached_first=False, offline=offline, notify=notify))


def _had(
    source: Source, get: Callable[..., Any], *, cached_first: bool, offline: bool, notify: Notify
) -> Any:
    """What `get` gives of a repository of the hub, by its module, its place and further options."""
    hub = load("huggingface_hub")
    assert source.repository is not None
    what = source.repository if source.revision is None else f"{source.repository}@{source.revision}"
    where: dict[str, Any] = {"repo_id": source.repository, "revision": source.revision}
    absent = f"{what} is no file or directory and not in the local cache"
    offline = offline or hub.constants.HF_HUB_OFFLINE
    if cached_first or offline:
        try:
            return get(hub, where, local_files_only=True)
        except (hub.errors.HfHubHTTPError, OSError, ValueError):
            if offline:
                raise ValueError(f"{absent}; offline nothing is downloaded") from None
    try:
        missing = [file for file in get(hub, where, dry_run=True) if file.will_download]
        if missing:
            size = sum(file.file_size or 0 for file in missing) / 1e6
            names = ", ".join(file.filename for file in missing)
            named = names if len(missing) <= _MOST_NAMED else f"{len(missing)} files"
            notify(f"downloading {size:.0f} MB: {named} of {what}")
        return get(hub, where)
    except (hub.errors.HfHubHTTPError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{absent}, and {_reason(hub.errors, error)}") from None


def pinned(option: str, given: str) -> str:
    """The value of an option as it always means the same weights: the commit of the hub, or an absolute path.

    Args:
        option: Its name, for messages.
        given: Its value, whose files are on disk.

    Raises:
        ValueError: Neither something that exists nor a name of the hub.
    """
    source = Source.of(option, given)
    if source.path is not None:
        return str(source.path.absolute())
    hub = load("huggingface_hub")
    try:
        folder = hub.snapshot_download(source.repository, revision=source.revision, local_files_only=True)
    except (hub.errors.HfHubHTTPError, OSError, ValueError):  # not in the cache of the hub's library
        return given
    commit = Path(folder).name
    return f"{source.repository}@{commit}" if _COMMIT.fullmatch(commit) else given


def _reason(errors: Any, error: Exception) -> str:
    known = {
        errors.LocalEntryNotFoundError: "the hub cannot be reached",
        errors.RepositoryNotFoundError: "the hub has no such repository, or shows it only to some",
        errors.RevisionNotFoundError: "the hub has no such revision of it",
        errors.EntryNotFoundError: "the hub's copy lacks a file that is needed",
    }
    told = [reason for kind, reason in known.items() if isinstance(error, kind)]
    return told[0] if told else f"it cannot be downloaded ({type(error).__name__})"
