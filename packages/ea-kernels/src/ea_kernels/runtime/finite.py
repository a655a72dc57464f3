"""Whether the numbers in weight files are numbers: NaN and infinity spoil whatever is computed of them."""

from collections.abc import Iterable, Iterator

import torch

from ea_kernels.runtime.pickles import is_pickle, read_pickle
from ea_kernels.runtime.stored import StoredTensor
from ea_kernels.runtime.stream import FLOATS, held_pieces, read_pieces


def find_non_finite(tensors: Iterable[StoredTensor]) -> Iterator[StoredTensor]:
    """Tensors that hold NaN or infinity. All of them are read, some megabytes at a time.

    Args:
        tensors: Shard by shard, as `stored_tensors` gives them.

    Raises:
        ValueError: If a file cannot be read, or ends early.
    """
    file, held = None, {}
    for tensor in tensors:
        if tensor.file != file:
            file, held = tensor.file, read_pickle(tensor.file) if is_pickle(tensor.file) else {}
        if tensor.dtype not in FLOATS:
            continue
        pieces = held_pieces(held[tensor.name]) if held else read_pieces(tensor)
        if not all(_is_finite(piece, FLOATS[tensor.dtype]) for piece in pieces):
            yield tensor


def _is_finite(piece: memoryview, dtype: torch.dtype) -> bool:
    numbers = torch.frombuffer(piece, dtype=dtype)
    # Float8 has no arithmetic.
    wide = numbers.float() if dtype.itemsize < 2 else numbers
    return bool(wide.isfinite().all())
