"""Weights in pickles that a conversion meets outside of the networks whose layout it changes.

What it writes has none: text and image encoders become safetensors, and so do files of their own such as V1's
motion modules.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.pickles import is_pickle
from ea_kernels.runtime.stored import stored_tensors
from ea_kernels.runtime.stream import Rewritten, plan_rewrite

ENCODER_STEM = "model"
"""Name of the weights that transformers looks for."""
_PICKLED_INDEX = ".bin.index.json"


@dataclass(frozen=True, kw_only=True)
class Pickled:
    """Weights in one or more pickles and what they become.

    Attributes:
        folder: Where they are and, below the new directory, will be.
        stem: Of the new files.
        tensors: What is written.
    """

    folder: Path
    stem: str
    tensors: tuple[Rewritten, ...]

    @property
    def size(self) -> int:
        """Bytes of the new tensors."""
        return sum(tensor.size for tensor in self.tensors)


def find_pickled(
    source: Path, networks: Collection[Path], *, allow_pickle: bool
) -> tuple[list[Pickled], list[str]]:
    """The pickles of a model directory that become safetensors.

    Args:
        source: The directory.
        networks: Folders of the networks whose layout changes; what is in them is not looked at.
        allow_pickle: Read them, without running code.

    Returns:
        Those, and sentences about the pickles that are not taken along.

    Raises:
        ValueError: If an encoder has pickles only and they are not allowed, or are damaged.
    """
    found: list[Pickled] = []
    left: list[str] = []
    for folder in _folders(source, networks):
        files = sorted(filter(is_pickle, folder.iterdir()))
        if any(folder.glob("*.safetensors")):
            left += [f"{file} was not taken along: a pickle beside safetensors" for file in files]
        elif (folder / CONFIG_NAME).is_file():
            tensors = stored_tensors(folder, allow_pickle=allow_pickle)
            found.append(Pickled(folder=folder, stem=ENCODER_STEM, tensors=plan_rewrite(tensors, {})))
        else:
            for file in files:
                try:
                    tensors = stored_tensors(file, allow_pickle=allow_pickle)
                except ValueError as error:  # the state of an optimizer, or what the flag did not allow
                    left.append(f"{file} was not taken along ({str(error).removeprefix(f'{file}: ')})")
                else:
                    found.append(Pickled(folder=folder, stem=file.stem, tensors=plan_rewrite(tensors, {})))
    return found, left


def _folders(source: Path, networks: Collection[Path]) -> list[Path]:
    """Folders with pickles; hidden ones are the business of the tools that made them."""
    folders = {file.parent for file in source.rglob("*") if is_pickle(file) and file.is_file()}
    return sorted(
        folder
        for folder in folders.difference(networks)
        if not any(part.startswith(".") for part in folder.relative_to(source).parts)
    )


def belongs_to_pickles(file: Path) -> bool:
    """Whether a file is a pickle, or says which pickles hold what; such files are not copied."""
    return is_pickle(file) or file.name.endswith(_PICKLED_INDEX)
