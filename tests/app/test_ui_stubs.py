"""gradio is imported without what it writes for editors."""

from __future__ import annotations

import importlib.util
import sys

from ea_app.ui.stubs import _Finder, without_stubs


def test_the_writing_function_is_taken_out():
    import gradio.component_meta as plain

    # When this fails, gradio has changed and ea_app.ui.stubs has nothing to do any more.
    assert callable(plain.create_or_modify_pyi)
    spec = _Finder().find_spec(plain.__name__, list(sys.modules["gradio"].__path__))
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.create_or_modify_pyi is not plain.create_or_modify_pyi
    # Nothing is read: there is no such source.
    assert again.create_or_modify_pyi(int, "int", []) is None


def test_no_other_module_is_touched():
    before = list(sys.meta_path)
    with without_stubs():
        assert sys.meta_path[1:] == before
        assert sys.meta_path[0].find_spec("gradio.blocks", None) is None
    assert sys.meta_path == before
