"""Networks are named so that they always mean the same weights."""

import re

import pytest
from curation_corpus import FPS, pan
from curation_workers import rows_of

from ea_data.control.kinds import KINDS
from ea_data.curation import network_marks
from ea_data.curation.curate import Engines, curate
from ea_data.curation.network_marks import network_mark, unpinned
from ea_data.curation.plan import load_plan, plan_names, plan_of
from ea_data.curation.registry import STAGES, find_stage, open_stage
from ea_data.curation.stages.clean import Clean
from ea_data.media import write_video

PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")


@pytest.mark.parametrize("name", STAGES)
def test_default_networks_of_stages_name_a_commit(name):
    default = find_stage(name).options_type()
    assert PINNED.fullmatch(found) if (found := getattr(default, "weights", "")) else True


@pytest.mark.parametrize("name", plan_names())
def test_networks_of_shipped_plans_name_a_commit(name):
    found = [step.options["weights"] for step in load_plan(name).steps if step.options.get("weights")]
    assert all(PINNED.fullmatch(weights) for weights in found)
    assert bool(found) == (name not in ("offline", "prompts"))


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.has_weights])
def test_networks_of_control_signals_name_a_commit(kind):
    options = KINDS[kind].options()
    named = [getattr(options, name) for name in ("weights", "detector") if hasattr(options, name)]
    assert all(PINNED.fullmatch(weights) for weights in named)


def test_a_name_without_a_commit_is_told_with_the_one_that_was_found(monkeypatch, tmp_path):
    commit = "a" * 40
    monkeypatch.setattr(network_marks, "pinned", lambda _, given: f"{given.partition('@')[0]}@{commit}")
    names = ("some/one", f"some/two@{'b' * 40}", "some/three@main", str(tmp_path))
    assert list(unpinned("match", names)) == [
        f"match: some/one names no commit and may change; this run uses some/one@{commit}",
        f"match: some/three@main names no commit and may change; this run uses some/three@{commit}",
    ]
    monkeypatch.setattr(network_marks, "pinned", lambda _, given: given)
    (line,) = unpinned("match", ["some/one"])
    assert line.endswith("the run cannot tell which commit it uses")


def test_a_directory_is_marked_by_its_bytes(tmp_path):
    for name in ("one", "two/one"):
        (tmp_path / name / ".cache").mkdir(parents=True)
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    first = network_mark(str(tmp_path / "one"))
    assert first == network_mark(str(tmp_path / "two" / "one"))
    (tmp_path / "one" / ".cache" / "x").write_bytes(b"x")
    assert network_mark(str(tmp_path / "one")) == first
    (tmp_path / "one" / "model.safetensors").write_bytes(b"Weights")
    assert network_mark(str(tmp_path / "one")) != first
    with pytest.raises(ValueError, match="allowed: a file or directory that exists"):
        network_mark("nowhere")


def test_a_changed_model_measures_its_stage_anew_and_only_that(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_video(tmp_path / "in" / f"{number}.mp4", pan(number, 4, height=64, width=64), fps=FPS)
    (tmp_path / "model").write_bytes(b"one")
    monkeypatch.setattr(Clean, "networks", lambda _: (str(tmp_path / "model"),))
    monkeypatch.setattr(Clean, "weights", lambda stage: stage.model())
    plan = plan_of("p", {"stages": ["captions", "clean"]})

    def measured():
        report = curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(name="inline"), samples=0)
        return [count.measured for count in report.counts]

    assert measured() == [0, 2, 2]
    assert measured() == [0, 0, 0]
    (tmp_path / "model").write_bytes(b"two")
    assert measured() == [0, 0, 2]
    marks = {row["models"] for row in rows_of(tmp_path / "out" / "metadata.jsonl")}
    assert marks == {f"clean: {network_mark(str(tmp_path / 'model'))}"}


class _Hub:
    """As much of huggingface_hub as is used; nothing is here yet."""

    def __init__(self, real, folder):
        self.errors, self.constants, self._folder, self.asked = real.errors, real.constants, folder, []

    def hf_hub_download(self, *, repo_id, revision, filename, local_files_only=False, dry_run=False):
        from huggingface_hub.file_download import DryRunFileInfo

        path = self._folder / filename
        if local_files_only:
            raise self.errors.LocalEntryNotFoundError("not here")
        if dry_run:
            self.asked.append((f"{repo_id}@{revision}", filename))
            return DryRunFileInfo("c0ffee", 100_000_000, filename, str(path), False, True)
        path.touch()
        return str(path)


def test_a_stage_tells_all_that_it_downloads_at_its_commit(tmp_path, monkeypatch):
    import huggingface_hub.constants
    import huggingface_hub.errors

    hub = _Hub(huggingface_hub, tmp_path)
    monkeypatch.setattr("ea_data.control.networks.source.load", lambda _: hub)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    stage = open_stage("match", {})
    told = stage.downloads()
    assert told == f"match: downloading 500 MB: 5 files of {stage.options.weights}"
    assert {where for where, _ in hub.asked} == {stage.options.weights}
    assert "tokenizer.json" in {name for _, name in hub.asked}
