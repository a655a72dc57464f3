"""What a cache store survives: damage on disk, writers that are killed, a full disk, many at once."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import store_samples
from filelock import FileLock
from store_samples import fields, fill, is_sample, recipe, write_share

from ea_data.store import CacheError, CacheStore, CacheWriter, CorruptSampleError, MissingSampleError, writer
from ea_data.store.collect import collect_garbage
from ea_data.store.layout import open_paths
from ea_data.store.verify import verify_store

NUMBERS = range(12)
KILLS, FULL_KILLS = 5, 50
FAULTS, FULL_FAULTS = 40, 200


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A store of three shards, and its keys."""
    folder = tmp_path_factory.mktemp("pristine") / "store"
    return folder, fill(folder, NUMBERS, shard=4)


def _flip(content, rng):
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    return content


def _tear(content, rng):
    return content[: rng.randrange(len(content))]


def _blank(content, rng):
    start = rng.randrange(len(content))
    length = rng.choice((1, 512, 4096))
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def _lengthen(content, rng):
    return content + bytes(rng.choice((1, 64)))


def _swap_ends(content, rng):
    """Two pieces change places, as when blocks of a file system are mixed up."""
    half = len(content) // 2
    return content[half:] + content[:half]


def _damage(folder, kind, rng):
    """Damage one file; False if that changed nothing."""
    path = rng.choice(sorted((folder / "shards").iterdir()))
    before = path.read_bytes()
    after = bytes(kind(bytearray(before), rng))
    path.write_bytes(after)
    return after != before


def _check_damage(pristine, folder, seed):
    """One fault: it is found and named, and nothing wrong is ever given."""
    source, keys = pristine
    rng = random.Random(seed)
    shutil.copytree(source, folder)
    kind = rng.choice((_flip, _flip, _tear, _blank, _lengthen, _swap_ends))
    if not _damage(folder, kind, rng):
        return
    store = CacheStore(folder)
    lost, said = [], []
    for number, key in zip(NUMBERS, keys, strict=True):
        try:
            assert is_sample(store.read(key), number), (seed, kind)
        except (CorruptSampleError, MissingSampleError) as error:
            said.append((key, str(error)))
            lost.append(number)
    assert all(key in message for key, message in said)
    found = verify_store(folder)
    assert found.damage, (seed, kind)
    named = {damage.key for damage in found.damage}
    assert all(keys[number] in named or store.problems for number in lost)
    with CacheWriter(folder) as again:  # the caller makes again what is lost
        for number in lost:
            again.put(recipe(number), fields(number))
    store.refresh()
    assert all(is_sample(store.read(key), number) for number, key in zip(NUMBERS, keys, strict=True))
    collect_garbage(folder, deep=True)
    assert verify_store(folder).damage == ()
    clean = CacheStore(folder)
    assert len(clean) == len(keys)
    assert all(is_sample(clean.read(key), number) for number, key in zip(NUMBERS, keys, strict=True))


def test_damaged_shards_are_named_and_never_served(pristine, tmp_path):
    for seed in range(FAULTS):
        _check_damage(pristine, tmp_path / str(seed), seed)


@pytest.mark.slow
def test_many_damaged_shards_are_named_and_never_served(pristine, tmp_path):
    for seed in range(1000, 1000 + FULL_FAULTS):
        _check_damage(pristine, tmp_path / str(seed), seed)


def test_every_bit_of_a_small_shard_counts(tmp_path):
    fill(tmp_path, [0])
    for path in sorted((tmp_path / "shards").iterdir()):
        content = path.read_bytes()
        for place in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[place] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            assert verify_store(tmp_path).damage, (path.suffix, place)
        path.write_bytes(content)
    assert verify_store(tmp_path).damage == ()


def test_a_shard_that_shrinks_while_it_is_read(tmp_path):
    keys = fill(tmp_path, range(4))
    store = CacheStore(tmp_path)
    assert is_sample(store.read(keys[0]), 0)
    (path,) = tmp_path.glob("shards/*.safetensors")
    os.truncate(path, 200)
    for key in keys:
        with pytest.raises(CorruptSampleError, match="the file ends inside latents"):
            store.read(key)


def test_samples_of_another_shard_are_not_taken_for_ones_own(tmp_path):
    """The manifest is good, the data file is good, and they do not belong together."""
    fill(tmp_path, range(3))
    first = next(tmp_path.glob("shards/*.safetensors"))
    other = fill(tmp_path / "other", range(3, 6))
    shutil.copy(next((tmp_path / "other").glob("shards/*.safetensors")), first)
    store = CacheStore(tmp_path)
    assert len(other) == len(store) == 3
    for position in range(3):
        with pytest.raises(CorruptSampleError, match="the checksum is wrong"):
            store.read_at(position)


