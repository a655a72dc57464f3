"""Plans: the shipped ones open, and mistakes are told with their place before any work is done."""

import pytest
import yaml
from curation_corpus import FPS, pan

from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import load_plan, plan_names, plan_of
from ea_data.curation.registry import STAGES, find_stage, open_stage
from ea_data.media import write_video


def test_the_shipped_plans():
    assert plan_names() == ["easyanimate-v5", "offline", "open-sora-1.1", "paper", "prompts"]


@pytest.mark.parametrize("name", plan_names())
def test_a_plan_is_what_it_says(name):
    plan = load_plan(name)
    again = plan_of(name, yaml.safe_load(yaml.safe_dump(plan.to_mapping())))
    assert again == plan
    assert plan.about


def test_released_thresholds():
    steps = {step.label: step.options for step in load_plan("easyanimate-v5").steps}
    assert (steps["scenes"]["threshold"], steps["scenes"]["least_frames"]) == (27, 15)
    assert steps["probe"]["least_pixels"] == 512 * 512
    cut = steps["cut"]
    assert (cut["least_seconds"], cut["most_seconds"], cut["trim_seconds"], cut["crf"]) == (3, 10, 0.5, 22)
    assert (steps["consistency"]["least"], steps["aesthetics"]["least"], steps["match"]["least"]) == (
        0.8,
        4.0,
        0.2,
    )
    assert (steps["motion"]["least"], steps["motion"]["most"], steps["motion"]["method"]) == (
        2,
        20,
        "farneback",
    )
    assert (steps["text"]["most"], load_plan("paper").steps[6].options["most"]) == (0.02, 0.01)


def test_the_offline_plan_needs_nobody():
    stages = [step.opened() for step in load_plan("offline").steps]
    assert not any(stage.downloads() or stage.weights() for stage in stages)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_says_what_it_is(name):
    stage = find_stage(name)
    assert stage.name == name
    assert stage.summary
    options = set(stage.options_type.__dataclass_fields__)
    assert {*stage.thresholds, *stage.ways} <= options
    with pytest.raises(ValueError, match=f"{name}: unknown key 'nonsense'"):
        open_stage(name, {"nonsense": 1})


WRONG = {
    "no mapping": ([], "expected the keys about, list, stages"),
    "unknown key": ({"stages": ["probe"], "steps": []}, "unknown key 'steps'"),
    "no stages": ({"stages": []}, "expected a list of one or more stages"),
    "unknown stage": ({"stages": ["prob"]}, "there is no stage 'prob'; allowed: "),
    "two in one": ({"stages": [{"probe": {}, "looks": {}}]}, r"stages\[0\]: expected the name of a stage"),
    "twice": ({"stages": ["probe", "probe"]}, "'probe' comes twice; write probe/WORD"),
    "order": ({"stages": ["duplicates"]}, "duplicates needs 'print'; put looks before it"),
    "lost by cutting": (
        {"stages": ["probe", "looks", "scenes", "cut", "duplicates"]}, "duplicates needs 'print'"
    ),
    "option": ({"stages": [{"motion": {"method": "flow"}}]}, "motion.method: 'flow' is not one of"),
    "range": ({"stages": [{"text": {"most": 2}}]}, "most is 2; allowed: 0 to 1"),
    "list": ({"list": {"recursve": True}, "stages": ["probe"]}, "list: unknown key 'recursve'"),
    "nothing to list": ({"list": {"videos": False, "images": False}, "stages": ["probe"]}, "both false"),
    "about": ({"about": 3, "stages": ["probe"]}, "about: expected text"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_plans(case):
    values, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        plan_of("mine", values)


def test_a_plan_that_is_no_yaml(tmp_path):
    (tmp_path / "p.yaml").write_text("stages: [")
    with pytest.raises(ValueError, match="plan p: while parsing"):
        load_plan(str(tmp_path / "p.yaml"))


def test_what_is_missing_is_told_before_any_work(tmp_path):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", pan(1, 9, height=64, width=64), fps=FPS)
    plan = plan_of("mine", {"stages": ["probe", {"aesthetics": {"head": "nowhere.pth", "offline": True}}]})
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(name="inline"))
    assert not (tmp_path / "out").exists()
