"""Open-Sora's mask strategies, prompts, loops and training masks against what the released program did.

Where that program drops what was asked for without a word, an error is expected here instead. Which cases
these are is told by rules about what they ask, never by their names.
"""

import json
import re
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from discovery import goldens, unknown

from ea_data.frame_masks import FRAME_MASK_KINDS, RELEASED_RATIOS, check_ratios, random_frame_mask
from ea_data.mask_strategy.language import Group, parse_strategy
from ea_data.mask_strategy.plan import CONDITION_FRAMES, plan_loop, plan_loops, total_frames
from ea_data.mask_strategy.prompts import loop_texts, read_prompt, split_prompt, split_references
from ea_dit.text.cleaning import clean_caption

pytestmark = pytest.mark.parity

TEXT = {"source", "conventions"}
SECTIONS = {"parse", "placement", "loop_traces", "prompt_per_loop", "prompt_json_suffix", "training_masks"}
FILES = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((goldens() / "opensora" / "mask").glob("*.json"))
]
# What the recorded program was given where a case says nothing, and what its reference files held.
RUN = {"loop": 1, "num_frames": 8, "condition_frame_length": CONDITION_FRAMES, "num_sample": 1}
FILE_NUMBERS = {1: "img", 2: "vid8", 3: "vid20"}


def cases(section):
    return [case for file in FILES for case in file.get(section, [])]


def ids(key):
    return lambda case: str(case.get(key))


def masks(text):
    return [character == "1" for character in text]


def test_every_section_is_known():
    assert FILES
    found = {section for file in FILES for section in file}
    assert unknown(found, supported=SECTIONS | TEXT, not_yet=()) == []
    assert found >= SECTIONS


# --------------------------------------------------------------------------------------------------- strings


def in_range(loop, _reference, _source, _target, length, ratio):
    """Negative loops never come; the sampler knows ratios from 0 to 1."""
    return loop >= 0 and length >= 0 and 0 <= ratio <= 1


@pytest.mark.parametrize("case", cases("parse"), ids=ids("string"))
def test_strings(case):
    converted = case.get("converted", case)
    if "error" in converted or not all(in_range(*group) for group in converted):
        with pytest.raises(ValueError, match=r"^character \d+ \(.*▸.*\): expected "):
            parse_strategy(case["string"])
        return
    strategy = parse_strategy(case["string"])
    groups = [list(vars(group).values()) for group in strategy.groups]
    assert groups == converted
    assert parse_strategy(strategy.to_text()) == strategy


# ------------------------------------------------------------------------------------------------ placements


def is_inside(group, frames, lengths):
    """Whether a group asks for frames that are there, and puts them where there are frames."""
    if not -len(lengths) <= group.reference < len(lengths):
        return False
    available = lengths[group.reference]
    taken = 1 if available == 1 and group.length > 1 else group.length
    source = group.source_start + (available if group.source_start < 0 else 0)
    target = group.target_start + (frames if group.target_start < 0 else 0)
    there = 0 <= source <= available - taken and 0 <= target <= frames - group.length
    return group.length == 0 or there


def can_be_placed(case):
    try:
        strategies = [parse_strategy(text) for text in case["strategies"] if text is not None]
    except ValueError:
        return False
    groups = [group for strategy in strategies for group in strategy.in_loop(case["loop"])]
    return all(is_inside(group, case["num_frames"], case["reference_lengths"]) for group in groups)


def shown(plan):
    return " ".join("noise" if source is None else "r{}f{}".format(*source) for source in plan.sources())


@pytest.mark.parametrize("case", cases("placement"), ids=lambda case: f"{case['strategies']}-{case['loop']}")
def test_placements(case):
    frames, lengths, loop = case["num_frames"], case["reference_lengths"], case["loop"]

    def plans():
        strategies = [None if text is None else parse_strategy(text) for text in case["strategies"]]
        return [plan_loop(one, loop, frames=frames, reference_lengths=lengths) for one in strategies]

    try:
        groups = [
            group for text in case["strategies"] if text for group in parse_strategy(text).in_loop(loop)
        ]
        inside = all(is_inside(group, frames, lengths) for group in groups) and "" not in case["strategies"]
    except ValueError:
        inside = False
    if not inside:
        with pytest.raises(ValueError, match=r"^(mask strategy .*: (reference|the clip) .*|character .*)$"):
            plans()
        return
    assert [shown(plan) for plan in plans()] == case["ok"]["frames"]
    expected = np.array(case["ok"]["mask"], dtype=np.float32)
    assert np.array_equal(np.stack([plan.edit_ratios() for plan in plans()]), expected)


