"""The cache store: what goes in comes out, under keys that say what it is made of."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from store_samples import fields, fill, is_sample, recipe

from ea_data.store import (
    CacheError,
    CacheStore,
    CacheWriter,
    CorruptSampleError,
    Field,
    MissingSampleError,
    Recipe,
    digest_bytes,
    digest_file,
    digest_text,
    read_or_make,
)
from ea_data.store.index import StoreIndex
from ea_data.store.manifest import ShardIndex


def test_samples_come_back_from_any_number_of_shards(tmp_path):
    keys = fill(tmp_path, range(23), shard=5)
    store = CacheStore(tmp_path)
    assert (len(store), store.problems) == (23, ())
    for number, key in enumerate(keys):
        assert key in store
        assert is_sample(store.read(key), number)
    in_order = [store.key_at(position) for position in range(23)]
    assert in_order == sorted(keys)
    assert [f"{high:016x}{low:016x}" for high, low in store.keys().tolist()] == in_order
    assert all(is_sample(store.read_at(at), keys.index(key)) for at, key in enumerate(in_order))
    for wrong in (-1, 23):
        with pytest.raises(IndexError, match="allowed: 0 to 22"):
            store.read_at(wrong)


def test_a_shard_is_an_ordinary_safetensors_file(tmp_path):
    fill(tmp_path, range(4))
    (path,) = tmp_path.glob("shards/*.safetensors")
    tensors = load_file(path)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "0/latents": (torch.bfloat16, (4, 4, 2, 3, 3)),
        "0/text": (torch.float16, (4, 5, 8)),
    }
    (manifest,) = tmp_path.glob("shards/*.manifest")
    manifest.rename(manifest.with_suffix(".safetensors.txt"))
    assert load_file(tmp_path / "shards" / f"{manifest.stem}.safetensors.txt")["keys"].shape == (4, 2)
    store = CacheStore(tmp_path)
    assert len(store) == 0  # without its manifest a shard does not exist


def test_layouts_may_differ_within_a_shard(tmp_path):
    shapes = [(), (1,), (3, 5), (2, 2, 2), (3, 5), ()]
    dtypes = ["float32", "int64", "float64", "uint8", "float64", "bool"]
    made = [
        np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    with CacheWriter(tmp_path) as writer:
        keys = [writer.put(recipe(number), {"x": Field(array)}) for number, array in enumerate(made)]
    assert len(writer.shards) == 1
    store = CacheStore(tmp_path)
    for key, array in zip(keys, made, strict=True):
        read = store.read(key)["x"].values
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert np.array_equal(read, array)


def test_what_is_written_is_a_copy_and_what_is_read_is_ones_own(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with CacheWriter(tmp_path) as writer:
        key = writer.put(recipe(0), {"x": Field(values.T)})  # not in C order
        other = writer.put(recipe(1), {"x": Field(values.astype(">f4"))})
        values[:] = 0
    store = CacheStore(tmp_path)
    store.read(key)["x"].values[:] = -1
    assert store.read(key)["x"].values.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert store.read(other)["x"].values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_full_shard_is_published_at_once(tmp_path):
    size = sum(field.values.nbytes for field in fields(0).values())
    with CacheWriter(tmp_path, shard_bytes=3 * size) as writer:
        for number in range(8):
            writer.put(recipe(number), fields(number))
            if writer.waiting_bytes:
                writer.put(recipe(number), fields(99))  # one that waits stays as it was
        assert (writer.published, writer.waiting_bytes) == (6, 2 * size)
        assert len(CacheStore(tmp_path)) == 6
    assert len(CacheStore(tmp_path)) == 8
    assert writer.flush() is None


def test_several_crops_and_captions_of_one_clip(tmp_path):
    video = digest_text("clip")
    crops = [Recipe(inputs={"video": video}, transform={"crop": [0, x, 64, 64]}) for x in (0, 8)]
    captions = [Recipe(inputs={"text": digest_text(t)}) for t in ("a cat", "a dog", "a cat")]
    with CacheWriter(tmp_path) as writer:
        for number, each in enumerate(crops):
            writer.put(each, {"latents": fields(number)["latents"]}, source="a.mp4", variant=f"crop {number}")
        for number, each in enumerate(captions):
            writer.put(each, {"text": fields(number)["text"]}, source="a.mp4", variant=f"caption {number}")
    store = CacheStore(tmp_path)
    assert len(store) == 4  # one caption was there twice
    assert store.read(crops[1].key)["latents"].values.tobytes() == fields(1)["latents"].values.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"video": "0" * 32}},
        {"inputs": {"image": digest_text("clip 0")}},
        {"transform": {"size": [24, 25], "frames": 5}},
        {"transform": {"size": [24, 24], "frames": 5, "flip": True}},
        {"encoders": {"vae": "e" * 16}},
        {"encoders": {}},
        {"code": "2"},
    ],
)
def test_whatever_decides_the_numbers_changes_the_key(change):
    changed = recipe(0, **change)
    assert changed.key != recipe(0).key
    assert changed.differences(recipe(0))
    assert Recipe.from_json(changed.as_json()).key == changed.key


def test_the_order_of_names_does_not_change_the_key():
    one = Recipe(inputs={"a": "1", "b": "2"}, transform={"x": {"p": 1, "q": (2, 3)}})
    other = Recipe(inputs={"b": "2", "a": "1"}, transform={"x": {"q": [2, 3], "p": 1}})
    assert one.key == other.key
    assert one.differences(other) == []
    assert one.key == "9c2dd40c7894e97154bbd410142d1684"  # keys of stores that exist must not change


def test_differences_are_named():
    found = recipe(0, encoders={"vae": "1", "t5": "2"}, code="7").differences(recipe(1))
    assert found == ["inputs.video", "encoders.t5", "encoders.vae", "code"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"inputs": {}}, "inputs is empty"),
        ({"inputs": {"video": ""}}, "inputs must hold texts"),
        ({"inputs": {"video": 3}}, "inputs must hold texts"),
        ({"encoders": {"vae": None}}, "encoders must hold texts"),
        ({"code": 3}, "code must be text"),
        ({"transform": {"a": float("nan")}}, "transform.a is nan"),
        ({"transform": {"a": [1, float("inf")]}}, r"transform.a\[1\] is inf"),
        ({"transform": {"a": {1: 2}}}, "names in transform.a must be text"),
        ({"transform": {"a": np.float32(1)}}, "transform.a is float32"),
        ({"transform": {"a": b"x"}}, "transform.a is bytes"),
    ],
)
def test_wrong_recipes_are_named(wrong, message):
    with pytest.raises(CacheError, match=message):
        recipe(0, **wrong)


@pytest.mark.parametrize(
    "content", [[], {"inputs": []}, {"x": 1, "inputs": {"a": "b"}}, {}, {"inputs": None}]
)
def test_wrong_json_is_no_recipe(content):
    with pytest.raises(CacheError, match="recipe: "):
        Recipe.from_json(content)


def test_a_file_is_known_by_its_bytes_alone(tmp_path):
    names = ["a.mp4", "sub/a.mp4", "猫 🐈.mp4", "n" * 251 + ".mp4", "b\udcff.mp4", " .mp4", "a\nb.mp4"]
    content = bytes(range(256)) * 5000
    keys = set()
    with CacheWriter(tmp_path / "store") as writer:
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            assert digest_file(path) == digest_bytes(content)
            path.write_bytes(content + bytes([number]))
            each = recipe(0, inputs={"video": digest_file(path)})
            keys.add(writer.put(each, fields(number), source=name))
    store = CacheStore(tmp_path / "store")
    assert len(keys) == len(store) == len(names)
    with pytest.raises(CacheError, match="No such file"):
        digest_file(tmp_path / "none.mp4")
    with pytest.raises(CacheError, match="cannot read"):
        digest_file("a\0b")


def test_missing_samples_are_named(tmp_path):
    keys = fill(tmp_path, range(3))
    store = CacheStore(tmp_path)
    other = recipe(99).key
    with pytest.raises(MissingSampleError, match=other) as caught:
        store.read(other)
    assert caught.value.key == other
    assert store.missing([other, keys[1], other, recipe(98).key]) == [other, recipe(98).key]
    assert store.missing([]) == []
    for wrong in ("", "x" * 32, keys[0].upper(), keys[0][:-1]):
        with pytest.raises(CacheError, match="is no key"):
            store.read(wrong)


def test_a_closed_writer_takes_nothing(tmp_path):
    with CacheWriter(tmp_path) as writer:
        writer.put(recipe(0), fields(0))
    writer.close()
    assert writer.flush() is None
    with pytest.raises(CacheError, match="this writer is closed"):
        writer.put(recipe(1), fields(1))
    assert len(CacheStore(tmp_path)) == 1


def test_an_empty_store(tmp_path):
    CacheWriter(tmp_path).close()
    store = CacheStore(tmp_path)
    assert (len(store), store.keys().shape) == (0, (0, 2))
    assert store.missing([recipe(0).key]) == [recipe(0).key]
    with pytest.raises(MissingSampleError):
        store.read(recipe(0).key)


def test_refresh_sees_what_was_added(tmp_path):
    CacheWriter(tmp_path).close()
    store = CacheStore(tmp_path)
    (key,) = fill(tmp_path, [7])
    assert key not in store
    store.refresh()
    assert is_sample(store.read(key), 7)


def test_read_or_make_makes_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return fields(3)

    with CacheWriter(tmp_path) as writer:
        store = CacheStore(tmp_path)
        assert is_sample(read_or_make(store, writer, recipe(3), make, source="a"), 3)
    store.refresh()
    with CacheWriter(tmp_path) as writer:
        assert is_sample(read_or_make(store, writer, recipe(3), make), 3)
    assert made == [1]


def test_folders_that_are_no_store(tmp_path):
    with pytest.raises(CacheError, match=r"is no store: it has no store.json"):
        CacheStore(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(CacheError, match=r"is no store and holds 'photo\.jpg'"):
        CacheWriter(tmp_path)
    with pytest.raises(CacheError, match=r"Not a directory|File exists"):
        CacheWriter(tmp_path / "photo.jpg" / "store")
    other = tmp_path / "other"
    CacheWriter(other).close()
    (other / "store.json").write_text('{"format": "ea-cache", "version": 2}')
    for opening in (CacheStore, CacheWriter):
        with pytest.raises(CacheError, match="'version': 2"):
            opening(other)
    with pytest.raises(CacheError, match="shard_bytes is 0"):
        CacheWriter(tmp_path / "third", shard_bytes=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field(np.zeros(2, complex)), "number type 'complex128'"),
        (
            lambda: Field(np.zeros(2, np.float32), "bfloat16"),
            "bfloat16 cannot be kept in an array of float32",
        ),
        (lambda: Field(np.zeros(2, np.float32), "float64"), "float64 cannot be kept"),
        (lambda: Field(np.zeros((2, 0))), "is empty"),
        (lambda: Field.from_torch(torch.zeros(2, dtype=torch.complex64)), "complex64"),
    ],
)
def test_wrong_fields(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_samples_without_fields_or_names(tmp_path):
    with CacheWriter(tmp_path) as writer:
        for wrong in ({}, {"": fields(0)["text"]}):
            with pytest.raises(CacheError, match="at least one field, and every field a name"):
                writer.put(recipe(0), wrong)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int8, torch.bool])
def test_tensors_come_back_as_they_were(tmp_path, dtype):
    tensor = torch.randn(3, 4, 5).to(dtype).transpose(0, 2)
    with CacheWriter(tmp_path) as writer:
        key = writer.put(recipe(0), {"x": Field.from_torch(tensor)})
    read = CacheStore(tmp_path).read(key)["x"].to_torch()
    assert read.dtype == dtype
    assert torch.equal(read, tensor)


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_bfloat16_is_rounded_as_torch_does(numbers):
    field = Field.bfloat16(np.array(numbers, np.float32))
    expected = torch.tensor(numbers, dtype=torch.float32).bfloat16()
    assert torch.equal(field.to_torch().isnan(), expected.isnan())
    real = ~expected.isnan()
    assert torch.equal(field.to_torch()[real], expected[real])
    assert np.array_equal(field.to_numpy(), expected.float().numpy(), equal_nan=True)


def test_threads_and_other_processes_share_a_store(tmp_path):
    keys = fill(tmp_path, range(40), shard=4)
    store = CacheStore(tmp_path)
    wrong = []

    def read(offset):
        for number in range(offset, offset + 200):
            good = is_sample(store.read(keys[number % 40]), number % 40)
            wrong.extend([] if good else [number])

    threads = [threading.Thread(target=read, args=(offset,)) for offset in (0, 13, 27)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    again = pickle.loads(pickle.dumps(store))
    assert is_sample(again.read(keys[5]), 5)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8, unique=True), max_size=5)
)
def test_the_index_finds_keys_that_share_halves_or_shards(shards):
    loaded = [_shard(number, keys) for number, keys in enumerate(shards)]
    index = StoreIndex.of(list(enumerate(loaded)))
    different = sorted({key for keys in shards for key in keys})
    assert len(index) == len(different)
    wanted = np.array([(high, low) for high in range(5) for low in range(5)], np.uint64)
    for key, position in zip(wanted.tolist(), index.positions(wanted).tolist(), strict=True):
        spelled = f"{key[0]:016x}{key[1]:016x}"
        assert position == index.position(spelled)
        assert position == (different.index(tuple(key)) if tuple(key) in different else -1)
        if position >= 0:
            assert index.key_at(position) == spelled
            copies = [(place.shard, place.row) for place in index.places(position)]
            assert copies == [
                (n, keys.index(tuple(key))) for n, keys in enumerate(shards) if tuple(key) in keys
            ]


def _shard(number, keys):
    count = len(keys)
    return ShardIndex(
        str(number),
        None,
        np.array(keys, np.uint64).reshape(-1, 2),
        np.zeros(count, np.uint64),
        np.arange(count, dtype=np.uint32),
        np.zeros(count, np.uint16),
    )


def test_a_damaged_copy_is_passed_over_for_a_good_one(tmp_path):
    fill(tmp_path, range(3))
    first = next(tmp_path.glob("shards/*.safetensors"))
    keys = fill(tmp_path, range(3))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    content[-200] ^= 1
    first.write_bytes(content)
    store = CacheStore(tmp_path)
    assert len(store) == 3
    for number, key in enumerate(keys):
        assert is_sample(store.read(key), number)
    for path in tmp_path.glob("shards/*.safetensors"):
        path.write_bytes(bytes(len(content)))
    with pytest.raises(CorruptSampleError, match="the checksum is wrong; make it again"):
        store.read(keys[0])
