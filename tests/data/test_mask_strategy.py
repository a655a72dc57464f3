"""Mask strategies: strings, and what they do to each clip."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ea_data.mask_strategy.language import MAX_COUNT, Group, MaskStrategy, parse_strategy
from ea_data.mask_strategy.plan import LoopPlan, plan_loop, plan_loops, total_frames

PICTURE, CLIP = 1, 8
GUIDE = Path(__file__).parents[2] / "docs" / "mask-strategy.md"


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0", Group(loop=0)),
        ("2,1", Group(loop=2, reference=1)),
        ("0,-1,-4", Group(loop=0, reference=-1, source_start=-4)),
        ("0,0,0,5", Group(loop=0, target_start=5)),
        ("1,0,-4,0,4", Group(loop=1, source_start=-4, length=4)),
        ("0,0,0,0,8,0.3", Group(loop=0, length=8, edit_ratio=0.3)),
        ("0,0,0,0,0", Group(loop=0, length=0)),
        (" 00 ,\t+1 , -0", Group(loop=0, reference=1)),
        ("0,0,0,0,1,.5", Group(loop=0, edit_ratio=0.5)),
        ("0,0,0,0,1,5e-1", Group(loop=0, edit_ratio=0.5)),
        ("0,0,0,0,1,1.", Group(loop=0, edit_ratio=1)),
        ("0,0,0,0,1,-0.0", Group(loop=0)),
    ],
)
def test_a_group(text, group):
    assert parse_strategy(text).groups == (group,)


def test_groups_keep_their_order():
    strategy = parse_strategy("1,1 ; 0,2; 1,3")
    assert [group.reference for group in strategy.groups] == [1, 2, 3]
    assert [group.reference for group in strategy.in_loop(1)] == [1, 3]
    assert strategy.in_loop(2) == ()


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("0,0,0,0,1,0", "0"),
        ("0, 0, 0, 0, 2; 1,0,-4,0,4,0.30", "0,0,0,0,2;1,0,-4,0,4,0.3"),
        ("0,0,0,0,1,1.0", "0,0,0,0,1,1"),
        ("0,0,0,-1,1,1e-5", "0,0,0,-1,1,1e-05"),
    ],
)
def test_the_shortest_string(text, shortest):
    assert parse_strategy(text).to_text() == shortest


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", 1, "expected the loop, a whole number from 0 to 100000, found the end"),
        ("   ", 1, "found the end"),
        (";", 1, 'expected the loop, a whole number from 0 to 100000, found ";"'),
        ("0;", 3, "found the end"),
        ("0,,3", 3, 'expected the index of a reference, a whole number from -100000 to 100000, found ","'),
        ("0, ;0", 3, 'found ";"'),
        ("0,0,0,0,1,0,0", 12, 'expected ";" or the end after 6 fields, found ","'),
        ("0,0,0,0,1,0;0,0,0,0,1,0,", 24, "after 6 fields"),
        ("a,b", 1, 'found "a"'),
        ("0;1,  b", 7, 'the index of a reference, a whole number from -100000 to 100000, found "b"'),
        ("0,0,x", 5, "the first frame of the reference"),
        ("0,0,0,x", 7, "the first frame of the clip"),
        ("0,0,0,0,x", 9, "the number of frames, a whole number from 0 to 100000"),
        ("0,0,0,0,-1", 9, 'found "-1"'),
        ("0,0,0,0,1,x", 11, "the edit ratio, a number from 0 to 1"),
        ("0,0,0,0,8,", 11, "found the end"),
        ("0,0,0,0,8,1.5", 11, 'found "1.5"'),
        ("0,0,0,0,8,-0.1", 11, 'found "-0.1"'),
        ("0,0,0,0,8,nan", 11, 'found "nan"'),
        ("0,0,0,0,8,1e999", 11, 'found "1e999"'),
        ("-1", 1, 'found "-1"'),
        ("0.0", 1, 'found "0.0"'),
        ("1_0", 1, 'found "1_0"'),
        ("１", 1, 'found "１"'),
        ("0|1", 1, 'found "0|1"'),
        ("(0,0,0,0,1)", 1, 'found "(0"'),
        ("0 0", 1, 'found "0 0"'),
        ("0,100001", 3, 'found "100001"'),
        ("9" * 5000, 1, f'found "{"9" * 30}"'),
        ("0\n,\nx", 5, 'found "x"'),
        ("0,\x1b[31m", 3, 'found "�[31m"'),
    ],
)  # fmt: skip
def test_wrong_strings_are_pointed_at(text, place, message):
    with pytest.raises(ValueError, match=f"^character {place} ") as caught:
        parse_strategy(text)
    assert re.search(re.escape(message), str(caught.value))
    assert str(caught.value).isprintable()
    assert "▸" in str(caught.value)


def test_values_are_checked_where_no_string_is_read():
    with pytest.raises(ValueError, match="loop is -1; allowed: 0 to 100000"):
        Group(loop=-1)
    with pytest.raises(ValueError, match=r"edit_ratio is 1\.1; allowed: 0 to 1"):
        Group(loop=0, edit_ratio=1.1)
    with pytest.raises(ValueError, match="edit_ratio is nan"):
        Group(loop=0, edit_ratio=float("nan"))
    with pytest.raises(ValueError, match="length is 100001"):
        replace(Group(loop=0), length=MAX_COUNT + 1)
    with pytest.raises(ValueError, match="groups are empty; allowed: 1 or more"):
        MaskStrategy(())


INDEX = st.integers(-MAX_COUNT, MAX_COUNT)
GROUPS = st.builds(
    Group,
    loop=st.integers(0, MAX_COUNT),
    reference=INDEX,
    source_start=INDEX,
    target_start=INDEX,
    length=st.integers(0, MAX_COUNT),
    edit_ratio=st.floats(0, 1),
)


@settings(deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_strings_are_read_back(groups):
    strategy = MaskStrategy(tuple(groups))
    assert parse_strategy(strategy.to_text()) == strategy
    assert parse_strategy(strategy.to_text()).to_text() == strategy.to_text()


def refusal(read, text):
    """The message with which a text is refused, None if it is not."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return None


