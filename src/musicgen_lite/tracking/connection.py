"""The tracking server or database, and a connection to it that fails within seconds where it does not answer."""

import contextlib
import os
import shlex
import sqlite3
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking import stores
from musicgen_lite.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
EXPERIMENT = "musicgen-lite"  # where nobody names another
PORTS = range(5000, 5020)  # of MLflow's pages on this machine: the first that is free
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
TIMEOUT_S = 5.0
LOCKED_S = 60  # that another process may write to a SQLite database before this one gives up
OTHER_SCHEMA = "out-of-date database schema"  # MLflow's words
OPTIONAL = ", or set tracking.required to false to go on without it (a later `dvc repro` then logs the run)"
NO_ANSWER = (OSError, ValueError, HTTPException)

# Environment variables that MLflow reads at import. With them a dead server fails after seconds; by default, minutes.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "3",
}


def warn(message: object) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)


class Unreachable(UserError):
    """Tracking failed for a reason outside the project; `tracking.required: false` turns this into a warning."""


@dataclass(frozen=True)
class Place:
    """A tracking database or server, as MLflow addresses it.

    `database` is set where it is a SQLite file, `bucket` where a database's artifacts are on S3.
    """

    uri: str
    root: Path
    experiment: str
    database: Path | None
    bucket: str = ""

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http:", "https:", "databricks"))

    @property
    def address(self) -> str:
        """The URI as a message shows it."""
        return self.uri.partition("?")[0].replace(stores.DRIVER, "postgresql", 1)

    @property
    def artifacts(self) -> str | None:
        """The folder of the artifacts, or s3://…; None for a server, which decides itself."""
        if self.is_server:
            return None
        return self.bucket or str((self.database.parent if self.database else self.root) / ARTIFACTS)

    def lock(self) -> FileLock:
        """The lock that processes of one repository hold while they set up the database or claim a run."""
        return FileLock(self.root / f"{DATABASE}.lock")

    def link(self, experiment_id: str, run_id: str) -> str:
        """The address of a run in MLflow's pages."""
        page = f"/#/experiments/{experiment_id}/runs/{run_id}"
        return self.uri + page if self.uri.startswith("http") else f"make ui, then http://127.0.0.1:{PORTS.start}{page}"


@dataclass(frozen=True)
class Connection:
    place: Place
    client: "MlflowClient"
    experiment_id: str


def from_environment() -> TrackingParams:
    """The place that MLFLOW_TRACKING_URI names, which `mlflow.set_tracking_uri` sets too, else the database here."""
    return TrackingParams(uri=os.environ.get("MLFLOW_TRACKING_URI", ""), experiment=EXPERIMENT, required=True)


