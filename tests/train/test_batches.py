"""Batches that are made by a thread while the one before is used."""

import threading

import pytest

from ea_train.config import LoopConfig
from ea_train.loop.batches import Cursor, step_batches

WAIT = 20


class Counting:
    """A task whose batches are their numbers; the one of `fails_at` is an error."""

    def __init__(self, fails_at=None):
        self.fails_at = fails_at
        self.made = {number: threading.Event() for number in range(8)}
        self.threads = set()

    def batch(self, seed, place, size):
        self.threads.add(threading.current_thread())
        if place.batch == self.fails_at:
            raise ValueError(f"no batch {place.batch}")
        self.made[place.batch].set()
        return {"number": place.batch}


def upcoming(task, steps=4):
    return step_batches(task, LoopConfig(steps=steps, batch_size=1), Cursor())


def test_the_next_batch_is_made_while_one_is_used_and_no_more():
    task = Counting()
    batches = upcoming(task)
    _, (first,) = next(batches)
    assert first == {"number": 0}
    assert task.made[1].wait(WAIT)
    assert not task.made[2].is_set()
    assert threading.current_thread() not in task.threads
    assert [batch["number"] for _, (batch,) in batches] == [1, 2, 3]
    assert not any(thread.is_alive() for thread in task.threads)


def test_an_error_comes_where_its_batch_would():
    batches = upcoming(Counting(fails_at=2))
    assert [next(batches)[1][0]["number"] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="no batch 2"):
        next(batches)


def test_a_run_that_stops_early_leaves_no_thread():
    task = Counting()
    batches = upcoming(task)
    next(batches)
    batches.close()
    assert not any(thread.is_alive() for thread in task.threads)
