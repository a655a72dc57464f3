"""`ea-app comfy`."""

import argparse
import shutil
from importlib import resources
from pathlib import Path

from ea_app.cli.console import Console
from ea_app.options import InputError

NAME = "ea-app"
"""Of the folder in `custom_nodes`."""


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    console = Console(quiet=arguments.quiet)
    parent = Path(arguments.folder).expanduser()
    if not parent.is_dir():
        raise InputError("folder", f"{parent} is no folder; give the custom_nodes of a ComfyUI")
    source = Path(str(resources.files("ea_app") / "comfy" / "pack"))
    target = parent / NAME
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    console.say(f"wrote {target}; ComfyUI reads it when it starts")
    return 0
