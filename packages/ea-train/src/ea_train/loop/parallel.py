"""Several processes that train one model, and how they agree."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BUCKET_BYTES = 1 << 26


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: Of this one.
        size: How many there are; with one, nothing here talks to anybody.
        patient: Group for waits that take as long as they take, such as for one rank to encode a data set.
    """

    rank: int = 0
    size: int = 1
    patient: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def any_of(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on some rank."""
        if self.size == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return [bool(vote) for vote in votes]

    def gathered(self, value: Any) -> list[Any]:
        """The value of every rank, in their order; small plain values only."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.patient)
        return values

    def wait(self) -> None:
        """Until all ranks are here, however long that takes."""
        if self.size > 1:
            dist.barrier(group=self.patient)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Rank 0 runs the block alone, then all others do: what it wrote, they find."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    def same_start(self, modules: Iterable[nn.Module]) -> None:
        """Give every rank the weights and buffers of rank 0."""
        if self.size > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    dist.broadcast(tensor.detach(), src=0)

    @torch.no_grad()
    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace gradients by their mean over all ranks.

        One that is missing on some rank counts as zero there; one that is missing on all stays missing.
        """
        if self.size == 1 or not parameters:
            return
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        dist.all_reduce(there, op=dist.ReduceOp.MAX)
        gradients: list[Tensor] = []
        for parameter, some in zip(parameters, there.tolist(), strict=True):
            if some:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat)
            flat /= self.size
            pieces = flat.split([gradient.numel() for gradient in bucket])
            for gradient, piece in zip(bucket, pieces, strict=True):
                gradient.copy_(piece.view_as(gradient))


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one kind in groups of some megabytes, so that few messages are sent."""
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in by_kind.values():
        bucket: list[Tensor] = []
        size = 0
        for tensor in alike:
            bucket.append(tensor)
            size += tensor.nbytes
            if size >= _BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
        if bucket:
            yield bucket
