"""The recipes of the default model run on machines that have little more than torch."""

import subprocess
import sys

ABSENT = ("accelerate", "av", "diffusers", "gradio", "pydantic", "tensorboard")

SCRIPT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
import ea_train.bundle, ea_train.loop.trainer
from ea_train.recipes import find
for name in ("default-vae", "default-text", "default-dit"):
    find(name).config("gpu")
"""


def test_recipes_import_without_media_or_launchers():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
