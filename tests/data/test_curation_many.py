"""The drawn corpus with more than 200 files, by two processes."""

import pytest
from curation_corpus import FPS, SCENE, make_corpus
from curation_workers import rows_of

from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import load_plan


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_planted_fault_of_many_is_found_and_no_clean_clip_is_lost(tmp_path):
    expected = make_corpus(tmp_path / "in", copies=10)
    assert len(list((tmp_path / "in").iterdir())) >= 200
    plan = load_plan("offline", ("text.frames=1", "text.side=320"))
    curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(workers=2), samples=4)
    found = {row["file"]: row["stage"] for row in rows_of(tmp_path / "out" / "excluded.jsonl")}
    kept = rows_of(tmp_path / "out" / "metadata.jsonl")
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] not in expected[name].split(" or ")] == []
    clean = {row["source"] for row in kept if row["source"].startswith("clean")}
    assert clean == {f"clean{number}.mp4" for number in range(30)}
    cuts = [row["start"] for row in kept if row["file_path"].endswith("_1.mp4")]
    assert len(cuts) == 10
    assert all(abs(start * FPS - SCENE) <= 1 for start in cuts)