@settings(deadline=None)
@given(st.text() | st.text(alphabet="012,;.-+e \n", max_size=20))
def test_any_text_is_a_strategy_or_refused_in_one_line(text):
    message = refusal(parse_strategy, text)
    if message is None:
        strategy = parse_strategy(text)
        assert parse_strategy(strategy.to_text()) == strategy
    else:
        assert re.match(r"character \d+ \(", message)
        assert message.isprintable()
        assert len(message) < 250


# ----------------------------------------------------------------------------------------------------- plans


def sources(text, frames=8, lengths=(PICTURE, CLIP), loop=0):
    strategy = parse_strategy(text)
    found = plan_loop(strategy, loop, frames=frames, reference_lengths=lengths).sources()
    return " ".join("." if source is None else "{}:{}".format(*source) for source in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", "0:0 . . . . . . ."),
        ("0;0,0,0,-1", "0:0 . . . . . . 0:0"),
        ("0;0,1,0,-1", "0:0 . . . . . . 1:0"),
        ("0,1,-3,0,3", "1:5 1:6 1:7 . . . . ."),  # what comes after a clip
        ("0,1,0,-3,3", ". . . . . 1:0 1:1 1:2"),  # what came before it
        ("0,1,-2,0,2;0,1,0,-2,2", "1:6 1:7 . . . . 1:0 1:1"),  # between two clips
        ("0,0,0,2,3", ". . 0:0 0:0 0:0 . . ."),  # a picture that stays
        ("0,0,-1,2,3", ". . 0:0 0:0 0:0 . . ."),
        ("0,-1", "1:0 . . . . . . ."),
        ("0,1,0,0,8;0,0,0,3", "1:0 1:1 1:2 0:0 1:4 1:5 1:6 1:7"),
        ("0,0,0,3;0,1,0,0,8", "1:0 1:1 1:2 1:3 1:4 1:5 1:6 1:7"),
        ("0,1,99,99,0", ". . . . . . . ."),
        ("1", ". . . . . . . ."),
    ],
)
def test_what_goes_where(text, expected):
    assert sources(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,2", "mask strategy 0,2: reference 2 is not there; there are 2"),
        ("0,-3", "mask strategy 0,-3: reference -3 is not there; there are 2"),
        ("0,1,6,0,4", "mask strategy 0,1,6,0,4: reference 1 has 8 frames; asked for: 4 frames from 6 on"),
        ("0,1,8", "reference 1 has 8 frames; asked for: 1 frame from 8 on"),
        ("0,1,-9", "reference 1 has 8 frames; asked for: 1 frame from -9 on"),
        ("0,1,-1,0,2", "reference 1 has 8 frames; asked for: 2 frames from -1 on"),
        ("0,0,1", "reference 0 has 1 frame; asked for: 1 frame from 1 on"),
        ("0,0,1,0,4", "reference 0 has 1 frame; asked for: 1 frame from 1 on"),
        ("0,0,0,8", "mask strategy 0,0,0,8: the clip has 8 frames; asked for: 1 frame from 8 on"),
        ("0,0,0,-9", "the clip has 8 frames; asked for: 1 frame from -9 on"),
        ("0,1,0,6,4", "the clip has 8 frames; asked for: 4 frames from 6 on"),
        ("0;0,7,0,0,0", "mask strategy 0,7,0,0,0: reference 7 is not there; there are 2"),
    ],
)
def test_what_is_not_there_is_refused(text, message):
    with pytest.raises(ValueError, match=f"{re.escape(message)}$"):
        sources(text)