def locate(tracking: TrackingParams, root: str | Path) -> Place:
    """The place that `tracking.uri` names. SQLite paths start at `root`, never at the working directory.

    A queued experiment works in a copy of the tree that is deleted afterwards, and a database with it.
    """
    root, uri = Path(root).resolve(), tracking.uri.rstrip("/")
    scheme = uri.partition(":")[0].partition("+")[0]
    if uri and scheme not in SCHEMES:
        raise UserError(
            f"tracking.uri: found {tracking.uri!r}; allowed are an MLflow server (http://host:port), a database "
            f"(sqlite:///file.db, postgresql://…) or nothing for {DATABASE} at the root of the repository"
        )
    if scheme in ("http", "https") and "@" in urllib.parse.urlsplit(uri).netloc:
        raise UserError(
            "tracking.uri: holds a user or password, which would be committed; give them in the environment variables "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if stores.is_postgres(uri) and urllib.parse.urlsplit(uri).password:
        raise UserError(
            "tracking.uri: holds a password, which would be committed; give it in the environment variable PGPASSWORD or in "
            "the file ~/.pgpass"
        )
    bucket = tracking.artifacts.rstrip("/")
    if uri and scheme != "sqlite":
        uri = stores.postgres(uri) if stores.is_postgres(uri) else uri
        return Place(uri, root, tracking.experiment, None, bucket)
    named = root / (uri.removeprefix("sqlite:///") or DATABASE)
    database = named.parent.resolve() / named.name
    # Another process may be writing: wait for it instead of failing with "database is locked".
    return Place(f"sqlite:///{database}?timeout={LOCKED_S}", root, tracking.experiment, database, bucket)


def _sentence(place: Place, what: str) -> str:
    start = "" if place.database else "start it, "
    return f"tracking.uri {place.address}: {what}; {start}change tracking.uri{OPTIONAL}"


def _of_bucket(place: Place, what: str) -> str:
    return (
        f"tracking.artifacts {place.artifacts}: S3 failed ({what}); see to it, or to AWS_ENDPOINT_URL and the credentials in the "
        f"environment; then the same command goes on{OPTIONAL}"
    )


def _other_schema(place: Place) -> str:
    """The message for a database that another version of MLflow made."""
    from mlflow.version import VERSION

    uri, database = place.address, place.database
    upgrade = f"mlflow db upgrade {shlex.quote(uri)}"
    backup = "make a backup of it, then run `"
    if database:
        kept = database.with_name(f"{database.name}.backup")
        backup = f"with no run going on keep a copy and upgrade it: `cp {shlex.quote(str(database))} {shlex.quote(str(kept))} && "
    return (
        f"tracking.uri {uri}: another version of MLflow than {VERSION} made this database; {backup}{upgrade}`, then the "
        "same command again. Where that does not know the database's version, a newer MLflow made it: install that one"
    )


@contextlib.contextmanager
def errors_as_unreachable(place: Place) -> Iterator[None]:
    """Turn what MLflow, its database or the network raise into an Unreachable that names the place."""
    try:
        yield
    except Exception as error:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if OTHER_SCHEMA in str(error):
            raise Unreachable(_other_schema(place)) from error
        if isinstance(error, stores.errors()) or (place.bucket and place.bucket in str(error)):
            raise Unreachable(_of_bucket(place, first_line(error))) from error
        if isinstance(error, MlflowException | SQLAlchemyError | OSError | sqlite3.Error | ImportError):
            raise Unreachable(_sentence(place, f"MLflow failed ({first_line(error)})")) from error
        raise


def _check(place: Place) -> None:
    """Check within seconds what MLflow itself would retry for minutes."""
    if place.uri.startswith("http"):
        try:
            urllib.request.urlopen(f"{place.uri}/health", timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError:
            pass  # Something answers; the next request shows whether it is MLflow.
        except NO_ANSWER as error:
            raise Unreachable(_sentence(place, f"no MLflow server answers ({first_line(error)})")) from None
    if place.bucket and not place.is_server and (fault := stores.bucket_fault(place.bucket)):
        raise Unreachable(_of_bucket(place, fault))
    if place.database:
        folder = place.database.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unreachable(_sentence(place, f"its folder {folder} cannot be made ({error.strerror})")) from None
        if not os.access(folder, os.W_OK):
            raise Unreachable(_sentence(place, f"no permission to write in {folder}"))
        if place.database.exists():
            try:
                with contextlib.closing(sqlite3.connect(place.database, timeout=LOCKED_S)) as database:
                    database.execute("SELECT count(*) FROM sqlite_master")
            except sqlite3.OperationalError as error:
                raise Unreachable(
                    _sentence(place, f"{error}, by another process for more than {LOCKED_S} s; end that one")
                ) from None
            except sqlite3.DatabaseError as error:
                raise Unreachable(
                    _sentence(place, f"not a usable SQLite database ({error}), move it away to have a new one written")
                ) from None


def _relocate(place: Place) -> None:
    """Keep artifacts beside the database, even where it was copied from another place."""
    if (
        place.database
        and place.artifacts
        and not place.bucket
        and (found := relocate(place.database, Path(place.artifacts)))
    ):
        rest = f"; {found.left} still have theirs there: copy them to keep them" if found.left else ""
        warn(
            f"{place.database} was made elsewhere, with artifacts in {' and '.join(found.old)}; its "
            f"experiments and {found.moved} of its runs now have them in {place.artifacts}{rest}"
        )


def _set_up_alone(place: Place) -> contextlib.AbstractContextManager[None]:
    """While the database is set up: two processes of other repositories, or machines, may begin with it at once.

    Those of this repository are held up by `Place.lock`: together they would ruin a fresh SQLite file.
    """
    return stores.alone(place.uri) if stores.is_postgres(place.uri) else contextlib.nullcontext()


def connect(place: Place) -> Connection:
    """Connect, and create the database and the experiment where they do not exist.

    Raises Unreachable, or UserError for an experiment that was deleted.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    _check(place)
    client_of = require("mlflow", extra="pipeline", purpose="tracking").MlflowClient

    with errors_as_unreachable(place), place.lock(), _set_up_alone(place):
        client = client_of(place.uri)
        found = client.get_experiment_by_name(place.experiment)
        if found is None:
            return Connection(place, client, client.create_experiment(place.experiment, place.artifacts))
        _relocate(place)
    if place.bucket and found.artifact_location != place.artifacts:
        raise UserError(
            f"tracking.artifacts: found {place.bucket}, but the experiment {place.experiment!r} has its artifacts in "
            f"{found.artifact_location}, where they stay; give tracking.experiment another name, or that place here"
        )
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment: {place.experiment!r} was deleted in MLflow; restore it there "
            f"(mlflow experiments restore -x {found.experiment_id}) or give another name"
        )
    return Connection(place, client, found.experiment_id)
