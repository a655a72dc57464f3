"""What the Dockerfile and the compose files say exists: commands, options, stages, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ea_app.cli.parser import build_parser

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
CUDA = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text(encoding="utf-8"))


def _instructions():
    """Pairs of instruction and text, with continued lines joined and comments dropped."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.strip().split(None, 1)) for line in text.splitlines() if line.strip()]


def _stages():
    """Instructions by stage."""
    stages, name = {}, None
    for word, text in _instructions():
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", text).groups()
            stages[name] = [("FROM", base)]
        elif name is not None:
            stages[name].append((word, text))
    return stages


def _inherited(name):
    """Instructions of a stage and of those that it is built on."""
    stage = _stages()[name]
    base = stage[0][1]
    return (_inherited(base) if base in _stages() else []) + stage


def _services():
    return COMPOSE["services"].items()


def test_base_images_are_named_plainly():
    bases = {stage[0][1] for stage in _stages().values()} - set(_stages())
    assert bases == {"python:${PYTHON}-slim"}
    assert ("ARG", "PYTHON=3.12") in _instructions()
    assert "--from=" not in DOCKERFILE.replace("--from=cpu-environment", "").replace(
        "--from=cuda-environment", ""
    )
    assert not re.search(r"https?://(?!127\.0\.0\.1)|curl|wget|--mount|ADD ", DOCKERFILE)


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_a_stage_runs_the_server_as_nobody_special(stage):
    steps = _inherited(stage)
    assert [text for word, text in steps if word == "USER"][-1] == "10001"
    assert [text for word, text in steps if word == "ENTRYPOINT"] == ['["ea-app"]']
    assert ("STOPSIGNAL", "SIGTERM") in steps
    (command,) = [json.loads(text) for word, text in steps if word == "CMD"]
    arguments = build_parser().parse_args(command)
    assert (arguments.command, arguments.host) == ("serve", "0.0.0.0")
    (check,) = [text for word, text in steps if word == "HEALTHCHECK"]
    assert f"http://127.0.0.1:{arguments.port}/health" in check
    assert ("EXPOSE", arguments.port) in steps


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for word, text in _instructions():
        if word == "COPY" and not text.startswith("--from"):
            for name in text.split()[:-1]:
                assert (ROOT / name).exists()
                assert f"!{name}" in ignored
    packages = re.search(r"for package in (.*?);", DOCKERFILE)[1].split()
    assert all((ROOT / "packages" / name / "pyproject.toml").is_file() for name in packages)
    needed = _needed("ea-app")
    assert set(packages) == needed


def _needed(package):
    """A package with all of ours that it needs."""
    import tomllib

    text = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
    found = {package}
    for requirement in tomllib.loads(text)["project"]["dependencies"]:
        if (name := re.match(r"[a-z0-9-]+", requirement)[0]).startswith("ea-"):
            found |= _needed(name)
    return found


def test_the_health_check_is_a_program(tmp_path):
    (check,) = [text for word, text in _instructions() if word == "HEALTHCHECK"]
    command = json.loads(check.split("CMD ", 1)[1])
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True)
    assert done.returncode != 0  # nobody listens here
    assert "SyntaxError" not in done.stderr


@pytest.mark.parametrize("name", ["serve", "ui"])
def test_a_service_starts_a_command_that_exists(name):
    service = COMPOSE["services"][name]
    arguments = build_parser().parse_args(service["command"])
    assert arguments.command == name
    (port,) = service["ports"]
    assert port == f"127.0.0.1:{arguments.port}:{arguments.port}"
    assert arguments.state.startswith("/data/")
    assert arguments.token is None  # from the environment, where others do not see it
    check = " ".join(service.get("healthcheck", {}).get("test", []))
    assert name == "serve" or str(arguments.port) in check


def test_services_may_do_no_more_than_they_need():
    states = set()
    for _, service in _services():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["environment"]["EA_TOKEN"].startswith("${EA_TOKEN:?")
        state, models = service["volumes"]
        assert models.endswith(":/models:ro")
        volume, _, target = state.partition(":")
        assert target == "/data"
        assert volume in COMPOSE["volumes"]
        states.add(volume)
    assert len(states) == len(COMPOSE["services"])  # one process runs the jobs of a folder


def test_stages_that_are_built_exist():
    for name, service in _services():
        assert service["build"]["target"] in _stages()
        gpu = CUDA["services"][name]
        assert gpu["build"]["target"] in _stages()
        (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
        assert device["capabilities"] == ["gpu"]
    assert set(CUDA["services"]) == set(COMPOSE["services"])


def test_the_studio_takes_the_token_of_the_environment(command, monkeypatch):
    monkeypatch.setenv("EA_TOKEN", "short")
    code, _, err = command("ui", "--host", "0.0.0.0")
    assert code == 2
    assert "token" in err
    assert "is needed" not in err
