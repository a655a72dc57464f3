"""What a model can do, asked in a process of its own."""

from __future__ import annotations

import pytest

from ea_app.api.abilities import ask, ask_all


def test_what_a_model_can_do_is_read_in_another_process(tiny_model, tmp_path):
    (tmp_path / "empty").mkdir()
    told = ask_all([str(tiny_model), str(tmp_path / "empty")])
    info, abilities = told[str(tiny_model)]
    assert (info.native_width, abilities.generation) == (32, "EasyAnimate V5.1")
    assert "is no model directory" in told[str(tmp_path / "empty")]
    with pytest.raises(ValueError, match="unknown model 'none-such'"):
        ask("none-such")
