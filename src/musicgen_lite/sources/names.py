"""Files by the names that a table has for them, which another system or a spreadsheet may have spelt in another way."""

import difflib
import os
import unicodedata
from pathlib import Path

NEAR = 0.8
HINTS = 50  # names that are missed and compared with those that are there


def spelt(name: str) -> str:
    """A name without what cannot be seen: letters with their accents in one (NFC), no space around it."""
    return unicodedata.normalize("NFC", name).strip()


class Names:
    """Finds files in `folder`; what a folder holds is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._listings, self._hints = folder, dict[Path, list[str]](), HINTS

    def find(self, cell: str) -> tuple[Path, str] | str:
        """The file that a table's cell names and its name on disk, relative to the folder; or why none may be read.

        The name as it stands comes first, then without space around it, then whatever is spelt alike.
        """
        name = cell.strip()
        if not name:
            return "file: file_name is empty"
        for given in dict.fromkeys((cell, name)):
            if found := self._file(given):
                return found if isinstance(found, str) else (found, given)
        alike = self._alike(name)
        if alike and isinstance(path := self._file(alike), Path):
            return path, alike
        return f"file: no such file{self._hint(name)}"

    def _file(self, name: str) -> Path | str | None:
        """The file of exactly this name, or why it may not be read; None where there is none."""
        try:
            path = (self.folder / name).resolve()
            if Path(name).is_absolute() or not path.is_relative_to(self.folder.resolve()):
                return "file: file_name leads outside the folder; name files relative to it"
            return path if path.is_file() else None
        except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL byte, a loop of links
            return f"file: file_name cannot be a file's ({error})"

    def _alike(self, name: str) -> str | None:
        """The one name on disk that is spelt as this one, part by part."""
        found = Path()
        for part in Path(name).parts:
            hits = [one for one in self._listing(self.folder / found) if spelt(one) == spelt(part)]
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
        """The nearest name in the same folder, if any; only of the first that are missed, since it takes its time."""
        self._hints -= 1
        if self._hints < 0:
            return ""
        folder = Path(name).parent
        there = {spelt(one).casefold(): one for one in self._listing(self.folder / folder)}
        near = difflib.get_close_matches(spelt(Path(name).name).casefold(), there, n=1, cutoff=NEAR)
        return f"; {str(folder / there[near[0]])!r} is near it" if near else ""
