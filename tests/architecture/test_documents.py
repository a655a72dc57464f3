"""What documents say is there is there: commands, options, settings, presets, Python names, links."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import shlex
from functools import cache

import pytest
from source_tree import ROOT

COMPATIBILITY = ROOT / "docs" / "compatibility.md"
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])
STATES = ("here", "another way:", "not yet", "on purpose not:")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
PLACEHOLDER = re.compile(r"[A-Z…<]")
SETTING = re.compile(r"(?:loop|optim|task|caches)\.[a-z0-9_.]+")
PRESET = re.compile(r"(?:v\d(?:\.\d)?|open-sora)-[a-z0-9.-]+")


@cache
def _parsers():
    from ea_app.cli.parser import build_parser
    from ea_data.cli import build_parser as data_parser
    from ea_train.cli import parser as train_parser

    return {"ea-app": build_parser(), "ea-data": data_parser(), "ea-train": train_parser()}


def _below(parser):
    """Subcommands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def _options(parser):
    found = set(parser._option_string_actions)
    for below in _below(parser).values():
        found |= _options(below)
    return found


def _mistake(text):
    """What is wrong with a command line of ours, None if nothing is."""
    words = shlex.split(text, comments=True)
    parser = _parsers()[words[0]]
    for word in words[1:]:
        flag = word.split("=")[0]
        if flag.startswith("--"):
            if flag not in _options(parser):
                return f"{text}: no option {flag}"
        elif below := _below(parser):
            if word in below:
                parser = below[word]
            elif not PLACEHOLDER.match(word):
                return f"{text}: no command {word}"
    return None


def _commands(document):
    """Command lines of ours, in spans and in blocks."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.split("uv run ")[-1] for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [span.split("uv run ")[-1] for span in SPAN.findall(prose) if not _is_planned(prose, span)]
    return [line for line in lines + spans if line.split(" ")[0] in _parsers()]


def _is_planned(text, span):
    """Whether every line with this span says that it is not yet there."""
    lines = [line for line in text.splitlines() if f"`{span}`" in line]
    return all("| not yet" in line for line in lines)


def _rows():
    """(what is there, what is here) of every table of the page on compatibility that compares the two."""
    compares = False
    for line in COMPATIBILITY.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            compares = False
        elif cells == ["there", "here"]:
            compares = True
        elif compares and set(cells[0]) != {"-"}:
            yield cells[0], cells[-1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(document):
    assert [mistake for line in _commands(document) if (mistake := _mistake(line))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document):
    links = LINK.findall(document.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_every_row_has_a_state():
    assert [there for there, here in _rows() if not here.startswith(STATES)] == []


def test_options_that_rows_name_are_ours():
    known = set().union(*map(_options, _parsers().values()))
    spans = [span for _, here in _rows() if not here.startswith("not yet") for span in SPAN.findall(here)]
    named = {span.split()[0].split("=")[0] for span in spans if span.startswith("--")}
    assert sorted(named - known) == []


def test_what_is_not_yet_there_is_not_there():
    spans = [span for _, here in _rows() if here.startswith("not yet") for span in SPAN.findall(here)]
    known = set().union(*map(_options, _parsers().values()))
    arrived = [span for span in spans if span.startswith("--") and span.split()[0] in known]
    arrived += [span for span in spans if span.split(" ")[0] in _parsers() and _mistake(span) is None]
    assert arrived == [], "these are here now: say so in docs/compatibility.md"


def test_settings_presets_and_python_names_exist():
    from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
    from ea_dit.families.mmdit.presets import PRESETS as MMDIT
    from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
    from ea_dit.pipelines import GenerationRequest
    from ea_dit.pipelines.tiny import TINY
    from ea_train import schema
    from ea_train.cli import RECIPES
    from ea_train.recipes import find

    settings = set()
    for name in RECIPES:
        for setting in schema.flatten(schema.to_mapping(find(name).config("tiny"))):
            parts = setting.removeprefix("pictures.").split(".")
            settings |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    presets = {*TINY, *HUNYUAN3D, *MMDIT, *PIXART}
    fields = {field.name for field in dataclasses.fields(GenerationRequest)}
    wrong = []
    for there, here in _rows():
        for span in SPAN.findall(here):
            if SETTING.fullmatch(span) and span not in settings:
                wrong.append(f"{there}: no setting {span}")
            if PRESET.fullmatch(span) and span not in presets:
                wrong.append(f"{there}: no preset {span}")
            if span.startswith("request.") and span.removeprefix("request.") not in fields:
                wrong.append(f"{there}: no field {span}")
            if re.fullmatch(r"ea_[a-z]+(\.\w+)+", span) and not _exists(span):
                wrong.append(f"{there}: no name {span}")
    assert wrong == []


def _exists(name):
    """Whether a dotted name can be imported."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False
