"""The installed command as a process: exit codes, speed of help, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

EA_APP = [sys.executable, "-c", "import sys; from ea_app.cli import main; sys.exit(main())"]


def _run(*arguments, **options):
    return subprocess.run([*EA_APP, *map(str, arguments)], capture_output=True, text=True, **options)


def test_help_is_instant_and_names_every_option():
    start = time.perf_counter()
    helped = _run("generate", "--help")
    seconds = time.perf_counter() - start
    assert helped.returncode == 0
    assert helped.stderr == ""
    for flag in ("--seed", "--size", "--frames", "--last-image", "--strength", "--device", "--debug"):
        assert flag in helped.stdout
    # The bar is one second; a loaded machine gets some more before this fails.
    assert seconds < 3


def test_help_and_mistakes_do_not_load_torch():
    code = (
        "import sys\nfrom ea_app.cli import main\n"
        "try:\n    main(['generate', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert main(['generate', 'x', '--frames', '0']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_mistake_in_a_process(tmp_path):
    done = _run("generate", " ", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ea-app: error: prompt: must not be empty; say what the video shows\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send the signal of Ctrl-C to one process")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),
        pytest.param("SIGHUP", 129, "terminated", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_end_is_one_line_and_leaves_nothing(tmp_path, tiny_model, number, code, word):
    (tmp_path / "out.mp4").write_text("precious")
    # Every step prints a line, so that the signal is sent while the model runs, however fast the machine is.
    talkative = "import ea_app.cli.console as console; console._SECONDS_BETWEEN_LINES = 0.0; "
    command = [EA_APP[0], "-c", talkative + EA_APP[2], "generate", "x", "--model", str(tiny_model)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--seed", "1", "--steps", "1000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("denoising") for line in lines)
    process.send_signal(getattr(signal, number) if isinstance(number, str) else number)
    out, err = process.communicate(timeout=200)
    assert process.returncode == code
    assert out == ""
    assert err.splitlines()[-1] == f"ea-app: {word}, nothing was written"
    assert "Traceback" not in err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_ctrl_c_while_modules_load_is_one_line(tmp_path):
    """The module of the options is the first that `main` imports; here it asks for an interruption."""
    (tmp_path / "interrupt.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ea_app.options':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import interrupt; {EA_APP[2]}"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "ea-app: interrupted, nothing was written\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.parametrize(("ignored", "code"), [(False, 129), (True, 7)])
def test_a_closed_terminal_ends_it_in_order_unless_it_is_to_be_ignored(ignored, code, tmp_path):
    """A command that hangs up its own process, cleans up, and else gives the exit code 7."""
    (tmp_path / "hang_up.py").write_text(
        "import os, signal\n"
        "def run(_parsed):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        return 7\n"
        "    finally:\n"
        "        print('removed')\n"
    )
    handler = "SIG_IGN" if ignored else "SIG_DFL"
    script = (
        f"import signal, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"import hang_up, ea_app.cli; sys.modules['ea_app.cli.models'] = hang_up\n"
        f"signal.signal(signal.SIGHUP, signal.{handler}); code = ea_app.cli.main(['models'])\n"
        f"assert signal.getsignal(signal.SIGHUP) == signal.{handler}; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    said = "" if ignored else "ea-app: terminated, nothing was written\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "removed\n", said)
