"""Translation of tensor names."""

import pytest
import torch

from ea_kernels.runtime.key_map import Drop, KeyMap, Rename, Split, Template

TABLE = KeyMap(
    (
        Drop("{rest*}.counter"),
        Rename("net.first.{p}", "start.{p}"),
        Rename("net.{i}.{rest*}", "layers.{i}.{rest*}"),
        Split("{side}.qkv.{p}", ("{side}.q.{p}", "{side}.k.{p}", "{side}.v.{p}")),
    )
)


def test_placeholders_match_one_segment_or_more():
    assert Template("a.{i}.b").match("a.3.b") == {"i": "3"}
    assert Template("a.{i}.b").match("a.3.4.b") is None
    assert Template("a.{rest*}").match("a.3.b") == {"rest": "3.b"}
    assert Template("a.{rest*}").match("a") is None
    assert Template("a.b").match("axb") is None


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("net.first.weight", ("start.weight",)),
        ("net.2.conv.weight", ("layers.2.conv.weight",)),
        ("net.2.counter", ()),
        ("up.qkv.bias", ("up.q.bias", "up.k.bias", "up.v.bias")),
        ("untouched", ("untouched",)),
    ],
)
def test_names_go_to_ours_and_back(released, ours):
    assert TABLE.to_ours(released) == ours
    assert all(TABLE.to_released(name) == released for name in ours)


def test_the_first_rule_wins_in_both_directions():
    table = KeyMap((Rename("x.{i}", "special.{i}"), Rename("{a}.{i}", "{a}.general.{i}")))
    assert table.to_ours("x.1") == ("special.1",)
    # No released name leads there: the second rule would need "x.1", which the first one claims.
    assert table.to_released("x.general.1") == "x.general.1"


def test_split_tensors_join_again():
    state = {"up.qkv.bias": torch.arange(6.0), "net.0.w": torch.ones(2)}
    ours = TABLE.load(state)
    assert ours["up.k.bias"].tolist() == [2.0, 3.0]
    back = TABLE.export(ours)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_uneven_parts_along_another_dimension():
    table = KeyMap((Split("kv", ("k", "v"), dim=-1, sizes=(1, 3)),))
    assert table.shapes("kv", (2, 4)) == {"k": (2, 1), "v": (2, 3)}
    tensor = torch.randn(2, 4)
    assert torch.equal(table.export(table.load({"kv": tensor}))["kv"], tensor)
    with pytest.raises(ValueError, match="a dimension of 5 cannot be split into 2 parts"):
        table.shapes("kv", (2, 5))


def test_half_a_fused_tensor_is_refused():
    with pytest.raises(ValueError, match=r"cannot write 'up\.qkv\.bias': 'up\.k\.bias' is missing"):
        TABLE.export({"up.q.bias": torch.ones(2)})


def test_placeholders_must_agree():
    with pytest.raises(ValueError, match="same placeholders"):
        Rename("a.{i}", "b.{j}")
    with pytest.raises(ValueError, match="same placeholders"):
        Split("a.{i}", ("b.{i}", "c"))