# ----------------------------------------------------------------------------------------------------- loops


def is_one_request_each(case):
    """A request has one prompt and its own references: lists of different lengths cannot be written."""
    config = case["config"]
    lists = [config[key] for key in ("prompt", "reference_path", "mask_strategy") if key in config]
    return len({len(values) for values in lists}) == 1


TRACES = [case for case in cases("loop_traces") if is_one_request_each(case)]


def length_of(name):
    return 1 if name == "img" else int(name.removeprefix("vid"))


def requests(config):
    """(texts of the loops, references, plans) of every prompt; what stands in a prompt counts first."""
    run = RUN | config
    for number, given in enumerate(config["prompt"]):
        prompt = read_prompt(given)
        path = config.get("reference_path", [None] * (number + 1))[number]
        text = config.get("mask_strategy", [None] * (number + 1))[number]
        references = prompt.references or (() if path is None else split_references(path))
        strategy = prompt.strategy or (None if text is None else parse_strategy(text))
        plans = plan_loops(
            strategy,
            frames=run["num_frames"],
            reference_lengths=[length_of(name) for name in references],
            loops=run["loop"],
            condition_frames=run["condition_frame_length"],
        )
        yield loop_texts(prompt.text, run["loop"]), references, plans


def is_dropped(config):
    """Whether the program would drop a text, a group or a whole loop without a word."""
    run = RUN | config
    starts = [int(n) for prompt in config["prompt"] for n in re.findall(r"\|(\d+)\|", prompt)]
    texts = [text for text in config.get("mask_strategy", []) if text]
    groups = [group for text in texts for group in parse_strategy(text).groups]
    return (
        any(start >= run["loop"] for start in starts)
        or any(group.loop >= run["loop"] for group in groups)
        or (run["loop"] > 1 and run["condition_frame_length"] >= run["num_frames"])
    )


def name_of(reference, frame, references, history):
    """A planned source: a frame of a file, or what the sampler made in a call."""
    if reference < len(references):
        return (references[reference], frame)
    return history[reference - len(references)][frame]


def said(name):
    """What a trace calls a frame; it numbers the files."""
    match = re.fullmatch(r"ref\(base(\d+),frame(\d+)\)", name)
    return (FILE_NUMBERS[int(match[1])], int(match[2])) if match else name


@pytest.mark.parametrize("case", TRACES, ids=ids("case"))
def test_loops(case):
    config = case["config"]
    if "error" in case or is_dropped(config):
        with pytest.raises(ValueError, match=r"allowed|expected"):
            list(requests(config))
        return
    calls = iter(enumerate(case["sampler_calls"]))
    batch = config.get("batch_size", 1)
    prompts = list(requests(config))
    saved = iter(case["saved"])
    for begin in range(0, len(prompts), batch):
        group = prompts[begin : begin + batch]
        for _ in range(config.get("num_sample", 1)):
            for (_, _, plans), clips in zip(group, play(group, calls), strict=True):
                video = [
                    frame for plan, clip in zip(plans, clips, strict=True) for frame in clip[plan.overlap :]
                ]
                assert video == [said(name) for name in next(saved)["frames"]]
                assert len(video) == total_frames(plans)
    assert next(calls, None) is None
    assert next(saved, None) is None


def play(prompts, calls):
    """Follow the plans of a batch through the recorded calls; returns the clips of every item."""
    made = [[] for _ in prompts]
    for loop in range(len(prompts[0][2])):
        number, call = next(calls)
        assert call["loop"] == loop
        assert call["prompts"] == [clean_caption(texts[loop]) for texts, _, _ in prompts]
        for item, (_, references, plans) in enumerate(prompts):
            start = [
                "noise" if source is None else name_of(*source, references, made[item])
                for source in plans[loop].sources()
            ]
            assert start == [said(name) for name in call["start_frames"][item]]
            ratios = plans[loop].edit_ratios()
            assert np.array_equal(ratios, np.array(call["mask"][item], dtype=np.float32))
            # The recording sampler returns kept frames as they are and makes all others.
            made[item].append(
                [
                    name if ratio == 0 else f"gen(call{number},item{item},frame{frame})"
                    for frame, (name, ratio) in enumerate(zip(start, ratios, strict=True))
                ]
            )
    return made


# --------------------------------------------------------------------------------------------------- prompts