def test_files_that_are_gone(tmp_path, monkeypatch):
    keys = fill(tmp_path, range(4), shard=2)
    store = CacheStore(tmp_path)
    monkeypatch.setattr(store, "refresh", None)  # nothing was collected: loading the index again is no help
    data, manifest = (sorted(tmp_path.glob(f"shards/*.{end}")) for end in ("safetensors", "manifest"))
    data[0].unlink()
    for key in keys[:2]:
        with pytest.raises(CorruptSampleError, match="the data file is missing"):
            store.read(key)
    assert {damage.reason for damage in verify_store(tmp_path).damage} == {"the data file is missing"}
    manifest[1].unlink()
    assert CacheStore(tmp_path).missing(keys) == keys[2:]
    report = collect_garbage(tmp_path, deep=True)
    assert [removal.reason for removal in report.removed] == ["it has no manifest", "samples of it had to go"]
    assert report.dropped == {"damaged": 2}
    assert verify_store(tmp_path).shards == 0


def test_what_cannot_be_read_now_is_not_collected(tmp_path, monkeypatch):
    keys = fill(tmp_path, range(4), shard=2)
    broken = OSError(errno.EIO, "Input/output error")

    def refuse(*_, **__):
        raise broken

    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", refuse)
        with pytest.raises(CorruptSampleError, match=r"the data file cannot be read \(Input/output error\)"):
            CacheStore(tmp_path).read(keys[0])
        assert len(verify_store(tmp_path).damage) == 4
        for kept in (None, keys[::2]):
            with pytest.raises(CacheError, match=r"the collection stops at shard .*Input/output error"):
                collect_garbage(tmp_path, deep=kept is None, keep=kept)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", refuse)
        with pytest.raises(CacheError, match=r"cannot be used: Input/output error"):
            collect_garbage(tmp_path)
        assert len(CacheStore(tmp_path).problems) == 2
    assert verify_store(tmp_path).damage == ()
    assert CacheStore(tmp_path).missing(keys) == []


# -------------------- killed writers


