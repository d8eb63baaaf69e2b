"""A folder beyond this machine (s3://bucket/folder), read by fsspec: a copy is kept of its table and of the files that it names.

What has been fetched is not fetched again unless it has changed there; files that are gone there are removed from the copy.
"""

import contextlib
import json
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.io.files import explain, read_json, write_json
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.io.progress import track
from musicgen_lite.sources.file_lookup import normalize

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

KEPT = "cache/folders"  # below the root
LISTING = ".listing.json"  # in the copy: the address, and the facts of every file that is there
FETCHED = ".fetched.jsonl"  # in the copy: a line for each file as it was when it was fetched; the last one counts
BATCH = 32  # files fetched at once
QUICK = {"connect_timeout": 5, "retries": {"max_attempts": 2}}
# What tells one content from another, as far as a store knows it.
FACTS = ("size", "ETag", "etag", "LastModified", "mtime", "created")


def is_remote(name: str) -> bool:
    """Whether the name of a folder is an address."""
    return "://" in name


def copy(url: str, root: Path, tables: Collection[str]) -> Path:
    """The folder of the copy, with whichever of the `tables` is there, and a list of all files for `fetch` and `facts`.

    Raises UserError where the address cannot be read, or has no table.
    """
    folder = root / KEPT / short_digest(url.rstrip("/"))
    folder.mkdir(parents=True, exist_ok=True)
    with _errors_named(url), _held(folder):
        files, base = _open(url)
        found = {path.removeprefix(base).lstrip("/"): _facts(info) for path, info in _find(files, base).items()}
        if not found.keys() & set(tables):
            raise UserError(
                f"data.folder.path {url}: none of {', '.join(tables)} there; a folder source needs one of them"
            )
        for name in _fetched(folder).keys() - found.keys():
            (folder / name).unlink(missing_ok=True)
        write_json(folder / LISTING, {"url": url, "files": found})
    fetch(folder, tables)
    return folder


def facts(folder: Path, names: Collection[str]) -> list[Any] | None:
    """What is known of each of the named files, to be compared with another time's; None for a folder that is no copy."""
    if not (folder / LISTING).exists():
        return None
    there = {normalize(name): known for name, known in read_json(folder / LISTING)["files"].items()}
    return [(name, there.get(normalize(name))) for name in names]


def fetch(folder: Path, names: Collection[str]) -> None:
    """Fetch those of the named files that the copy lacks, or has in another state; nothing in a folder that is no copy.

    UserError where one cannot be fetched; the others are kept.
    """
    if not (folder / LISTING).exists():
        return
    listing = read_json(folder / LISTING)
    wanted = {normalize(name) for name in names}
    with _errors_named(listing["url"]), _held(folder):
        before = _fetched(folder)
        due = [
            name
            for name, known in listing["files"].items()
            if normalize(name) in wanted
            and (folder / name).resolve().is_relative_to(folder.resolve())
            and not (before.get(name) == known and (folder / name).is_file())
        ]
        if not due:
            return
        files, base = _open(listing["url"])
        batches = [due[start : start + BATCH] for start in range(0, len(due), BATCH)]
        for batch in track(batches, f"fetch {len(due)} file(s) from {listing['url']}", unit="batch"):
            _fetch_batch(files, base, folder, {name: listing["files"][name] for name in batch})


def _fetch_batch(files: "AbstractFileSystem", base: str, folder: Path, batch: dict[str, Any]) -> None:
    """Fetch files beside the copy, then move them into it and note them."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        parts = {name: Path(part) / str(number) for number, name in enumerate(batch)}
        files.get([f"{base}/{name}" for name in parts], [str(path) for path in parts.values()])
        with (folder / FETCHED).open("a", encoding="utf-8") as notes:
            for name, path in parts.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                path.replace(folder / name)
                notes.write(json.dumps([name, batch[name]]) + "\n")


def _fetched(folder: Path) -> dict[str, Any]:
    """The facts of every file when it was fetched; a line that a kill has cut off is none."""
    found: dict[str, Any] = {}
    if (folder / FETCHED).exists():
        for line in (folder / FETCHED).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                name, known = json.loads(line)
                found[name] = known
    return found


def _open(url: str) -> tuple["AbstractFileSystem", str]:
    """The file system of an address, and the address as that names it."""
    fsspec = require("fsspec", extra="cluster", purpose=f"data.folder.path {url}")
    options = {"config_kwargs": QUICK} if url.startswith(("s3:", "s3a:")) else {}
    files, base = fsspec.url_to_fs(url.rstrip("/"), skip_instance_cache=True, use_listings_cache=False, **options)
    return files, base.rstrip("/")


def _find(files: "AbstractFileSystem", base: str) -> dict[str, dict[str, Any]]:
    """Every file below the address; FileNotFoundError where there is none."""
    found = {path: info for path, info in files.find(base, detail=True).items() if path != base}
    if not found:
        files.ls(base)  # says what is missing where it is not the files alone
        raise FileNotFoundError("no file there")
    return found


def _facts(info: dict[str, Any]) -> list[str]:
    return [f"{name} {info[name]}" for name in FACTS if info.get(name) is not None]


def _held(folder: Path) -> FileLock:
    return FileLock(f"{folder}.lock")


@contextlib.contextmanager
def _errors_named(url: str) -> Iterator[None]:
    """Turn whatever a store raises into a UserError that names the address: each has exceptions of its own."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f'data.folder.path {url}: {first_line(error)}; for S3 run `pip install "musicgen-lite[cluster]"`, or in the '
            "repository `make env`"
        ) from error
    except Exception as error:
        explained = explain(error)
        if isinstance(explained, UserError) and not isinstance(error, PermissionError):
            raise explained from error
        raise UserError(
            f"data.folder.path {url}: it cannot be read ({type(error).__name__}: {first_line(error)}); see to the address, and "
            "to AWS_ENDPOINT_URL and the credentials in the environment; then run the same command again: what was fetched is kept"
        ) from error
