"""Copies: files of the same bytes, and files that look the same."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ea_data.curation.row import Row
from ea_data.curation.stage import TableStage
from ea_data.lint.copies import near_copies, same_content

__all__ = ["Duplicates", "DuplicatesOptions"]

_SEEN: Final = ("video", "image")


@dataclass(frozen=True, kw_only=True)
class DuplicatesOptions:
    """Which copies go; the first of each stays.

    Attributes:
        exact: Those of the same bytes, and prompts of the same words.
        near: Those that look the same in their first, middle and last frame: encoded anew, or scaled. Needs
            `looks` before it.
    """

    exact: bool = True
    near: bool = True


class Duplicates(TableStage[DuplicatesOptions]):
    """Keeps the first of all files that are the same."""

    name = "duplicates"
    summary = "copies of an earlier file go, those that were encoded anew too"
    options_type = DuplicatesOptions
    kinds = ("video", "image", "text")
    needs = ("print", "blank")

    def reads(self) -> tuple[str, ...]:
        """How files look, where that counts."""
        return self.needs if self.options.near else ()

    def table(self, rows: Sequence[Row], label: str) -> list[Row]:
        """Ends all later copies."""
        found = list(rows)
        if self.options.exact:
            places = [place for place, row in enumerate(found) if row.fate is None]
            for earlier, later in same_content([found[place].digest for place in places]):
                same = "words" if found[places[later]].kind == "text" else "bytes"
                self._end(found, places[earlier], places[later], label, f"has the same {same} as")
        if self.options.near:
            places = [
                place
                for place, row in enumerate(found)
                if row.fate is None and row.kind in _SEEN and not row.columns["blank"]
            ]
            prints = [base64.b64decode(found[place].columns["print"]) for place in places]
            # A picture is no copy of a clip that shows it.
            for kind in _SEEN:
                chosen = [number for number, place in enumerate(places) if found[place].kind == kind]
                for earlier, later in near_copies([prints[n] for n in chosen], [""] * len(chosen)):
                    first, second = places[chosen[earlier]], places[chosen[later]]
                    self._end(found, first, second, label, "looks the same as")
        return found

    @staticmethod
    def _end(rows: list[Row], earlier: int, later: int, label: str, how: str) -> None:
        rows[later] = rows[later].ended(label, f"{how} {rows[earlier].name}")
