"""A stand-in for ComfyUI: the modules that nodes import, and an executor of saved workflows.

It does what the tests need and checks more than ComfyUI does: every input has to be known and of its type, a
choice one of the list, a number inside its range.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import torch

WIDGETS = ("INT", "FLOAT", "STRING")


class Interrupted(Exception):  # noqa: N818  (as ComfyUI's InterruptProcessingException)
    """What ComfyUI raises."""


class Host:
    """Folders and state of the stand-in; `install` puts its modules in place."""

    def __init__(self, models: Path, loras: Path) -> None:
        self.models, self.loras = models, loras
        self.interrupted, self.progress, self.bars = False, [], 0
        self.stop_after = None

    def install(self, monkeypatch):
        folder_paths = types.ModuleType("folder_paths")
        folder_paths.models_dir = str(self.models)
        folder_paths.get_filename_list = lambda kind: sorted(path.name for path in self.loras.glob("*"))
        folder_paths.get_full_path = self._full_path
        management = types.ModuleType("comfy.model_management")
        management.get_torch_device = lambda: torch.device("cpu")
        management.soft_empty_cache = lambda force=False: None
        management.processing_interrupted = lambda: self.interrupted
        management.throw_exception_if_processing_interrupted = self._throw
        utils = types.ModuleType("comfy.utils")
        utils.ProgressBar = self._bar
        comfy = types.ModuleType("comfy")
        comfy.utils, comfy.model_management = utils, management
        modules = {"folder_paths": folder_paths, "comfy": comfy}
        modules |= {"comfy.model_management": management, "comfy.utils": utils}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        return self

    def _full_path(self, kind, name):
        path = self.loras / name
        return str(path) if path.is_file() else None

    def _throw(self):
        if self.interrupted:
            self.interrupted = False
            raise Interrupted

    def _bar(self, total):
        self.bars += 1
        host = self

        class ProgressBar:
            def update_absolute(self, value, total=None, preview=None):
                host.progress.append((value, total, preview))
                if host.stop_after is not None and value >= host.stop_after:
                    host.interrupted = True

        return ProgressBar()


def is_widget(entry):
    """Whether an input is typed in."""
    forced = len(entry) > 1 and entry[1].get("forceInput")
    return not forced and (isinstance(entry[0], list) or entry[0] in WIDGETS)


def prompt_of(workflow, mappings):
    """A saved workflow as ComfyUI's page sends it: inputs by node, values or [node, output]."""
    origins = {link[0]: (link[1], link[2], link[5]) for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        inputs = {
            socket["name"]: origins[socket["link"]] for socket in node["inputs"] if socket["link"] is not None
        }
        inputs |= _widgets(node, mappings)
        prompt[node["id"]] = {"class_type": node["type"], "inputs": inputs, "order": node["order"]}
    return prompt


def _widgets(node, mappings):
    values = list(node["widgets_values"])
    names = []
    types_ = _types(mappings[node["type"]])
    for name, entry in types_.items():
        if is_widget(entry):
            names += [name, None] if name == "seed" else [name]  # the page adds "control after generate"
    assert len(names) == len(values), (node["type"], names, values)
    return {name: value for name, value in zip(names, values) if name is not None}


def _types(node):
    given = node.INPUT_TYPES()
    return {**given["required"], **given.get("optional", {})}


def validate(prompt, mappings):
    """Refuse what ComfyUI's page or server would."""
    for number, node in prompt.items():
        kind = mappings[node["class_type"]]
        types_ = _types(kind)
        place = f"{node['class_type']} {number}"
        assert set(node["inputs"]) <= set(types_), place
        assert set(kind.INPUT_TYPES()["required"]) <= set(node["inputs"]), place
        for name, value in node["inputs"].items():
            entry = types_[name]
            if isinstance(value, tuple):
                origin = mappings[prompt[value[0]]["class_type"]]
                assert origin.RETURN_TYPES[value[1]] == value[2] == entry[0], (place, name)
            elif isinstance(entry[0], list):
                assert value in entry[0], (place, name, value)
            elif entry[0] in ("INT", "FLOAT"):
                limits = entry[1]
                assert limits.get("min", 0) <= value <= limits.get("max", 2**64), (place, name, value)


def execute(prompt, mappings):
    """Run all nodes in order; returns their outputs by node, and those of the last one."""
    results = {}
    with torch.inference_mode():  # as ComfyUI does
        for number, node in sorted(prompt.items(), key=lambda pair: pair[1]["order"]):
            given = {
                name: results[value[0]][value[1]] if isinstance(value, tuple) else value
                for name, value in node["inputs"].items()
            }
            kind = mappings[node["class_type"]]
            results[number] = getattr(kind(), kind.FUNCTION)(**given)
    return results
