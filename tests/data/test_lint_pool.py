"""Files that take too long, or end the process that reads them, cost no other file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lint_corpus import video, write_rows
from lint_workers import look

from ea_data.lint.pool import inspect_files


def names(*stems):
    return [(Path(f"{stem}.mp4"), "video") for stem in stems]


def test_files_come_back_in_their_order():
    told = []
    stems = [f"clip{number}" for number in range(40)]
    facts = inspect_files(
        names(*stems), look, timeout=60, workers=2, progress=lambda done, total: told.append((done, total))
    )
    assert [each.digest for each in facts] == stems
    assert told == [(number, 40) for number in range(1, 41)]


def test_no_files_need_no_process():
    assert inspect_files([], look, timeout=60, workers=2) == []


def test_slow_and_deadly_files_cost_no_other():
    stems = ["a", "stubborn", "b", "exit", "c", "killed", "d"]
    facts = inspect_files(names(*stems), look, timeout=1, workers=2)
    assert [each.digest or each.problem for each in facts] == [
        "a",
        "timeout",
        "b",
        "timeout",
        "c",
        "timeout",
        "d",
    ]
    assert facts[1].message == "reading took more than 1 s"
    assert "ended its process" in facts[3].message
    assert "ended its process" in facts[5].message


def children(parent):
    """Processes below a process, by /proc."""
    tree = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = entry.read_text().split(" ", 1)
            tree.setdefault(int(rest.rsplit(")", 1)[1].split()[1]), []).append(int(pid))
        except OSError:
            continue
    found = list(tree.get(parent, []))
    for child in found:
        found.extend(tree.get(child, []))
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


in_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def started(words, folder, least):
    """A process in a session of its own, and those below it once there are as many."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    # Shells have what they run in the background ignore Ctrl-C, which processes would inherit.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    signal.signal(signal.SIGINT, ours)
    deadline = time.monotonic() + 100
    while len(below := children(process.pid)) < least and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None
    return process, below


def all_end(pids):
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not [pid for pid in pids if is_alive(pid)]


@in_proc
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGINT, 130, "ea-data lint: stopped\n"), (signal.SIGTERM, 143, "")],
)
def test_an_interrupted_run_leaves_neither_files_nor_processes(tmp_path, number, code, told):
    row = video(tmp_path, 0)
    for link in range(2000):  # other names for the same clip, so that there is something to do
        (tmp_path / f"link{link}.mp4").hardlink_to(tmp_path / row["file_path"])
    rows = [{**row, "file_path": f"link{link}.mp4"} for link in range(2000)]
    write_rows(tmp_path / "train.jsonl", rows)
    (tmp_path / "recipe.json").write_text("{}")
    before = set(tmp_path.iterdir())
    words = ["lint", "train.jsonl", "--recipe", "recipe.json", "--json", "out.json", "--report", "out"]
    process, below = started(["-m", "ea_data.cli", *words, "--workers", "2"], tmp_path, 3)
    os.killpg(process.pid, number)
    out, error = process.communicate(timeout=100)
    assert (process.returncode, out, error) == (code, "", told)
    assert all_end(below)
    assert set(tmp_path.iterdir()) == before


@in_proc
def test_processes_end_with_the_one_that_began_them(tmp_path):
    code = (
        "from pathlib import Path; from ea_data.lint.pool import inspect_files\n"
        "from lint_workers import look\n"
        "inspect_files([(Path('slow.mp4'), 'video')] * 2, look, timeout=600, workers=2)"
    )
    process, below = started(["-c", code], tmp_path, 3)
    process.kill()
    process.communicate(timeout=100)
    assert all_end(below)
