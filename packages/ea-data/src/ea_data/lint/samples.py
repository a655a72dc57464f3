"""Samples as they are trained: the first ones of an epoch, opened by the data set that training uses."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from ea_data.lint.fit import used_facts
from ea_data.lint.plan import bucket_names
from ea_data.lint.report import LintReport
from ea_data.lint.sheets import SheetSample
from ea_data.training.dataset import TrainingDataset

__all__ = ["sheet_samples"]

_OF_A_BATCH: Final = 4
_MOST_BATCHES: Final = 1 << 16


def sheet_samples(report: LintReport, most: int) -> Iterator[SheetSample]:
    """Samples of the first epoch, from all buckets in turn, opened as training opens them.

    The rows that the run keeps make the epoch. A file that cannot be read after all is passed over.

    Args:
        report: What a run found.
        most: How many samples at most.
    """
    if not most or not report.epochs or not report.epochs[0].batches:
        return
    try:
        dataset = _dataset(report)
    except ValueError:  # keep probabilities draw anew for the kept rows alone, and may fill no batch
        return
    names, number = bucket_names(report.recipe), 0
    for bucket, place in _in_turn(dataset):
        keys = dataset.keys(place)
        shape = dataset.shape(keys)
        for key in keys[:_OF_A_BATCH]:
            try:
                choices, opened = dataset.sample(key, shape)
            except ValueError:
                continue
            entry, number = dataset.entry(key), number + 1
            yield SheetSample(
                number=number,
                line=entry.line,
                file=entry.path.name,
                text=entry.text,
                bucket=names[bucket],
                frames=len(choices.frames),
                picture=opened.frames[0],
                control=None if opened.control is None else opened.control[0],
            )
            if number == most:
                return


def _in_turn(dataset: TrainingDataset) -> Iterator[tuple[int, int]]:
    """Buckets and places of batches: one of each bucket, then the second of each, and so on."""
    epoch = dataset.order.epoch(0)
    of_place = epoch.at(np.arange(min(len(epoch), _MOST_BATCHES))).buckets
    turns = np.zeros(len(of_place), np.int64)
    for bucket in np.unique(of_place):
        inside = of_place == bucket
        turns[inside] = np.arange(np.count_nonzero(inside))
    for place in np.lexsort((of_place, turns)).tolist():
        yield int(of_place[place]), place


def _dataset(report: LintReport) -> TrainingDataset:
    """The kept rows; sizes and lengths are known, so that no file is looked at again."""
    entries = []
    for row, facts, reason in zip(report.rows, report.facts, report.reasons, strict=True):
        if not reason and facts is not None and row.entry is not None:
            used = used_facts(row.entry, facts)
            known = replace(row.entry.facts, num_frames=used.frames, height=used.height, width=used.width)
            entries.append(replace(row.entry, facts=known))
    return TrainingDataset(entries, report.recipe, report=lambda broken: None)
