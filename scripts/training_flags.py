"""Write docs/training-flags.md from the table of flags.

python scripts/training_flags.py
"""

from __future__ import annotations

from pathlib import Path

from ea_train.compat.table import LISTS, SCRIPTS, Flag, Section, sections

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "training-flags.md"
INTRODUCTION = """\
# Training flags

Every flag of the training scripts of EasyAnimate (V4 to V5.1) and of Open-Sora 1.1, and where it went; how
to run commands with them is said in [training-commands.md](training-commands.md). Written by
`python scripts/training_flags.py` from `ea_train/compat/flags.toml`.

| word | meaning |
|---|---|
| same | the setting has the flag's own name and meaning |
| renamed | the setting has another name |
| improved | the setting serves the same end, and the reason says what changed |
| dropped | nothing is set, and the reason is given |

Settings are those of the recipe that the script became; `output` is the run folder. Scripts are named without
`train_`: "all" are train, lora, control, reward_lora and lcm_lora. A default stands in brackets.
"""
KINDS = {"strs": "words", "ints": "numbers", "list": "words", "word": "str or nothing", "truth": "bool"}
ALL = ("train", "train_lora", "train_control", "train_reward_lora", "train_lcm_lora")


def page() -> str:
    """The text of the page."""
    return "\n".join([INTRODUCTION, *map(_section, sections())])


def _section(section: Section) -> str:
    several = len({script for flag in section.flags for script in flag.of}) > 1
    first = "key" if section.keys else "flag"
    columns = [first, "type", *(["scripts"] if several else []), "state", "here"]
    lines = [f"## {section.title}", "", _row(columns), "|" + "---|" * len(columns)]
    lines += [_row(_cells(flag, several=several)) for flag in section.flags]
    return "\n".join([*lines, ""])


def _cells(flag: Flag, *, several: bool) -> list[str]:
    name = f"`{flag.name}`" + (f", `{flag.short}`" if flag.short else "")
    scripts = [_scripts(flag)] if several else []
    goes = ", ".join(f"`{setting}`" for setting in flag.to)
    here = ": ".join(part for part in (goes, flag.why) if part)
    return [name, _type(flag), *scripts, flag.status, here]


def _type(flag: Flag) -> str:
    kinds = {
        "strs": "words",
        "ints": "int, several",
        "list": "words",
        "word": "str or nothing",
        "truth": "bool",
    }
    kind = " \\| ".join(flag.choices) or kinds.get(flag.type, flag.type)
    if flag.required:
        return f"{kind}, required"
    if flag.type in LISTS or flag.default in (None, ""):
        return kind
    others = "".join(f"; {script.removeprefix('train_')} {value}" for script, value in flag.defaults.items())
    return f"{kind} [{flag.default}{others}]"


def _scripts(flag: Flag) -> str:
    if set(ALL) <= set(flag.of):
        return "all"
    names = [script.removeprefix("train_") for script in SCRIPTS if script in flag.of]
    older = [script.removeprefix("train_") for script in flag.older]
    return ", ".join([*names, *(f"{script} before V5.1" for script in older)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
