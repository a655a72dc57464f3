"""Names of files in a manifest, kept inside its root folder."""

import errno
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from ea_data.manifest.errors import RowError

__all__ = ["RootFolder", "file_problem", "resolve_inside"]

_KEPT: Final = 4096


class RootFolder:
    """The folder that relative names start from.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        # Where the last folders below it really are: millions of rows name few folders.
        self._folders: dict[str, Path] = {}

    def resolve(self, name: str, *, column: str = "file_path") -> Path:
        """The file that a row names.

        Args:
            name: Relative, or absolute and then taken as it is.
            column: For messages.

        Raises:
            ValueError: An empty or malformed name, or a relative one that leaves the root.
        """
        shown = name[:200]
        if not name.strip() or "\0" in name:
            raise RowError(f"{column} is empty or contains a NUL character")
        try:
            name.encode()
            if os.path.isabs(name):  # noqa: PTH117  (a Path costs ten times as much)
                return Path(name)
            if ".." in name and (".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts):
                raise RowError(f"{column} contains '..': {shown}")
            folder, _, last = name.rpartition("/")
            path = self._folder(folder) / last
            if last in ("", ".") or path.is_symlink():
                path = path.resolve()
        except (OSError, UnicodeError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or ("a loop of links" if _is_loop(error) else "no text")
            raise RowError(f"{column} cannot be used ({reason}): {shown!r}") from error
        if not path.is_relative_to(self.path):
            raise RowError(f"{column} leaves the root folder through a link: {shown}")
        return path

    def _folder(self, name: str) -> Path:
        found = self._folders.get(name)
        if found is None:
            if len(self._folders) >= _KEPT:
                self._folders.clear()
            found = self._folders[name] = (self.path / name).resolve()
        return found


def file_problem(path: Path) -> str:
    """Why a path is no file that can be read, in a few words; "" for a regular file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except (OSError, ValueError) as error:
        return "a loop of links" if _is_loop(error) else getattr(error, "strerror", None) or str(error)
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _is_loop(error: Exception) -> bool:
    return isinstance(error, RuntimeError) or getattr(error, "errno", None) == errno.ELOOP


def resolve_inside(root: Path, name: str) -> Path:
    """The file that a manifest row names below a root folder.

    Raises:
        ValueError: An empty or malformed name, or a relative one that leaves the root.
    """
    return RootFolder(root).resolve(name)
