"""Folders of shards: tensors that are made once, in files that are whole or not there at all.

A shard that is there is not made again; the folder records what it was made from and refuses to be continued
with anything else.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ea_kernels.runtime.files import read_json, replacing, write_json

RECORD = "cache.json"
SHARD_CLIPS = 256


def fingerprint(network: nn.Module) -> str:
    """Short hash of the weights of a network."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_clip_size(section: str, num_frames: int, height: int, width: int) -> None:
    """Refuse clips that the networks cannot take.

    Raises:
        ValueError: Frames that are not 4n + 1, or sides that are no multiples of 16.
    """
    if num_frames < 1 or num_frames % 4 != 1:
        raise ValueError(f"{section}: num_frames must be 4n + 1, got {num_frames}")
    if min(height, width) < 16 or height % 16 or width % 16:
        raise ValueError(f"{section}: height and width must be multiples of 16, got {height}, {width}")


def claim(directory: Path, vae: nn.Module, source: str, config: Any) -> None:
    """Record what a folder is made from, or compare it with what is recorded.

    Args:
        directory: The folder; made if it is not there.
        vae: The autoencoder.
        source: What the clips are, described.
        config: Dataclass of settings; `clips` and `batch_size` may differ from time to time.

    Raises:
        ValueError: The folder was made with another autoencoder, other clips or other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in asdict(config).items() if name not in ("clips", "batch_size")}
    made_from = json.loads(json.dumps({"vae": fingerprint(vae), "source": source, **settings}))
    path = directory / RECORD
    if not path.exists():
        write_json(path, made_from)
        return
    there = read_json(path)
    if different := sorted(key for key in made_from if there.get(key) != made_from[key]):
        raise ValueError(
            f"{directory} was made with another {different[0]} ({there.get(different[0])}, now "
            f"{made_from[different[0]]}); use another folder or remove it"
        )


def fill(
    paths: Sequence[Path],
    make: Callable[[int], Mapping[str, Tensor]],
    on_progress: Callable[[int, int], None],
) -> None:
    """Make every shard that is missing.

    Args:
        paths: Of all shards.
        make: Tensors of the shard with a number.
        on_progress: Called with finished and total shards.
    """
    for number, path in enumerate(paths):
        if not path.exists():
            tensors = dict(make(number))
            with replacing(path) as draft:
                save_file(tensors, draft)
        on_progress(number + 1, len(paths))


def read_shard(path: Path) -> dict[str, Tensor]:
    """The tensors of a shard.

    Raises:
        ValueError: It is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}); remove it and it is made again") from error


def autoencoder_of(directory: Path) -> str:
    """Fingerprint of the autoencoder that made the shards of a folder."""
    return str(read_json(directory / RECORD).get("vae"))
