"""Copies: files of the same bytes, and files that look the same."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ea_data.curation.row import Row
from ea_data.curation.stage import TableStage
from ea_data.lint.copies import near_copies, same_content

__all__ = ["Duplicates", "DuplicatesOptions"]


@dataclass(frozen=True, kw_only=True)
class DuplicatesOptions:
    """Which copies go; the first of each stays.

    Attributes:
        exact: Those of the same bytes.
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
    needs = ("print", "blank")

    def table(self, rows: Sequence[Row], label: str) -> list[Row]:
        """Ends all later copies."""
        found = list(rows)
        if self.options.exact:
            places = [place for place, row in enumerate(found) if row.fate is None]
            for earlier, later in same_content([found[place].digest for place in places]):
                self._end(found, places[earlier], places[later], label, "has the same bytes as")
        if self.options.near:
            places = [
                place
                for place, row in enumerate(found)
                if row.fate is None and row.kind in self.kinds and not row.columns["blank"]
            ]
            prints = [base64.b64decode(found[place].columns["print"]) for place in places]
            # A picture is no copy of a clip that shows it.
            for kind in self.kinds:
                chosen = [number for number, place in enumerate(places) if found[place].kind == kind]
                for earlier, later in near_copies([prints[n] for n in chosen], [""] * len(chosen)):
                    first, second = places[chosen[earlier]], places[chosen[later]]
                    self._end(found, first, second, label, "looks the same as")
        return found

    @staticmethod
    def _end(rows: list[Row], earlier: int, later: int, label: str, how: str) -> None:
        rows[later] = rows[later].ended(label, f"{how} {rows[earlier].name}")
