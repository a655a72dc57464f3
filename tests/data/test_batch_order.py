"""The order of batches and the share of each rank: what holds for any buckets, seeds, worlds and workers."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ea_data.training.order import BatchOrder
from ea_data.training.sampler import BucketSampler, SamplerState
from ea_data.training.shuffle import Shuffle

BUCKETS = st.lists(st.integers(0, 6), min_size=1, max_size=120)
SIZES = st.lists(st.integers(1, 9), min_size=7, max_size=7)
WORLDS = range(1, 9)


def epoch_of(order, number=0):
    """All batches of an epoch as (bucket, rows)."""
    epoch = order.epoch(number)
    batches = epoch.at(np.arange(len(epoch)))
    return [
        (bucket, rows.tolist())
        for bucket, rows in zip(batches.buckets.tolist(), batches.split(), strict=True)
    ]


def steps_of(order, world, steps, start=None):
    """The batches of every step as they come to the ranks: (epoch, place, bucket, rows)."""
    ranks = [BucketSampler(order, rank=rank, world_size=world, start=start) for rank in range(world)]
    streams = [list(islice(rank, steps)) for rank in ranks]
    return [[described(stream[step]) for stream in streams] for step in range(steps)]


def described(batch):
    (place,) = {(key.epoch, key.batch, key.bucket) for key in batch}
    return (*place, tuple(key.row for key in batch))


# ------------------------------------------------------------------------------------------------- one epoch


@given(buckets=BUCKETS, sizes=SIZES, seed=st.integers(0, 2**40), epoch=st.integers(0, 3))
def test_every_row_comes_exactly_once_and_batches_are_of_one_bucket(buckets, sizes, seed, epoch):
    batches = epoch_of(BatchOrder(buckets, sizes, seed=seed), epoch)
    assert sorted(row for _, rows in batches for row in rows) == list(range(len(buckets)))
    for bucket, rows in batches:
        assert {buckets[row] for row in rows} == {bucket}
        assert 1 <= len(rows) <= sizes[bucket]
    short = Counter(bucket for bucket, rows in batches if len(rows) < sizes[bucket])
    assert all(count == 1 for count in short.values())


@given(buckets=BUCKETS, sizes=SIZES, run=st.integers(1, 4))
def test_dropped_and_repeated_remainders(buckets, sizes, run):
    counts = Counter(buckets)
    repeated = epoch_of(BatchOrder(buckets, sizes, remainder="repeat", run=run))
    seen = Counter(row for _, rows in repeated for row in rows)
    assert set(seen) == set(range(len(buckets)))
    for bucket, count in counts.items():
        times = [seen[row] for row in range(len(buckets)) if buckets[row] == bucket]
        assert max(times) - min(times) <= 1
        assert sum(times) - count < sizes[bucket] * run
    if all(counts[bucket] < sizes[bucket] * run for bucket in counts):
        with pytest.raises(ValueError, match="epoch 0 has no batch; allowed: smaller batches"):
            BatchOrder(buckets, sizes, remainder="drop", run=run).epoch(0)
        return
    dropped = epoch_of(BatchOrder(buckets, sizes, remainder="drop", run=run))
    rows = Counter(row for _, rows in dropped for row in rows)
    assert max(rows.values()) == 1
    left_out = Counter(buckets[row] for row in range(len(buckets)) if row not in rows)
    assert all(left_out[bucket] == count % (sizes[bucket] * run) for bucket, count in counts.items())
    for batches in (dropped, repeated):
        assert all(len(rows) == sizes[bucket] for bucket, rows in batches)


@given(buckets=BUCKETS, sizes=SIZES, places=st.lists(st.integers(0, 10_000), max_size=20))
def test_any_place_can_be_asked_for_alone(buckets, sizes, places):
    order = BatchOrder(buckets, sizes, seed=5)
    batches = epoch_of(order)
    asked = [place % len(batches) for place in places]
    found = BatchOrder(buckets, sizes, seed=5).epoch(0).at(asked)
    assert found.buckets.tolist() == [batches[place][0] for place in asked]
    assert [rows.tolist() for rows in found.split()] == [batches[place][1] for place in asked]


def test_seeds_and_epochs_give_other_orders():
    buckets = np.arange(300) % 3
    orders = {
        (seed, epoch): epoch_of(BatchOrder(buckets, 4, seed=seed), epoch)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({str(order) for order in orders.values()}) == 4
    assert epoch_of(BatchOrder(buckets, 4, seed=1), 1) == orders[1, 1]


def test_rows_left_out_of_one_epoch_come_in_another():
    order = BatchOrder([0] * 10, 4, remainder="drop")
    seen = {row for epoch in range(20) for _, rows in epoch_of(order, epoch) for row in rows}
    assert seen == set(range(10))


def test_rows_without_bucket_are_left_out():
    batches = epoch_of(BatchOrder([-1, 0, 1, -1, 1], [2, 2]))
    assert sorted(row for _, rows in batches for row in rows) == [1, 2, 4]


def test_buckets_may_change_with_the_epoch():
    order = BatchOrder(lambda epoch: [epoch % 2, 1 - epoch % 2, -epoch], [2, 2])
    assert sorted(epoch_of(order, 0)) in ([(0, [0, 2]), (1, [1])], [(0, [2, 0]), (1, [1])])
    assert sorted(epoch_of(order, 1)) == [(0, [1]), (1, [0])]


def test_many_buckets():
    rng = np.random.default_rng(0)
    buckets = rng.integers(0, 100_000, 5000)
    batches = epoch_of(BatchOrder(buckets, 3))
    assert sorted(row for _, rows in batches for row in rows) == list(range(5000))
    assert all(set(buckets[rows]) == {bucket} for bucket, rows in batches)


# -------------------------------------------------------------------------------------------- ranks and steps


@settings(max_examples=30)
@given(buckets=BUCKETS, sizes=SIZES, seed=st.integers(0, 1000))
def test_all_worlds_take_turns_in_one_order(buckets, sizes, seed):
    order = BatchOrder(buckets, sizes, seed=seed)
    alone = [step[0] for step in steps_of(order, 1, 3 * len(order.epoch(0)) + 8)]
    per_epoch = len(order.epoch(0))
    assert [batch[:2] for batch in alone[: 2 * per_epoch]] == [
        (epoch, place) for epoch in (0, 1) for place in range(per_epoch)
    ]
    for world in WORLDS:
        steps = steps_of(order, world, -(-2 * per_epoch // world))
        together = [batch for step in steps for batch in step]
        assert together == alone[: len(together)]


@pytest.mark.parametrize("world", WORLDS)
def test_ranks_are_disjoint_and_every_row_comes_once_per_epoch(world):
    rng = np.random.default_rng(world)
    buckets = rng.integers(0, 5, 97)
    order = BatchOrder(buckets, [1, 2, 3, 4, 5], seed=3)
    steps = steps_of(order, world, 3 * len(order.epoch(0)) // world)
    seen = {}
    for step in steps:
        for epoch, place, bucket, rows in step:
            assert (epoch, place) not in seen
            seen[epoch, place] = rows
            assert {buckets[row] for row in rows} == {bucket}
    for epoch in (0, 1):
        rows = [row for (of, _), rows in seen.items() if of == epoch for row in rows]
        assert sorted(rows) == list(range(97))


@settings(max_examples=30)
@given(
    buckets=BUCKETS,
    sizes=SIZES,
    steps=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30)), min_size=1, max_size=4),
)
def test_a_run_continues_with_any_number_of_ranks(buckets, sizes, steps):
    """Stopped any number of times, each time continued in another world: the order goes on."""
    order = BatchOrder(buckets, sizes, seed=11)
    together, state = [], None
    for world, count in steps:
        fresh = BatchOrder(buckets, sizes, seed=11)
        together += [batch for step in steps_of(fresh, world, count, start=state) for batch in step]
        state = BucketSampler(fresh, world_size=world, start=state).state_after(count)
        state = SamplerState.from_dict(state.to_dict())
    assert together == [step[0] for step in steps_of(order, 1, len(together))]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_ranks_work_on_one_bucket_when_asked(world):
    rng = np.random.default_rng(0)
    buckets = rng.integers(0, 5, 1000)
    for remainder in ("drop", "repeat"):
        order = BatchOrder(buckets, [1, 2, 3, 4, 5], remainder=remainder, run=12)
        for step in steps_of(order, world, 2 * len(order.epoch(0)) // world):
            assert len({bucket for _, _, bucket, _ in step}) == 1
            assert len({len(rows) for _, _, _, rows in step}) == 1


@pytest.mark.parametrize("world", [1, 3, 8])
def test_the_lead_is_the_same_on_all_ranks_and_differs_between_steps(world):
    order = BatchOrder(np.arange(50) % 4, 3)
    ranks = [list(islice(BucketSampler(order, rank=rank, world_size=world), 40)) for rank in range(world)]
    leads = [{key.lead for batch in step for key in batch} for step in zip(*ranks, strict=True)]
    assert all(len(lead) == 1 for lead in leads)
    assert len(set.union(*leads)) == 40
    assert leads[1] == {(0, world)}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_of_a_loader_change_nothing(workers):
    from torch.utils.data import DataLoader

    order = BatchOrder(np.arange(40) % 3, 4, seed=2)
    sampler = BucketSampler(order, rank=1, world_size=2)
    loader = DataLoader(Echo(), batch_sampler=sampler, num_workers=workers, collate_fn=list)
    assert list(islice(loader, 12)) == list(islice(sampler, 12))


class Echo:
    """A dataset that gives back what it is asked for."""

    def __getitem__(self, key):
        return key


def test_a_state_is_a_few_numbers():
    order = BatchOrder(np.arange(10) % 2, 2, seed=9)
    state = BucketSampler(order, world_size=4).state_after(5)
    assert state.to_dict() == {
        "seed": 9,
        "epoch": 3,
        "batch": 2,
        "rows": 10,
        "order": order.fingerprint,
        "files": 0,
    }
    assert BucketSampler(order, start=state).state_after(0) == state


@pytest.mark.parametrize(
    "other",
    [
        BatchOrder(np.arange(10) % 2, [2, 3], seed=9),
        BatchOrder(np.arange(10) % 3, [2, 2, 2], seed=9),
        BatchOrder(np.arange(10) % 2, 2, seed=9, remainder="drop"),
        BatchOrder(np.arange(10) % 2, 2, seed=9, remainder="drop", run=2),
    ],
)
def test_a_state_of_other_batches_is_refused(other):
    state = BucketSampler(BatchOrder(np.arange(10) % 2, 2, seed=9)).state_after(1)
    with pytest.raises(
        ValueError, match="of other buckets or batch sizes; allowed: the same, or a new epoch"
    ):
        BucketSampler(other, start=state)
    assert next(iter(BucketSampler(other, start=SamplerState(9, state.epoch + 1))))[0].epoch == 1


def test_a_state_of_other_files_is_refused():
    order = BatchOrder(np.arange(10) % 2, 2, seed=9)
    state = BucketSampler(order, files=5).state_after(1)
    assert SamplerState.from_dict(state.to_dict()).files == 5
    assert BucketSampler(order, start=state, files=5).state_after(0) == state
    assert BucketSampler(order, start=state).start == state  # nothing to compare with
    with pytest.raises(
        ValueError, match=r"of another list of files; allowed: the same rows in the same order"
    ):
        BucketSampler(order, start=state, files=6)


@pytest.mark.parametrize("steps", [1.5, 1.0, True, "1", None, -1])
def test_steps_are_whole_numbers(steps):
    sampler = BucketSampler(BatchOrder([0], 1))
    with pytest.raises(ValueError, match=r"^steps is .*; allowed: whole numbers of 0 or more"):
        sampler.state_after(steps)
    assert sampler.state_after(np.int64(2)) == sampler.state_after(2)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (SamplerState(8), "has seed 8; allowed: 9"),
        (SamplerState(9, 0, 0, 11), "of 11 samples; allowed: 10"),
        (SamplerState(9, 0, 7), "at batch 7; allowed: 0 to 6, as epoch 0 has"),
        (SamplerState(9, -1), "epoch is -1; allowed"),
    ],
)
def test_a_state_of_another_run_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        BucketSampler(BatchOrder(np.arange(10) % 2, 2, seed=9), start=state)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"seed": 1, "epoch": 0, "batch": 0},
        {"seed": 1, "epoch": 0, "batch": 0, "rows": 1, "order": 1, "files": 0, "rank": 0},
        {"seed": 1, "epoch": 0.0, "batch": 0, "rows": 1, "order": 1, "files": 0},
        {"seed": 1, "epoch": True, "batch": 0, "rows": 1, "order": 1, "files": 0},
        {"seed": 1, "epoch": 0, "batch": -1, "rows": 1, "order": 1, "files": 0},
        {"seed": "1", "epoch": 0, "batch": 0, "rows": 1, "order": 1, "files": 0},
    ],
)
def test_a_state_that_is_none_is_refused(values):
    with pytest.raises(ValueError, match=r"the sampler's state has .*allowed"):
        SamplerState.from_dict(values)


@pytest.mark.parametrize(
    "call",
    [
        lambda: BatchOrder([], 1),
        lambda: BatchOrder([[0]], 1),
        lambda: BatchOrder([0.5], 1),
        lambda: BatchOrder([0, 3], [1, 1]),
        lambda: BatchOrder([0], 0),
        lambda: BatchOrder([0], []),
        lambda: BatchOrder([0], [[1]]),
        lambda: BatchOrder(lambda epoch: [0], 1),
        lambda: BatchOrder([0], 1, seed=-1),
        lambda: BatchOrder([0], 1, run=0, remainder="drop"),
        lambda: BatchOrder([0], 1, run=2),
        lambda: BatchOrder([0], 1, remainder="pad"),
        lambda: BatchOrder([-1], 1).epoch(0),
        lambda: BatchOrder([0], 1).epoch(-1),
        lambda: BatchOrder([0], 1).epoch(0).at([1]),
        lambda: BatchOrder([0], 1).epoch(0).at([-1]),
        lambda: BucketSampler(BatchOrder([0], 1), rank=1),
        lambda: BucketSampler(BatchOrder([0], 1)).state_after(-1),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(ValueError, match="allowed"):
        call()


def test_a_list_that_changes_its_length_is_refused():
    order = BatchOrder(lambda epoch: [0] * (epoch + 1), [1])
    order.epoch(0)
    with pytest.raises(ValueError, match="epoch 1 has 2 rows; allowed: 1, as before"):
        order.epoch(1)


# ------------------------------------------------------------------------------------------------- shuffling


@given(n=st.integers(0, 3000), key=st.tuples(st.integers(0, 2**70)), stored=st.sampled_from([0, 1 << 16]))
def test_shuffles_are_permutations(n, key, stored):
    shuffle = Shuffle(n, key, stored=stored)
    values = shuffle(np.arange(n))
    assert sorted(values.tolist()) == list(range(n))
    assert shuffle(np.arange(n)[::-1]).tolist() == values[::-1].tolist()


@pytest.mark.parametrize("n", [65_536, 65_537, 131_072, 200_003])
def test_large_shuffles_are_permutations(n):
    values = Shuffle(n, (1, 2))(np.arange(n))
    assert np.array_equal(np.sort(values), np.arange(n))


@pytest.mark.parametrize("n", [70_000, 131_000, 262_144])
@pytest.mark.parametrize("key", [(0,), (1,), (12345, 7)])
def test_large_shuffles_look_random(n, key):
    places = np.arange(n)
    values = Shuffle(n, key)(places)
    # Where the parts of the list go: a table of 32 x 32 counts, chi-square with 31² degrees of freedom.
    table = np.zeros((32, 32))
    np.add.at(table, (places * 32 // n, values * 32 // n), 1)
    expected = n / 32**2
    freedom = 31**2
    assert abs(((table - expected) ** 2 / expected).sum() - freedom) < 5 * (2 * freedom) ** 0.5
    # Neighbours do not stay together, and lie to either side alike.
    steps = np.diff(values)
    assert (np.abs(steps) == 1).sum() < 15
    assert abs((steps > 0).mean() - 0.5) < 4 / n**0.5
    assert abs(np.corrcoef(places, values)[0, 1]) < 4 / n**0.5
    assert (values == places).sum() < 9
    other = Shuffle(n, (*key, 1))(places)
    assert (values == other).sum() < 9
    # No bit of a value follows from the same bit of its place.
    for bit in range(16):
        of_place, of_value = places >> bit & 1, values >> bit & 1
        share = of_place.mean()
        assert abs((of_place != of_value).mean() - 2 * share * (1 - share)) < 4 / n**0.5
