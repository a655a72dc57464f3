"""What a stage is: rows in, rows out, with declared columns, options and a version.

There are three forms, by what a stage has to see:

* `ItemStage` measures one file after the other. What it measured is kept and found again by a key of the
  file's bytes, the options that matter, the columns that it reads and its version. Whether a row passes is
  decided from what was measured, so that another threshold measures nothing anew.
* `SplitStage` makes files of one file.
* `TableStage` needs all rows at once, and is cheap.

A stage that cannot judge a row raises; the row is then left out and listed, and never passes unjudged.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from ea_data.control.extras import load
from ea_data.curation.row import Kind, Row
from ea_data.settings import to_mapping

__all__ = ["Item", "ItemStage", "Made", "SplitStage", "Stage", "TableStage"]

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What a stage sees of a row.

    Attributes:
        path: The file.
        kind: What it is used as.
        columns: Those that the stage declares in `needs` and `uses`.
        folder: Where it may write files of this row; made by the stage that does.
    """

    path: Path
    kind: Kind
    columns: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A file that a stage made, or the whole of the one it was given.

    Attributes:
        name: Of the file below the folder of the row; "" for the row's own file as it is.
        digest: Of its bytes; "" for the row's own file.
        columns: What is known of it.
    """

    name: str
    digest: str
    columns: Mapping[str, Any] = field(default_factory=dict)


class Stage(ABC, Generic[OptionsT]):
    """The parts that all stages have.

    Attributes:
        name: In plans and on the command line.
        summary: One line for the help.
        version: Counts up when the same options give other results.
        options_type: A frozen dataclass.
        needs: Columns that it reads; an earlier stage gives them.
        uses: Columns that it reads where they are there.
        gives: Columns that it adds.
        kinds: Rows that it looks at; others pass untouched.
        thresholds: Options that only decide, and change nothing that is measured.
        ways: Options that say how or where the work is done, and change no result.
        libraries: Distributions whose version changes results.
        modules: That have to be there.
        extra: Of this package, which brings them.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int] = 1
    options_type: ClassVar[type[Any]]
    needs: ClassVar[tuple[str, ...]] = ()
    uses: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[Kind, ...]] = ("video", "image")
    thresholds: ClassVar[tuple[str, ...]] = ()
    ways: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ()
    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "curation"

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def fingerprint(self) -> dict[str, Any]:
        """What results depend on beside the file: version, options without thresholds, libraries, weights."""
        apart = {*self.thresholds, *self.ways}
        options = {key: value for key, value in to_mapping(self.options).items() if key not in apart}
        return {
            "stage": self.name,
            "version": self.version,
            "options": options,
            "libraries": {name: _version(name) for name in self.libraries},
            "weights": self.weights(),
        }

    def reads(self) -> tuple[str, ...]:
        """Those of `needs` that it reads with its options."""
        return self.needs

    def weights(self) -> str:
        """The weights that it uses, with their revision; "" without any."""
        return ""

    def networks(self) -> tuple[str, ...]:
        """Directories, files and names of the hub of the networks that it loads."""
        return ()

    def model(self) -> str:
        """The networks, or the model behind a server, as a manifest names them; "" for none."""
        from ea_data.curation.network_marks import network_mark  # noqa: PLC0415  (numpy, which --help spares)

        return ", ".join(network_mark(each) for each in self.networks())

    def downloads(self) -> str:
        """What opening it fetches from the hub and how large that is, in a line; "" for nothing."""
        return ""

    def check(self) -> None:
        """Whether the libraries are there; called before any stage begins.

        Raises:
            MissingExtraError: One is not.
        """
        for module in self.modules:
            load(module, extra=self.extra)

    def files(self, value: Any) -> dict[str, str]:
        """Names of the files that a result speaks of, below the folder of its row, and their digests.

        Where one is gone or changed, the result is not used again.
        """
        del value
        return {}

    def open(self) -> None:
        """Load libraries and weights; called once in every process that measures."""


class ItemStage(Stage[OptionsT]):
    """Measures one file after the other."""

    @property
    def batch_size(self) -> int:
        """Files that are measured at once."""
        return 1

    @abstractmethod
    def measure(self, item: Item) -> dict[str, Any]:
        """Find out the columns that it gives.

        Raises:
            ValueError: The file cannot be judged.
        """

    def measure_all(self, items: Sequence[Item]) -> Sequence[dict[str, Any] | ValueError]:
        """The same of up to `batch_size` files; an error in place of a result is of that file alone."""
        return [self.measure(item) for item in items]

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Why a row is dropped, in one line; "" if it passes."""
        del columns
        return ""


class SplitStage(Stage[OptionsT]):
    """Makes files of a file.

    Attributes:
        same_content: Whether all that is known of a file holds for what is made of it.
    """

    same_content: ClassVar[bool] = False

    @abstractmethod
    def split(self, item: Item) -> list[Made]:
        """Write files below the folder of the item, each whole or not at all.

        Raises:
            ValueError: The file cannot be read, or another not be written.
        """

    def files(self, value: Any) -> dict[str, str]:
        """Those that were made."""
        return {made["name"]: made["digest"] for made in value if made["name"]}

    def verdict(self, made: Sequence[Made]) -> str:
        """Why nothing comes of a row."""
        del made
        return "nothing of it can be used"


class TableStage(Stage[OptionsT]):
    """Sees all rows at once."""

    @abstractmethod
    def table(self, rows: Sequence[Row], label: str) -> list[Row]:
        """Rows as they go on; those that ended before are among them, and stay as they are.

        Args:
            rows: All rows.
            label: Of the stage in the plan, for rows that it ends.
        """


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