def test_references_are_counted_in_words():
    for lengths, there in (((), "there is none"), ((1,), "there is 1")):
        with pytest.raises(ValueError, match=f"reference 1 is not there; {there}$"):
            sources("0,1", lengths=lengths)
    with pytest.raises(ValueError, match=r"there are 2, clips made before included$"):
        plan_loops(parse_strategy("1,2"), frames=4, reference_lengths=[1], loops=2, condition_frames=1)


def test_edit_ratios():
    strategy = parse_strategy("0,1,0,0,4,0.3;0,0,0,2,2;0,0,0,-1,1,1")
    plan = plan_loop(strategy, 0, frames=8, reference_lengths=[1, 8])
    ratios = plan.edit_ratios()
    assert ratios.dtype == np.float32
    assert np.array_equal(ratios, np.array([0.3, 0.3, 0, 0, 1, 1, 1, 1], dtype=np.float32))
    with pytest.raises(ValueError, match=r"^loop 0: the edit ratio of frame 0 is 0\.3; allowed for this"):
        plan.kept_frames()
    whole = plan_loop(parse_strategy("0;0,1,0,4,4,1"), 0, frames=8, reference_lengths=[1, 8])
    assert whole.kept_frames().tolist() == [True] + [False] * 7


def test_nothing_is_put_without_a_strategy():
    (plan,) = plan_loops(None, frames=3)
    assert plan == LoopPlan(loop=0, frames=3)
    assert plan.sources() == (None,) * 3
    assert plan.edit_ratios().tolist() == [1, 1, 1]
    assert not plan.kept_frames().any()


def test_clips_go_on_from_each_other():
    plans = plan_loops(None, frames=5, reference_lengths=[1, 9], loops=3, condition_frames=2)
    assert [plan.overlap for plan in plans] == [0, 2, 2]
    assert total_frames(plans) == 3 * (5 - 2) + 2
    assert plans[0].placements == ()
    # The references given come first, then the clip of loop 0, then that of loop 1.
    assert plans[1].sources() == ((2, 3), (2, 4), None, None, None)
    assert plans[2].sources() == ((3, 3), (3, 4), None, None, None)
    assert plans[2].edit_ratios().tolist() == [0, 0, 1, 1, 1]


def test_the_end_of_the_clip_before_wins():
    strategy = parse_strategy("1,0,0,1,3,0.5;2,1,0,-1;2,-1,0,-2")
    plans = plan_loops(strategy, frames=5, reference_lengths=[1], loops=3, condition_frames=2)
    assert plans[1].sources() == ((1, 3), (1, 4), (0, 0), (0, 0), None)
    assert plans[1].edit_ratios().tolist() == [0, 0, 0.5, 0.5, 1]
    # A strategy may name clips that were made before: 1 is that of loop 0, -1 the newest.
    assert plans[2].sources() == ((2, 3), (2, 4), None, (2, 0), (1, 0))


def test_clips_may_know_nothing_of_each_other():
    plans = plan_loops(parse_strategy("1"), frames=4, reference_lengths=[1], loops=2, condition_frames=0)
    assert [plan.sources()[0] for plan in plans] == [None, (0, 0)]
    assert total_frames(plans) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames is 0; allowed: 1 to 100000"),
        ({"frames": 100_001}, "frames is 100001; allowed"),
        ({"loops": 0}, "loops is 0; allowed: 1 to 100000"),
        ({"loops": 100_001}, "loops is 100001; allowed"),
        ({"reference_lengths": [1, 0]}, "reference 1 has 0 frames; allowed: 1 or more"),
        ({"loops": 2, "condition_frames": 8}, "condition_frames is 8; allowed: 0 to 7, less than a clip has"),
        ({"loops": 2, "condition_frames": -1}, "condition_frames is -1; allowed: 0 to 7"),
        ({"loops": 1}, "mask strategy 1,0,0,0,2: loop 1 is not there; there is 1 loop"),
    ],
)
def test_counts_are_checked(options, message):
    given = {"frames": 8, "reference_lengths": [1], "loops": 2, "condition_frames": 4} | options
    with pytest.raises(ValueError, match=f"^{message}"):
        plan_loops(parse_strategy("0;1,0,0,0,2"), **given)


def test_a_clip_has_a_loop():
    with pytest.raises(ValueError, match="loop is -1; allowed: 0 or more"):
        plan_loop(None, -1, frames=8, reference_lengths=[])


