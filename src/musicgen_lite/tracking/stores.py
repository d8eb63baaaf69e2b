"""What keeps runs beyond this machine: a PostgreSQL database, and a bucket of S3 for artifacts."""

import contextlib
import sys
import urllib.parse
from collections.abc import Iterator

from musicgen_lite.errors import first_line, require

DRIVER = "postgresql+psycopg2"  # SQLAlchemy 2.0 takes it by default, 2.1 another one
TIMEOUT_S = 5
SET_UP = 20_180_920  # the key of PostgreSQL's advisory lock, which processes of all machines hold while they set up


def is_postgres(uri: str) -> bool:
    return uri.partition(":")[0].partition("+")[0] == "postgresql"


def postgres(uri: str) -> str:
    """The URI that names the driver of the extra, and with which nobody waits for an answer for more than seconds."""
    uri = f"{DRIVER}{uri.removeprefix('postgresql')}" if uri.startswith("postgresql:") else uri
    return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={TIMEOUT_S}"


@contextlib.contextmanager
def alone(uri: str) -> Iterator[None]:
    """Hold PostgreSQL's lock for setting up: eight processes that begin with an empty database would make its tables at once.

    SQLAlchemyError where it does not answer.
    """
    require("psycopg2", extra="cluster", purpose="PostgreSQL")
    from sqlalchemy import create_engine, pool, text

    # Closing the connection gives the lock back, whatever ends this process.
    engine = create_engine(uri, poolclass=pool.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": SET_UP})
        yield


def bucket_fault(location: str) -> str | None:
    """Why the bucket of an `s3://bucket/folder` cannot be used; None where it answers."""
    boto3 = require("boto3", extra="cluster", purpose="tracking.artifacts on S3")
    from botocore.config import Config

    quick = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 2})
    try:
        boto3.Session().client("s3", config=quick).head_bucket(Bucket=urllib.parse.urlsplit(location).netloc)
    except errors() as error:
        return first_line(error)
    return None


def errors() -> tuple[type[Exception], ...]:
    """What S3's client raises; nothing where it is not loaded."""
    if "boto3" not in sys.modules:
        return ()
    require("boto3", extra="cluster", purpose="S3")
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return Boto3Error, BotoCoreError, ClientError
