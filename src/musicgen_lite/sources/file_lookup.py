"""Finds the files that a table names, even where another system or a spreadsheet changed the spelling."""

import difflib
import os
import unicodedata
from pathlib import Path

SIMILARITY = 0.8  # of a name that a hint suggests
MAX_HINTS = 50  # missing names that get a hint: finding one takes time


def normalize(name: str) -> str:
    """A name in Unicode's composed form (NFC), without surrounding space."""
    return unicodedata.normalize("NFC", name).strip()


class FileLookup:
    """Finds files in `folder`; each folder is listed once. column: of the table, which reasons name."""

    def __init__(self, folder: Path, column: str = "file_name") -> None:
        self.folder, self.column = folder, column
        self._listings, self._hints = dict[Path, list[str]](), MAX_HINTS

    def find(self, cell: str) -> tuple[Path, str] | str:
        """The file that a table's cell names and its name on disk, relative to the folder; or the reason to reject it.

        Tried in order: the cell as it is, without surrounding space, and the one file with an equal normalized name.
        """
        name = cell.strip()
        if not name:
            return f"file: {self.column} is empty"
        for given in dict.fromkeys((cell, name)):
            if found := self._file(given):
                return found if isinstance(found, str) else (found, given)
        match = self._normalized_match(name)
        if match and isinstance(path := self._file(match), Path):
            return path, match
        return f"file: no such file{self._hint(name)}"

    def _file(self, name: str) -> Path | str | None:
        """The file of exactly this name, or the reason to reject it; None where there is none."""
        try:
            path = (self.folder / name).resolve()
            if Path(name).is_absolute() or not path.is_relative_to(self.folder.resolve()):
                return f"file: {self.column} leads outside the folder; name files relative to it"
            return path if path.is_file() else None
        except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL byte, a loop of links
            return f"file: {self.column} cannot be a file's ({error})"

    def _normalized_match(self, name: str) -> str | None:
        """The one path on disk whose normalized name equals this one, part by part."""
        found = Path()
        for part in Path(name).parts:
            hits = [one for one in self._listing(self.folder / found) if normalize(one) == normalize(part)]
            if part in hits:
                hits = [part]
            if len(hits) != 1:
                return None
            found /= hits[0]
        return str(found)

    def _listing(self, folder: Path) -> list[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = sorted(os.listdir(folder))
            except OSError:
                self._listings[folder] = []
        return self._listings[folder]

    def _hint(self, name: str) -> str:
        """The most similar name in the same folder, if any, for the first `MAX_HINTS` missing names."""
        self._hints -= 1
        if self._hints < 0:
            return ""
        folder = Path(name).parent
        there = {normalize(one).casefold(): one for one in self._listing(self.folder / folder)}
        near = difflib.get_close_matches(normalize(Path(name).name).casefold(), there, n=1, cutoff=SIMILARITY)
        return f"; {str(folder / there[near[0]])!r} is similar" if near else ""
