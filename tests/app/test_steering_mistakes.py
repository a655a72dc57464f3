"""Wrong input to steering: one line that names the option or the file, exit code 2, nothing else printed."""

from __future__ import annotations

import pytest

from ea_app.api.extraction import Extraction
from ea_app.cli.console import Console
from ea_app.options import InputError
from ea_data.control.kinds import KINDS


def test_notes_of_a_job_wait_until_it_runs(capsys):
    console = Console(quiet=False)
    console.note_when_it_runs("seed: 1 (drawn)")
    with console.progress() as on_progress:
        on_progress("load", 1, 1)
        assert capsys.readouterr().err == ""
        on_progress("text", 0, 1)
        assert capsys.readouterr().err == "seed: 1 (drawn)\n"
        on_progress("denoise", 0, 1)
        assert capsys.readouterr().err == ""


def test_options_of_a_signal_that_do_not_go_together_are_named_after_theirs():
    pytest.importorskip("cv2")
    made = Extraction(kind=KINDS["canny"], options=KINDS["canny"].options(low=200.0, high=100.0))
    with pytest.raises(InputError, match=r"^control-options: low is 200 and high is 100"):
        made.apply(None)
