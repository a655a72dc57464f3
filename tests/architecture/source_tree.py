"""What the architecture tests know about the tree: packages, files, functions, public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ea_app", "ea_data", "ea_dit", "ea_kernels", "ea_train", "ea_vae")
CODE_FOLDERS = ("packages/*/src", "tests", "benchmarks", "scripts")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """A function of the tree: where it stands, its lines of code without the docstring, its parameters."""

    place: str
    lines: int
    parameters: int


def package_folder(package: str) -> Path:
    """The importable folder of a package."""
    return ROOT / "packages" / package.replace("_", "-") / "src" / package


def python_files() -> list[Path]:
    """Every Python file that we write."""
    return sorted(
        path for pattern in CODE_FOLDERS for base in ROOT.glob(pattern) for path in base.rglob("*.py")
    )


@cache
def functions_of(path: Path) -> tuple[Function, ...]:
    """Every function and method of a file."""
    return tuple(_functions_of(path))


def _functions_of(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, FunctionNode):
            place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            yield Function(place, _lines_of_code(node), _count_parameters(node))


def _lines_of_code(node: FunctionNode) -> int:
    last = node.end_lineno or node.lineno
    docstring = ast.get_docstring(node, clean=False)
    first_statement = node.body[0]
    documentation = (first_statement.end_lineno or 0) - first_statement.lineno + 1 if docstring else 0
    return last - node.lineno + 1 - documentation


def _count_parameters(node: FunctionNode) -> int:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(1 for argument in named if argument.arg not in {"self", "cls"})


def public_names(package: str) -> dict[str, list[str]]:
    """Map every module of a package that states `__all__` to the names in it, sorted."""
    folder = package_folder(package)
    surface: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        names = _stated_all(ast.parse(path.read_text(encoding="utf-8")))
        if names is not None:
            parts = path.relative_to(folder.parent).with_suffix("").parts
            surface[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = sorted(names)
    return surface


def _stated_all(module: ast.Module) -> list[str] | None:
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None
