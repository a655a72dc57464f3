"""Files and functions stay small enough to be read in one go."""

from __future__ import annotations

from statistics import median

import pytest
from source_tree import PACKAGES, ROOT, functions_of, package_folder, python_files

FILE_LINES = 500
KERNEL_FILE_LINES = 700
MEDIAN_FILE_LINES = 180
FUNCTION_LINES = 60
KERNEL_FUNCTION_LINES = 120
PARAMETERS = 8


def _is_kernel(path):
    return "triton_ops" in path.parts


def test_files_stay_within_their_budget():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    over = {
        str(path.relative_to(ROOT)): count
        for path, count in lines.items()
        if count > (KERNEL_FILE_LINES if _is_kernel(path) else FILE_LINES)
    }
    assert not over, f"split these files (at most {FILE_LINES} lines, kernels {KERNEL_FILE_LINES}): {over}"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_median_file_is_short(package, record_property):
    counts = [
        len(path.read_text(encoding="utf-8").splitlines()) for path in package_folder(package).rglob("*.py")
    ]
    record_property("median_file_lines", median(counts))
    assert median(counts) <= MEDIAN_FILE_LINES


def test_functions_stay_within_their_budget():
    over = {
        function.place: function.lines
        for path in python_files()
        for function in functions_of(path)
        if function.lines > (KERNEL_FUNCTION_LINES if _is_kernel(path) else FUNCTION_LINES)
    }
    assert not over, f"split these functions (at most {FUNCTION_LINES} lines without docstring): {over}"


def test_parameter_lists_stay_within_their_budget():
    over = {
        function.place: function.parameters
        for path in python_files()
        if not _is_kernel(path) and "tests" not in path.parts
        for function in functions_of(path)
        if function.parameters > PARAMETERS
    }
    assert not over, f"group these parameters (at most {PARAMETERS}): {over}"
