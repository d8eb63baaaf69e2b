"""Unused objects in DVC's cache. In the package only the commands know DVC.

`dvc gc` is not enough: it ignores the run cache, whose entries restore earlier results of a stage, and removes the metrics
that only those entries hold, even of committed results.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from musicgen_lite.errors import UserError, first_line, require


@dataclass(frozen=True)
class Entry:
    """One run-cache entry: the digests of a stage's outputs by path. `key`: the names of its folder and file."""

    path: Path
    digests: dict[str, str]
    key: tuple[str, str]


class Cache:
    """DVC's cache of the repository in the working directory, locked against other DVC commands."""

    def __init__(self, repository: Any) -> None:
        self._repository = repository
        self._odb = repository.cache.local
        self.folder = Path(repository.cache.local_cache_dir)
        self.runs = self.folder / "runs"
        self.queue = Path(repository.tmp_dir) / "exps"
        self._used = self._committed()

    def _committed(self) -> set[str]:
        """Digests that a commit, a branch, a tag, an experiment, the workspace or a copy of a running one refers to."""
        from dvc.repo import Repo

        # A directory whose list of files is not here, as in a clone that pulled little, has nothing to keep: force.
        everywhere = {"all_commits": True, "all_branches": True, "all_tags": True, "all_experiments": True}
        used = _digests(self._repository.used_objs(**everywhere, force=True).values())
        for copy in (path.parent for path in self.queue.glob("**/.dvc") if path.is_dir()):
            with Repo(str(copy)) as other:
                used |= _digests(other.used_objs(force=True).values())
        return used

    def entries(self) -> list[Entry]:
        """All entries of the run cache."""
        yaml = YAML(typ="safe")
        found = []
        for path in sorted(path for path in self.runs.glob("*/*/*") if path.is_file()):
            outs = (yaml.load(path.read_text(encoding="utf-8")) or {}).get("outs", [])
            found.append(
                Entry(path, {out["path"]: out["md5"] for out in outs if "md5" in out}, (path.parent.name, path.name))
            )
        return found

    def remembered(self) -> list[Entry]:
        """Entries of results that only the run cache holds."""
        in_git = {out.def_path for out in self._repository.index.outs if not out.use_cache}
        return [
            entry
            for entry in self.entries()
            if not all(digest in self._used for path, digest in entry.digests.items() if path not in in_git)
        ]

    def unused(self, without: Iterable[Entry] = ()) -> list[Path]:
        """Objects that neither a commit nor the run cache refers to, not counting its entries `without`."""
        gone = {entry.path for entry in without}
        kept = [entry.key for entry in self.entries() if entry.path not in gone]
        needed = self._used | _digests(self._repository.stage_cache.get_used_objs(kept, force=True).values())
        return [Path(self._odb.oid_to_path(digest)) for digest in self._odb.all() if digest not in needed]

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove entries and objects."""
        for path in paths:
            path.unlink(missing_ok=True)
            if path.is_relative_to(self.runs) and not any(path.parent.iterdir()):
                path.parent.rmdir()  # DVC fails on an empty folder


def _digests(groups: Iterable[Iterable[Any]]) -> set[str]:
    return {found.value for group in groups for found in group}


@contextmanager
def open_cache() -> Iterator[Cache]:
    """The cache of the repository in the working directory.

    Raises UserError where DVC, the repository or its commits are missing, where another DVC command runs, and for a cache
    that lies elsewhere: other repositories may share it.
    """
    require("dvc", extra="pipeline", purpose="the size of DVC's cache")
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import SCMError

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        with Repo(".") as repository, repository.lock:
            place = Path(repository.cache.local_cache_dir)
            if not place.resolve().is_relative_to(Path(repository.root_dir).resolve()):
                raise UserError(
                    f"{place}: this cache lies outside of the repository, and others may share it; `dvc gc --projects` "
                    "with all of them is for that"
                )
            yield Cache(repository)
    except (DvcException, SCMError) as error:
        raise UserError(
            f"{Path.cwd()}: DVC's cache cannot be read ({first_line(error)}); run this in the project's repository, with a "
            "commit: `git init && git add -A && git commit -m start`"
        ) from error
