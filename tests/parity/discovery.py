"""Golden fixtures: recorded outputs of the original programs, found wherever they lie.

They are read from the directory that the environment variable EA_GOLDENS names, else from `goldens` beside
this file. Tests take their cases from here, so the same tests run on another set of the same shape.
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

# Index entries that only help to find the first difference between two programs.
DIAGNOSTIC_KINDS = frozenset({"trace"})


def goldens() -> Path:
    """The root of the fixtures."""
    return Path(os.environ.get("EA_GOLDENS") or Path(__file__).parent / "goldens")


@dataclass(frozen=True)
class Case:
    """One recorded call.

    Attributes:
        folder: Directory of the variant, with config.json and model.safetensors.
        info: The case's entry in case.json.
        index: The whole case.json.
    """

    folder: Path
    info: Mapping[str, Any]
    index: Mapping[str, Any]

    @property
    def variant(self) -> str:
        return self.folder.name

    @property
    def name(self) -> str:
        return self.info["name"]

    @property
    def kind(self) -> str:
        return self.info.get("kind", "")

    @property
    def id(self) -> str:
        return f"{self.variant}-{self.name}"

    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / self.info["file"])


def variants(group: str) -> list[Path]:
    """Directories with a case.json below a group such as "vae" or "transformer"."""
    return sorted(index.parent for index in goldens().glob(f"{group}/*/case.json"))


def cases_of(folder: Path) -> list[Case]:
    """All recorded calls of one variant."""
    index = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    entries = [info for info in index["cases"] if info.get("kind") not in DIAGNOSTIC_KINDS]
    return [Case(folder=folder, info=info, index=index) for info in entries]


def discover(group: str, *, supported: Collection[str]) -> list[Any]:
    """Pytest parameters for every case of the supported variants of a group."""
    folders = [folder for folder in variants(group) if folder.name in supported]
    return [pytest.param(case, id=case.id) for folder in folders for case in cases_of(folder)]


def record(*parts: str) -> Any:
    """What a JSON file of the fixtures holds; an empty dict where there is no such file."""
    path = goldens().joinpath(*parts)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def unknown(found: Collection[str], *, supported: Collection[str], not_yet: Collection[str]) -> list[str]:
    """Names that are neither supported nor listed as missing; a test must fail on them."""
    return sorted(set(found) - set(supported) - set(not_yet))


def assert_close(name: str, actual: Tensor, expected: Tensor, *, atol: float) -> None:
    """Compare by the largest absolute difference and say how large it is."""
    assert actual.shape == expected.shape, f"{name}: {list(actual.shape)} instead of {list(expected.shape)}"
    difference = (actual.float() - expected.float()).abs().max().item()
    assert difference <= atol, f"{name}: differs by {difference:.2e}, allowed {atol:.0e}"
