"""Importing gradio without the files for editors that it writes meanwhile.

For each of its components gradio 6 parses the source, renders a template and rewrites a `.pyi` file beside it
when that is not up to date. That is half of the time of its import, writes into the installation, and several
programs that start at once write the same files. Nobody who runs the studio reads them. This module goes when
gradio has a switch for it.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_MODULE = "gradio.component_meta"
_WRITER = "create_or_modify_pyi"


@contextlib.contextmanager
def without_stubs() -> Iterator[None]:
    """Within it gradio is imported without writing; a gradio that is there already stays as it is."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    """Knows the one module that writes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Takes the writing function out of the module."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if hasattr(module, _WRITER):
            setattr(module, _WRITER, _nothing)


def _nothing(*_: object) -> None:
    """Where the files would be written."""
