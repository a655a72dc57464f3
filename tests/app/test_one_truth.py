"""Numbers that exist twice because the command line must not import torch."""

from __future__ import annotations

import subprocess
import sys

from ea_app import hub, options
from ea_app.model_info import ModelInfo
from ea_dit.pipelines import request
from ea_dit.pipelines.variants import Traits
from ea_kernels.runtime import pickles


def test_the_options_allow_what_requests_allow():
    assert options.MAX_SEED == request.MAX_SEED == options.option("seed").maximum
    limits = {name: options.option(name).maximum for name in ("frames", "window", "steps", "fps", "guidance")}
    assert limits == {
        "frames": request.MAX_LONG_FRAMES,
        "window": request.MAX_FRAMES,
        "steps": request.MAX_STEPS,
        "fps": request.MAX_FPS,
        "guidance": request.MAX_GUIDANCE,
    }


def test_models_that_do_not_say_otherwise_allow_what_requests_allow():
    info = ModelInfo(name="x")
    assert (info.min_side, info.max_side) == (request.MIN_SIDE, request.MAX_SIDE)
    assert info.max_frames == request.MAX_FRAMES
    assert info.size_multiple == options.SIDE_MULTIPLE == Traits.size_multiple


def test_what_counts_as_a_pickle():
    assert hub.PICKLES == pickles.SUFFIXES


def test_help_and_options_need_no_torch():
    code = (
        "import sys, ea_app.cli.parser, ea_app.catalog, ea_app.api.job\n"
        "sys.exit('torch' in sys.modules or 'ea_dit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
