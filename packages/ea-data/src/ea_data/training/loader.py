"""Batches of one rank from several processes, in the order that all ranks share."""

from collections.abc import Iterator
from typing import Any, Literal

from torch.utils.data import DataLoader

from ea_data.training.collate import ClipBatch
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import FailureLog, Report
from ea_data.training.sampler import BucketSampler, SamplerState

__all__ = ["TrainingLoader"]


class TrainingLoader:
    """An endless iterable of a rank's batches; the numbers of ranks and workers change none of them.

    Args:
        dataset: The same on all ranks.
        rank: Of this process.
        world_size: Number of processes that train.
        start: Where to begin, see `state_after`; at the beginning if None.
        workers: Processes that load; 0 loads in this one.
        prefetch: Batches that each of them reads ahead.
        context: How they are started; torch's default if None.
        report: Called in this process with each file that cannot be read, once; by default a warning.

    Attributes:
        failures: How often which file failed.

    Raises:
        ValueError: A number out of its range, or a state of another order or of other files.
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        *,
        rank: int = 0,
        world_size: int = 1,
        start: SamplerState | None = None,
        workers: int = 0,
        prefetch: int = 2,
        context: Literal["fork", "spawn", "forkserver"] | None = None,
        report: Report | None = None,
    ) -> None:
        if workers < 0 or prefetch < 1:
            raise ValueError(f"workers, prefetch are {workers}, {prefetch}; allowed: 0 or more, 1 or more")
        self.failures = FailureLog(report)
        self._sampler = BucketSampler(
            dataset.order, rank=rank, world_size=world_size, start=start, files=dataset.fingerprint
        )
        several: dict[str, Any] = {"prefetch_factor": prefetch, "multiprocessing_context": context}
        self._loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=self._sampler,
            num_workers=workers,
            **(several if workers else {}),
        )

    def __iter__(self) -> Iterator[ClipBatch]:
        """The batches from `start` on."""
        for batch in self._loader:
            self.failures.add(batch.broken)
            yield batch

    def state_after(self, steps: int) -> SamplerState:
        """Where a run is that has trained on this many batches of every rank; see `BucketSampler`."""
        return self._sampler.state_after(steps)