def _kill_one(folder, rng, first):
    """Start two writers, kill them at a random moment; the numbers that they said were safe."""
    command = [sys.executable, store_samples.__file__, str(folder)]
    running = [
        subprocess.Popen([*command, str(first + rank), "2"], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    assert running[0].stdout.readline()
    time.sleep(rng.random() * 0.3)
    for process in running:
        process.kill()
    out = [process.communicate()[0] for process in running]
    # A line that was cut off by the kill does not count.
    whole = [line for text in out for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [int(word) for line in whole for word in line.split()]


def _kill_writers(folder, kills):
    rng = random.Random(0)
    safe = {}
    for kill in range(kills // 2 + 1):
        for number in _kill_one(folder, rng, first=kill * 1_000_000):
            safe[recipe(number).key] = number
        assert verify_store(folder).damage == ()
        store = CacheStore(folder)
        assert store.problems == ()
        assert store.missing(safe) == []
    assert len(safe) > 3 * kills
    report = collect_garbage(folder)
    assert len([removal for removal in report.removed if removal.file.endswith(".lock")]) == 0
    left = [path.name for path in open_paths(folder).shards.iterdir()]
    assert not [name for name in left if name.endswith(".part")]
    assert len([name for name in left if name.endswith(".safetensors")]) == len(left) // 2
    assert list(open_paths(folder).writers.iterdir()) == []
    store = CacheStore(folder)
    assert all(is_sample(store.read(key), number) for key, number in safe.items())
    assert verify_store(folder).damage == ()


def test_writers_may_be_killed(tmp_path):
    _kill_writers(tmp_path / "store", KILLS)


@pytest.mark.slow
def test_many_writers_may_be_killed(tmp_path):
    _kill_writers(tmp_path / "store", FULL_KILLS)


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("moment", ["data part", "data named", "manifest part"])
def test_every_moment_of_a_death_leaves_a_whole_store(tmp_path, monkeypatch, moment):
    keys = fill(tmp_path, range(3))
    dying = CacheWriter(tmp_path)
    dying.put(recipe(7), fields(7))
    publish = writer.publish

    def die(temporary, final):
        if moment == "data named" and final.suffix == ".safetensors":
            publish(temporary, final)
            raise Killed
        if moment == ("data part" if final.suffix == ".safetensors" else "manifest part"):
            raise Killed
        publish(temporary, final)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "publish", die)
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # the dead do not tidy up
        with pytest.raises(Killed):
            dying.flush()
    assert collect_garbage(tmp_path).removed == []  # its lock is held: it might go on
    dying._lock.release()
    assert CacheStore(tmp_path).missing([*keys, recipe(7).key]) == [recipe(7).key]
    assert verify_store(tmp_path).damage == ()
    planned = collect_garbage(tmp_path, dry_run=True).removed
    assert planned == collect_garbage(tmp_path).removed
    assert len(planned) == (2 if moment == "manifest part" else 1)
    assert len(list((tmp_path / "shards").iterdir())) == 2
    assert list((tmp_path / "writers").iterdir()) == []


# -------------------- many at once


@pytest.mark.parametrize("world", [2, 4])
def test_writers_at_once(tmp_path, world):
    folder, count = tmp_path / "store", 60
    with ProcessPoolExecutor(world, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(write_share, folder, rank, world, count) for rank in range(world)]
        while not all(task.done() for task in tasks):  # somebody collects all the time
            if (folder / "store.json").exists():
                collect_garbage(folder)
                assert verify_store(folder).damage == ()
        published = sum(task.result() for task in tasks)
    store = CacheStore(folder)
    assert len(store) == count < published
    assert all(is_sample(store.read(recipe(number).key), number) for number in range(count))
    report = collect_garbage(folder, deep=True)
    assert report.dropped == {"second copy": published - count}
    # One that was opened before finds the samples in their new place.
    assert all(is_sample(store.read(recipe(number).key), number) for number in range(count))
    assert verify_store(folder).samples == count


def test_file_systems_without_locks(tmp_path, monkeypatch):
    fill(tmp_path, [0])

    def refuse(*_, **__):
        raise NotImplementedError("this file system has no locks")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    for work in (CacheWriter, collect_garbage):
        with pytest.raises(CacheError, match=r"cannot write .*: this file system has no locks"):
            work(tmp_path)
    assert len(CacheStore(tmp_path)) == 1  # readers need none


def test_a_writer_belongs_to_one_process(tmp_path, monkeypatch):
    with CacheWriter(tmp_path) as mine:
        mine.put(recipe(0), fields(0))
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: -1)
            with pytest.raises(CacheError, match="another process"):
                mine.put(recipe(1), fields(1))
            mine.close()
            assert mine.shards == []
    assert len(CacheStore(tmp_path)) == 1


def test_one_collection_at_a_time(tmp_path, monkeypatch):
    from ea_data.store import collect

    fill(tmp_path, range(2))

    def again(*_, **__):
        with pytest.raises(CacheError, match="another collection is at"):
            collect_garbage(tmp_path)

    monkeypatch.setattr(collect, "_remove_leftovers", again)
    collect_garbage(tmp_path)


# -------------------- a full disk


class _FullDisk(io.FileIO):
    """A file on a disk that has room for so many bytes, over all files."""

    room = 0

    def write(self, data):
        data = memoryview(data).cast("B")
        if not data.nbytes:
            return 0
        if not type(self).room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: type(self).room]
        type(self).room -= part.nbytes
        return super().write(part)


def _open_on_full_disk(path, mode):
    return (
        io.BufferedWriter(_FullDisk(path, mode)) if "w" in mode else io.BufferedReader(io.FileIO(path, mode))
    )


@pytest.mark.parametrize("room", [0, 1, 100, 900, 1600, 2300])
def test_a_full_disk_is_said_and_nothing_is_half_there(tmp_path, monkeypatch, room):
    keys = fill(tmp_path, range(2))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    mine = CacheWriter(tmp_path)
    for number in range(2, 5):
        mine.put(recipe(number), fields(number))
    with monkeypatch.context() as patched:
        patched.setattr(_FullDisk, "room", room)
        patched.setattr(Path, "open", _open_on_full_disk)
        with pytest.raises(CacheError, match=r"cannot write .*: No space left on device \(\d+ bytes wait"):
            mine.flush()
    there = sorted(path.name for path in tmp_path.rglob("*") if path.suffix != ".lock")
    assert there == before
    assert CacheStore(tmp_path).missing(keys) == []
    mine.flush()  # there is room again: nothing was lost
    mine.close()
    store = CacheStore(tmp_path)
    assert all(is_sample(store.read(recipe(number).key), number) for number in range(5))


def test_what_was_made_before_an_error_is_kept(tmp_path):
    def work():
        with CacheWriter(tmp_path) as mine:
            mine.put(recipe(0), fields(0))
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        work()
    assert is_sample(CacheStore(tmp_path).read(recipe(0).key), 0)


def test_two_errors_at_once_are_both_told(tmp_path, monkeypatch):
    def full(*_):
        raise CacheError("the disk is full")

    def work():
        with CacheWriter(tmp_path) as mine:
            mine.put(recipe(0), fields(0))
            monkeypatch.setattr(mine, "flush", full)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        work()
    assert caught.value.__notes__ == ["and what was waiting could not be kept: the disk is full"]
    assert list((tmp_path / "writers").iterdir()) == []