def test_the_overlap_does_not_matter_to_one_clip():
    assert len(plan_loops(None, frames=1, condition_frames=4)) == 1


def test_many_loops_are_planned_at_once():
    plans = plan_loops(parse_strategy("9999,0,0,-1"), frames=8, reference_lengths=[1], loops=10_000)
    assert total_frames(plans) == 10_000 * 4 + 4
    assert plans[-1].sources()[-1] == (0, 0)


def test_frames_are_put_into_a_clip():
    picture = np.full((1, 2, 3), 7, dtype=np.uint8)
    clip = np.arange(8, dtype=np.uint8)[:, None, None] + np.zeros((1, 2, 3), dtype=np.uint8)
    plan = plan_loop(parse_strategy("0,1,-2,0,2;0,0,0,-2,2"), 0, frames=6, reference_lengths=[1, 8])
    canvas = np.full((6, 2, 3), 99, dtype=np.uint8)
    made = plan.placed(canvas, [picture, clip])
    assert made[:, 0, 0].tolist() == [6, 7, 99, 99, 7, 7]
    assert (made == made[:, :1, :1]).all()
    assert (canvas == 99).all()
    for wrong, message in (
        ([picture], "frame 6 of reference 1 is planned; it is not there"),
        ([picture, clip[:7]], "frame 7 of reference 1 is planned; it is not there"),
        ([picture, clip[:, :1]], r"frames of reference 1 are \(1, 3\); allowed: \(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            plan.placed(canvas, wrong)
    with pytest.raises(ValueError, match="the canvas has 5 frames; allowed: 6, as planned"):
        plan.placed(canvas[:5], [picture, clip])


def assigned(groups, frames, lengths):
    """What assignments to slices of a list would do, or None if one of them cannot be done."""
    clip, ratios = [None] * frames, [1.0] * frames
    for group in groups:
        if not -len(lengths) <= group.reference < len(lengths):
            return None
        number = range(len(lengths))[group.reference]
        source = [(number, frame) for frame in range(lengths[number])]
        start = group.source_start + (len(source) if group.source_start < 0 else 0)
        place = group.target_start + (frames if group.target_start < 0 else 0)
        repeated = len(source) == 1 and group.length > 1
        piece = source[max(0, start) :][: 1 if repeated else group.length] * (group.length if repeated else 1)
        if group.length == 0:
            continue
        if start < 0 or place < 0 or len(piece) != group.length or place + group.length > frames:
            return None
        clip[place : place + group.length] = piece
        ratios[place : place + group.length] = [group.edit_ratio] * group.length
    return clip, ratios


SMALL = st.builds(
    Group,
    loop=st.just(0),
    reference=st.integers(-3, 3),
    source_start=st.integers(-5, 5),
    target_start=st.integers(-5, 5),
    length=st.integers(0, 4),
    edit_ratio=st.sampled_from([0, 0.25, 0.5, 1]),
)


@settings(deadline=None)
@given(
    st.lists(SMALL, min_size=1, max_size=3), st.integers(1, 6), st.lists(st.integers(1, 5), max_size=3)
)  # fmt: skip
def test_plans_are_assignments_to_slices(groups, frames, lengths):
    strategy = MaskStrategy(tuple(groups))
    expected = assigned(groups, frames, lengths)
    if expected is None:
        with pytest.raises(ValueError, match=r"^mask strategy [-0-9.,]+: (reference|the clip) ") as caught:
            plan_loop(strategy, 0, frames=frames, reference_lengths=lengths)
        assert str(caught.value).isprintable()
        return
    plan = plan_loop(strategy, 0, frames=frames, reference_lengths=lengths)
    assert (list(plan.sources()), plan.edit_ratios().tolist()) == expected
    assert all(
        value >= 0 for placement in plan.placements for value in vars(placement).values()
    )  # fmt: skip


def test_examples_of_the_guide():
    text = GUIDE.read_text(encoding="utf-8")
    *_, example = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    names = {}
    exec(example, names)
    assert [plan.loop for plan in names["plans"]] == [0, 1]
    rows = re.findall(r"^\| `(\d[^`]*)` \|", text, re.MULTILINE)
    assert len(rows) >= 9
    for row in rows:
        plans = plan_loops(parse_strategy(row), frames=16, reference_lengths=[1, 20], loops=2)
        assert any(source is not None for source in plans[0].sources())
    for message in re.findall(r"^(?:character|mask strategy) .*", text, re.MULTILINE):
        wrong = re.search(r"0,[^ :)]*", message.replace("▸", ""))[0]
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            plan_loops(parse_strategy(wrong), frames=16, reference_lengths=[1, 20])
