"""Every wheel imports alone, and importing does nothing but define names."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from source_tree import PACKAGES, ROOT

PROBE = Path(__file__).with_name("import_probe.py")
# What `import ea_x` alone must not bring in; the modules that need these import them when they are used.
HEAVY = {
    "accelerate", "av", "bitsandbytes", "cv2", "deepspeed", "diffusers", "fastapi", "flash_attn", "gradio",
    "matplotlib", "onnxruntime", "pandas", "ray", "scipy", "tensorboard", "torchcodec", "torchvision",
    "transformers", "uvicorn", "wandb",
}  # fmt: skip
# What not even the deepest module of a model package may bring in.
FOREIGN_TO_MODELS = {"accelerate", "av", "cv2", "deepspeed", "diffusers", "gradio", "imageio", "torchcodec"}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Build the six wheels and unpack each into a folder of its own."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("building wheels needs uv")
    built = tmp_path_factory.mktemp("wheels")
    command = [uv, "build", "--quiet", "--all-packages", "--wheel", "--offline", "--out-dir", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unpacked = {}
    for package in PACKAGES:
        (wheel,) = built.glob(f"{package}-*-py3-none-any.whl")
        unpacked[package] = built / package
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked[package])
        compileall.compile_dir(unpacked[package], quiet=2)  # once, not by every probe that imports it
    return unpacked


def _declared(folder):
    """What the metadata of an unpacked wheel requires without extras."""
    (info,) = folder.glob("*.dist-info")
    return [Requirement(text) for text in Distribution.at(info).requires or []]


def _closure(requirements, wheels):
    """Follow requirements to (our packages, other distributions), as an installer would."""
    ours, others, waiting = set(), {}, [(requirement, frozenset()) for requirement in requirements]
    while waiting:
        requirement, extras = waiting.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in extras or {""}):
            continue
        name = canonicalize_name(requirement.name)
        package = name.replace("-", "_")
        if package in wheels:
            if package not in ours:
                ours.add(package)
                waiting += [(inner, frozenset()) for inner in _declared(wheels[package])]
            continue
        wanted = frozenset(requirement.extras) | {""}
        if wanted <= others.get(name, frozenset()):
            continue
        others[name] = wanted | others.get(name, frozenset())
        try:
            waiting += [(Requirement(text), wanted) for text in distribution(name).requires or []]
        except PackageNotFoundError:
            others.pop(name)
    return ours, set(others)


def _link_distributions(names, folder):
    """Make a site-packages that holds these distributions and no other."""
    folder.mkdir()
    for installed in distributions():
        if canonicalize_name(installed.name) not in names:
            continue
        for top in {
            file.parts[0] for file in installed.files or [] if file.parts[0] not in {"..", "__pycache__"}
        }:
            source = Path(str(installed.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


def _import_in_isolation(package, folders, scratch):
    """Run the probe in an empty home; its report also lists what was left there."""
    home = scratch / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CUDA_VISIBLE_DEVICES": "",
        "TMPDIR": str(scratch),
    }
    command = [sys.executable, "-I", "-S", "-B", str(PROBE), package, *map(str, folders)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"left": sorted(path.name for path in home.rglob("*"))}


@pytest.fixture(scope="session")
def probe(wheels, tmp_path_factory):
    """Import a package from its wheel, with only what it declares, once per session."""
    reports = {}

    def run(package):
        if package not in reports:
            scratch = tmp_path_factory.mktemp(package)
            ours, others = _closure(_declared(wheels[package]), wheels)
            site = _link_distributions(others, scratch / "site")
            folders = [wheels[package], *(wheels[name] for name in sorted(ours)), site]
            reports[package] = _import_in_isolation(package, folders, scratch)
        return reports[package]

    return run


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_imports_alone(package, probe):
    assert probe(package)["failures"] == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_has_no_effect(package, probe):
    report = probe(package)
    assert report["effects"] == []
    assert report["left"] == []
    assert not report["device_initialised"]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_the_root_is_light(package, probe):
    assert HEAVY & set(probe(package)["after_root"]) == set()


def test_importing_the_app_does_not_load_torch(probe):
    assert "torch" not in probe("ea_app")["after_root"]


@pytest.mark.parametrize("package", ["ea_dit", "ea_kernels", "ea_vae"])
def test_model_packages_know_no_files_and_launchers(package, probe):
    assert FOREIGN_TO_MODELS & set(probe(package)["after_all"]) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_carries_its_type_marker(package, wheels):
    assert (wheels[package] / package / "py.typed").exists()


def test_the_probe_sees_what_an_import_does(tmp_path):
    module = tmp_path / "wheel" / "noisy" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text("import os\nos.environ['NOISE'] = '1'\nopen('noise.txt', 'w').close()\n")
    module.with_name("broken.py").write_text("import numpy\n")
    report = _import_in_isolation("noisy", [tmp_path / "wheel"], tmp_path)
    assert [effect.split()[0] for effect in report["effects"]] == ["os.putenv", "open"]
    assert report["left"] == ["noise.txt"]
    assert list(report["failures"]) == ["noisy.broken"]
