"""The table of flags, `flags.toml`, read with types. Its comments say what the columns mean."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, get_args

FlagType = Literal["str", "int", "float", "switch", "strs", "ints", "list", "word", "truth"]
Status = Literal["same", "renamed", "improved", "dropped"]

SCRIPTS: Final = {
    "train": "train.py",
    "train_lora": "train_lora.py",
    "train_control": "train_control.py",
    "train_reward_lora": "train_reward_lora.py",
    "train_lcm_lora": "train_lcm_lora.py",
    "train_vae": "train_vae.py",
    "opensora": "Open-Sora's train.py",
}
"""Names in the table, and the files that they stand for."""

LISTS: Final = ("strs", "ints", "list")


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One row.

    Attributes:
        name: As the script spells it, `--` included; a key of a config file without.
        short: Second spelling.
        type: What it takes.
        default: Of the script; None where it has none.
        defaults: Defaults of single scripts that differ.
        choices: What is allowed, everything of the type if empty.
        required: Whether the script refuses to run without it.
        of: Names in `SCRIPTS`.
        older: Scripts that had it in an earlier release, and whose commands may still have it.
        status: What became of it.
        to: Settings that it fills.
        why: What changed, or why nothing is set.
    """

    name: str
    short: str = ""
    type: FlagType
    default: Any = None
    defaults: dict[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    required: bool = False
    of: tuple[str, ...]
    older: tuple[str, ...] = ()
    status: Status
    to: tuple[str, ...] = ()
    why: str = ""

    @property
    def dest(self) -> str:
        """The name as a Python name."""
        return self.name.lstrip("-").replace("-", "_")

    def default_of(self, script: str) -> Any:
        """The default of a script; switches are off and lists are made anew."""
        value = self.defaults.get(script, self.default)
        if value is None and self.type == "switch":
            return False
        return list(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Section:
    """Rows that belong together; `keys` for those of config files, which are no flags."""

    title: str
    flags: tuple[Flag, ...]
    keys: bool


@cache
def sections() -> tuple[Section, ...]:
    """The whole table."""
    text = resources.files("ea_train.compat").joinpath("flags.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return tuple(
        Section(
            title=section["title"],
            flags=tuple(_flag(row, table["groups"]) for row in section["flags"]),
            keys=section.get("keys", False),
        )
        for section in table["section"]
    )


def flags_of(script: str, *, keys: bool = False) -> list[Flag]:
    """Flags that a script takes, those of older releases included; with `keys` those of its config file.

    Raises:
        ValueError: No such script.
    """
    if script not in SCRIPTS:
        raise ValueError(f"no script {script!r}; allowed: {', '.join(SCRIPTS)}")
    rows = [flag for section in sections() if section.keys == keys for flag in section.flags]
    return [flag for flag in rows if script in flag.of or script in flag.older]


def _flag(row: dict[str, Any], groups: dict[str, list[str]]) -> Flag:
    of = row["of"]
    to = row.get("to", [])
    scripts = groups[of] if isinstance(of, str) else of
    plain = {**row, "of": scripts, "to": [to] if isinstance(to, str) else to}
    flag = Flag(**{**plain, **{name: tuple(plain[name]) for name in _TUPLES if name in plain}})
    _check(flag)
    return flag


_TUPLES: Final = ("of", "older", "to", "choices")


def _check(flag: Flag) -> None:
    assert flag.type in get_args(FlagType), flag
    assert flag.status in get_args(Status), flag
    assert flag.status != "dropped" or (flag.why and not flag.to), flag
    assert flag.status != "improved" or flag.why, flag
    assert flag.status in ("dropped", "improved") or flag.to, flag
    assert {*flag.of, *flag.older, *flag.defaults} <= set(SCRIPTS), flag
