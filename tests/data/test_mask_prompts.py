"""Prompts that carry references, strategies, and texts for single loops."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ea_data.mask_strategy.language import Group, parse_strategy
from ea_data.mask_strategy.prompts import Prompt, loop_texts, read_prompt, split_prompt, split_references

BOTH = '{"reference_path": "a.png; b.mp4", "mask_strategy": "0;0,1,0,-1"}'


def test_references_and_a_strategy_after_the_text():
    assert read_prompt(f"a cat {BOTH}\n") == Prompt(
        "a cat", ("a.png", "b.mp4"), parse_strategy("0;0,1,0,-1")
    )  # fmt: skip
    assert read_prompt(f"|0|a|1|b{BOTH}").text == "|0|a|1|b"
    assert read_prompt('x{"mask_strategy": "1"}') == Prompt("x", (), parse_strategy("1"))
    assert read_prompt('x{ \n"reference_path": "путь/a.png"}').references == ("путь/a.png",)
    assert read_prompt(BOTH).text == ""
    assert read_prompt("a cat{}") == read_prompt("a cat { } ") == Prompt("a cat")
    assert read_prompt("x").strategy is None
    assert Group(loop=0) in read_prompt(f"x{BOTH}").strategy.groups


@pytest.mark.parametrize(
    "text", ["a cat", " a cat ", "a {cat} here", "a [b] c", "a { b", "a } b", "{}, he said", "{cat}", ""]
)
def test_other_braces_are_text(text):
    assert read_prompt(text) == Prompt(text)
    assert split_prompt(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a cat{"mask_strategy": 0,}', r"^character 26 \(a cat.*,▸\}\): the options after the prompt"),
        ('a cat{"mask_strategy" "0"}', r"^character 23 .*Expecting ':' delimiter$"),
        ('a cat{"mask_strategy": "0"', r"^character \d+ .* cannot be read: Expecting ',' delimiter$"),
        ('a cat{"', r"^character 7 .* cannot be read: Unterminated string"),
        ('a{"mask_strategy": "0"} now', r"^character 25 .*▸now\): expected the end after the options, fou"),
        ('a{"mask_strategy": "0"}{"a":1}', r"^character 24 .*found \"\{"),
        ('a{"a": [1]}', r'^the options after the prompt have "a"; allowed: reference_path and mask_strat'),
        ('a{"a\\nb": 1}', r'^the options after the prompt have "a\\nb"; allowed'),
        ('a{"mask_strategy": 0}', r"^mask_strategy after the prompt is 0; allowed: a text in quotes$"),
        ('a{"mask_strategy": null}', r"^mask_strategy after the prompt is null; allowed"),
        ('a{"reference_path": ["a.png"]}', r"^reference_path after the prompt is \[\"a.png\"\]; allowed"),
        ('a{"mask_strategy": "0,x"}', r"^mask_strategy: character 3 \(0,▸x\): expected the index"),
        ('a{"mask_strategy": ""}', r"^mask_strategy: character 1 \(▸\): expected the loop"),
        ('a{"reference_path": "a.png;"}', r"^reference_path: character 7 .*found the end$"),
        ('a{"a": ' + "[" * 100_000, r"^character \d+ .*cannot be read: "),
        ('a{"mask_strategy": "0", "mask_strategy": "1"}', r'^character 2 .*: "mask_strategy" is given twi'),
        ('a{"a": ' + "9" * 5000 + "}", r"^character 2 .*cannot be read: a number with thousands"),
    ],
    ids=range(17),
)  # fmt: skip
def test_wrong_options_are_named(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_prompt(text)
    assert str(caught.value).isprintable()


def test_references_are_joined_by_semicolons():
    assert split_references("a.png") == ("a.png",)
    assert split_references(" a b.png;https://example.org/c?d=1,2 ") == (
        "a b.png", "https://example.org/c?d=1,2",
    )  # fmt: skip
    for text, place, found in (
        ("", 1, "the end"),
        (";a", 1, '";"'),
        ("a; ;b", 3, '";"'),
        ("a;", 3, "the end"),
    ):
        with pytest.raises(ValueError, match=f"^character {place} .*the name of a reference, found {found}$"):
            split_references(text)


@pytest.mark.parametrize(
    ("text", "loops", "expected"),
    [
        ("a cat", 3, ["a cat", "a cat", "a cat"]),
        ("|0|a", 2, ["a", "a"]),
        ("|0|a|2|b", 3, ["a", "a", "b"]),
        ("|0| a |1| b c |4|d", 5, ["a", "b c", "b c", "b c", "d"]),
        ("|1|a", 1, ["|1|a"]),
        ("|a|b", 2, ["|a|b", "|a|b"]),
        ("a|0|b", 1, ["a|0|b"]),
    ],
)
def test_texts_of_loops(text, loops, expected):
    assert list(loop_texts(text, loops)) == expected


@pytest.mark.parametrize(
    ("text", "loops", "place", "message"),
    [
        ("|0|a|2|b", 2, 6, 'expected a loop from 1 to 1, in which the text begins, found "2"'),
        ("|0|a|1|b|1|c", 3, 10, 'expected a loop from 2 to 2, in which the text begins, found "1"'),
        ("|0|a|x|b", 3, 6, 'expected a loop from 1 to 2, in which the text begins, found "x"'),
        ("|0|a|-1|b", 3, 6, 'found "-1"'),
        ("|0|a||b", 3, 6, 'expected a loop from 1 to 2, in which the text begins, found "|"'),
        ("|0|a|  x|b", 3, 8, 'found "x"'),
        ("|0|a|", 3, 6, "expected a loop from 1 to 2, in which the text begins, found the end"),
        ("|0|a b|c", 2, 8, 'found "c"'),
        ("|0|a|1|b|2|c", 2, 10, 'expected the end, since the 2 loops have their texts, found "2"'),
        ("|0|a|1|b", 1, 6, 'expected the end, since the 1 loop has its text, found "1"'),
        ("|0|", 1, 4, "expected the text of a loop, found the end"),
        ("|0|a| 1 |", 2, 10, "expected the text of a loop, found the end"),
        ("|0| |1|b", 2, 4, "expected the text of a loop, found the end"),
        ("|1|a", 2, 1, "texts for loops begin with |0|"),
        (" | 00 | a", 2, 1, "texts for loops begin with |0|"),
        ("|0|a|1", 2, 7, 'expected "|" and a text, found the end'),
    ],
)
def test_wrong_loops_are_pointed_at(text, loops, place, message):
    with pytest.raises(ValueError, match=f"^character {place} ") as caught:
        loop_texts(text, loops)
    assert str(caught.value).endswith(message)


def test_there_are_loops():
    for loops in (0, 100_001):
        with pytest.raises(ValueError, match=f"loops is {loops}; allowed: 1 to 100000"):
            loop_texts("a", loops)


NAMES = st.text(alphabet=st.characters(exclude_characters=";", exclude_categories=("Cs",)), min_size=1)


@settings(deadline=None)
@given(st.text(alphabet="ab |.,", max_size=9), st.lists(NAMES.filter(str.strip), min_size=1, max_size=3))
def test_what_is_written_is_read(text, names):
    options = {"reference_path": ";".join(names), "mask_strategy": "0,0,0,-1"}
    prompt = read_prompt(text + json.dumps(options))
    assert prompt.text == text.strip()
    assert prompt.references == tuple(name.strip() for name in names)
    assert prompt.strategy.to_text() == options["mask_strategy"]


@settings(deadline=None)
@given(st.text() | st.text(alphabet='{}[]":,|01ab \n\\', max_size=20), st.integers(1, 4))
def test_any_prompt_is_read_or_refused_in_one_line(text, loops):
    for read in (read_prompt, lambda given: loop_texts(given, loops), split_references):
        try:
            read(text)
        except ValueError as error:
            message = str(error)
        else:
            continue
        assert message.isprintable()
        assert re.match(r"character \d+ \(|the options after|\w+ after the prompt|\w+: ", message)
