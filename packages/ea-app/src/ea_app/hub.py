"""Models of the Hugging Face hub: what is taken of a repository, and where it is put."""

import re
from dataclasses import dataclass
from pathlib import Path

HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
"""Endings of weight files that need permission, the same as `ea_kernels.runtime.pickles.SUFFIXES`."""

_NOT_FETCHED = (".msgpack", ".h5", ".onnx", ".gguf", ".mp4", ".gif", ".png", ".jpg", ".zip")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched from the hub.

    Attributes:
        name: `owner/name`.
        directory: Where it is.
        commit: The version, if it is known.
    """

    name: str
    directory: Path
    commit: str | None


def fetch(
    name: str,
    *,
    revision: str | None = None,
    directory: str | None = None,
    offline: bool = False,
    allow_pickle: bool = False,
) -> Fetched:
    """Fetch a repository of the Hugging Face hub: safetensors, configs and tokenizers, no pickles unasked.

    What is there already is not fetched again, and what was interrupted goes on where it stopped. Without a
    connection, or with HF_HUB_OFFLINE=1, the local copy is used.

    Args:
        name: `owner/name` or `owner/name@revision`.
        revision: Commit, tag or branch; None for the one in the name, or else the newest.
        directory: Where to put the files; None for the cache of the hub's library.
        offline: Do not ask the hub.
        allow_pickle: Fetch weights in pickles too.

    Raises:
        ValueError: Not such a name, or it can neither be fetched nor found.
    """
    found = HUB_ID.fullmatch(name)
    if not found:
        raise ValueError(f"must be owner/name of the hub, got {name!r}")
    if revision is not None and found[2] is not None and revision != found[2]:
        raise ValueError(f"{name!r} names a revision already, got {revision!r} as well")
    path = snapshot(
        found[1],
        revision=revision or found[2],
        directory=directory,
        offline=offline,
        allow_pickle=allow_pickle,
    )
    # The cache has a folder for every commit.
    commit = path.name if _COMMIT.fullmatch(path.name) else None
    return Fetched(name=found[1], directory=path, commit=commit)


def snapshot(
    name: str,
    *,
    revision: str | None,
    offline: bool,
    directory: str | None = None,
    allow_pickle: bool = False,
) -> Path:
    """Where a repository's files are, after what is missing was downloaded.

    Args:
        name: `owner/name`.
        revision: Commit, tag or branch; None for the newest.
        offline: Do not ask the hub.
        directory: Where to put the files; None for the cache of the hub's library.
        allow_pickle: Take weights in pickles too.

    Raises:
        ValueError: It can neither be fetched nor found.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (slow to import, rarely needed)
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    endings = _NOT_FETCHED if allow_pickle else (*PICKLES, *_NOT_FETCHED)
    try:
        path = snapshot_download(
            name,
            revision=revision,
            local_dir=directory,
            ignore_patterns=[f"*{ending}" for ending in endings],
            local_files_only=offline,
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = "is not downloaded unasked" if offline else f"cannot be downloaded ({type(error).__name__})"
        what = name if revision is None else f"{name}@{revision}"
        raise ValueError(f"{what!r} is neither a directory nor in the local cache, and it {why}") from None
    return Path(path)