def is_every_text_shown(prompt, loops):
    """Whether the loops named in a prompt rise and are there."""
    if not prompt.startswith("|0|"):
        return re.match(r"\|\d+\|", prompt) is None
    starts = prompt.split("|")[1::2]
    numbers = [int(start) for start in starts if start.strip().isdecimal()]
    rising = all(one < later for one, later in pairwise(numbers))
    return len(numbers) == len(starts) and rising and numbers[-1] < loops


@pytest.mark.parametrize("case", cases("prompt_per_loop"), ids=ids("prompts"))
def test_texts_of_loops(case):
    loops = case["loops"]
    if not all(is_every_text_shown(prompt, loops) for prompt in case["prompts"]):
        with pytest.raises(ValueError, match=r"^character \d+ \(.*▸.*\): (expected |texts for loops begin)"):
            [loop_texts(prompt, loops) for prompt in case["prompts"]]
        return
    texts = [[clean_caption(text) for text in loop_texts(prompt, loops)] for prompt in case["prompts"]]
    assert texts == case["ok"]


@pytest.mark.parametrize("case", cases("prompt_json_suffix"), ids=ids("prompts"))
def test_options_after_a_prompt(case):
    if "ok" in case:
        found = [split_prompt(prompt) for prompt in case["prompts"]]
        assert [[text for text, _ in found], [options for _, options in found]] == case["ok"]
        return
    for prompt in case["prompts"]:
        # Braces and brackets that begin no object break the released program; here they are text.
        if re.search(r'\{\s*"', prompt):
            with pytest.raises(ValueError, match=r"^(character \d+|the options after the prompt have) "):
                read_prompt(prompt)
        else:
            assert read_prompt(prompt).text == prompt


# --------------------------------------------------------------------------------------------- training masks


def draws(seed, ratios, frames, count):
    rng = Random(seed)
    return [random_frame_mask(rng, frames, ratios)[1].tolist() for _ in range(count)]


DRAWS = 400
"""So many masks were recorded per kind and length: the counts of distinct ones tell."""

KINDS = [
    pytest.param(kind, int(frames), case, id=f"{kind}-{frames}")
    for file in FILES
    for kind, by_length in file["training_masks"]["per_kind"].items()
    for frames, case in by_length.items()
]


@pytest.mark.parametrize(("kind", "frames", "case"), KINDS)
def test_training_masks(kind, frames, case):
    if "error" in case or (kind.endswith("head_tail") and frames == 2):
        # The release fails, or gives every frame and leaves nothing to learn.
        given = 2 if kind.endswith("head_tail") and frames > 2 else 1
        assert {frames - sum(mask) for mask in draws(0, {kind: 1.0}, frames, 50)} == {given}
        return
    seed, first = case["first_six_with_seed"]
    many = draws(seed, {kind: 1.0}, frames, DRAWS)
    assert many[: len(first)] == [masks(text) for text in first]
    assert sorted({frames - sum(mask) for mask in many}) == case["conditioned_frame_counts"]
    distinct = {tuple(mask) for mask in many}
    assert len(distinct) == case["distinct_masks"]
    if "all_distinct" in case:
        assert distinct == {tuple(masks(text)) for text in case["all_distinct"]}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=str(case["python_random_seed"])) for file in FILES
     for case in file["training_masks"]["sequences"]],
)  # fmt: skip
def test_sequences_of_training_masks(case):
    ninths = dict.fromkeys(FRAME_MASK_KINDS, 1 / 9)
    ratios = ninths if "ratios" in case else RELEASED_RATIOS
    expected = [masks(text) for text in case["masks"]]
    assert draws(case["python_random_seed"], ratios, case["T"], len(expected)) == expected


def test_training_ratios():
    for file in FILES:
        recorded = file["training_masks"]
        assert recorded["kinds_in_order"] == list(FRAME_MASK_KINDS)
        assert recorded["ratios_of_all_three_stage_configs"] == dict(RELEASED_RATIOS)
        for text, result in recorded["validation"].items():
            if "error" in result:
                with pytest.raises(ValueError, match="allowed"):
                    check_ratios(json.loads(text))
            else:
                assert check_ratios(json.loads(text)) == json.loads(text)


def test_group_fields_are_in_the_order_of_a_string():
    assert Group(loop=0).to_text() == "0"
    assert list(vars(Group(loop=0))) == [
        "loop", "reference", "source_start", "target_start", "length", "edit_ratio",
    ]  # fmt: skip
