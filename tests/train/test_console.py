"""What a person reads of a run, as a plain log and in a terminal."""

import contextlib
import io
import os
import pty
import sys

from ea_train.loop.console import Console, in_words

VALUES = {
    "loss/generator": 1.8437,
    "grad_norm/generator": 1.157,
    "grad_norm_block/blocks.00": 1.0,
    "update_norm/generator": 0.5,
    "lr": 1e-4,
    "speed/seconds_per_step": 0.5,
    "speed/samples_per_second": 2.961,
    "speed/data_wait": 0.108,
    "speed/tflops": 0.0103,
    "minutes": 0.1,
}


def test_one_group_goes_without_its_name():
    words = "loss 1.844  grad norm 1.157  lr 0.0001  2.96 samples/s  10.3 GFLOP/s  data wait 11%"
    assert in_words(VALUES) == words


def test_several_groups_keep_their_names_and_short_waits_are_silent():
    values = {**VALUES, "loss/discriminator": 0.5, "speed/data_wait": 0.001, "speed/tflops": 12.0}
    words = in_words(values)
    assert words.startswith("loss/generator 1.844  grad norm/generator 1.157")
    assert "wait" not in words
    assert "12 TFLOP/s" in words


def test_a_validation_has_its_interval_and_no_eta():
    stream = io.StringIO()
    Console(stream, total=1000).line(50, {"val/loss": 1.25, "val/loss_interval": 0.031})
    assert stream.getvalue() == "step   50/1000  val loss 1.25 ± 0.031\n"


def test_lines_of_a_log_have_the_time_that_is_left():
    stream = io.StringIO()
    console = Console(stream, total=3)
    for step in (1, 2, 3):
        console.tick(step)
        console.line(step, VALUES)
    lines = stream.getvalue().splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["eta ?", "eta 0:00:00", "eta 0:00:00"]
    assert "\x1b" not in stream.getvalue()


def _all_of(leader):
    """What a terminal was told: one read brings a part of it. On Linux the end is an error."""
    parts = []
    with contextlib.suppress(OSError):
        while part := os.read(leader, 1 << 16):
            parts.append(part)
    os.close(leader)
    return b"".join(parts).decode()


def test_a_terminal_has_a_bar_below_the_lines():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        console = Console(stream, total=4, finished=1)
        for step in (2, 3, 4):
            console.tick(step)
            console.line(step, VALUES)
            print("a word of the data", file=sys.stderr)
        console.close()
    shown = _all_of(leader)
    assert "step 4/4  loss 1.844" in shown
    assert "4/4" in shown.replace("step 4/4", "")
    assert shown.count("loss 1.844") == 3
