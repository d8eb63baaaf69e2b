"""Real servers on this machine for tests: PostgreSQL from the system's packages, S3 by moto."""

import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

SECRET = "not in any file"
BUCKET = "music"
QUOTA = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>QuotaExceeded</Code>"
    b"<Message>The quota of the bucket is exceeded</Message></Error>"
)


def _program(name: str) -> str | None:
    """A program of PostgreSQL's server, which Debian keeps off the path."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, known)]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server, and the database that a test has; its user's password is SECRET. As it refuses to be root, `postgres` runs it."""

    def __init__(self) -> None:
        self.user = "postgres" if os.getuid() == 0 else None
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres-")), _free_port()
        if self.user:
            shutil.chown(self.folder, self.user)
        (self.folder / "password").write_text(SECRET)
        data = self.folder / "data"
        self._call("initdb", "-D", data, "-U", "music", "-A", "scram-sha-256", "--pwfile", self.folder / "password")
        self.databases, self.running = 0, False

    @property
    def uri(self) -> str:
        return f"postgresql://music@127.0.0.1:{self.port}/test{self.databases}"

    def create_database(self) -> None:
        """An empty one, which `uri` names from now on."""
        import psycopg2

        if not self.running:
            self.start()
        self.databases += 1
        administrator = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="music", dbname="postgres", password=SECRET
        )
        administrator.autocommit = True
        administrator.cursor().execute(f"CREATE DATABASE test{self.databases}")
        administrator.close()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -h 127.0.0.1 -c fsync=off"
        self._control("-w", "-l", str(self.folder / "log"), "-o", options, "start")
        self.running = True

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self._control("-m", "immediate", "stop")
        self.running = False

    def close(self) -> None:
        if self.running:
            self.stop()
        shutil.rmtree(self.folder)

    def _control(self, *arguments: str) -> None:
        self._call("pg_ctl", "-D", self.folder / "data", *arguments)

    def _call(self, name: str, *arguments: object) -> None:
        program = _program(name)
        assert program is not None
        subprocess.run(
            [program, *map(str, arguments)], user=self.user, cwd=self.folder, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if name == "initdb" else None,
        )  # fmt: skip


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    if not (_program("initdb") and _program("pg_ctl")):
        pytest.skip("PostgreSQL's server is not installed (initdb, pg_ctl): apt-get install postgresql")
    if os.getuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    server = Postgres()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """A server with an empty database, for whose user the environment has the password."""
    monkeypatch.setenv("PGPASSWORD", SECRET)
    postgres_server.create_database()
    return postgres_server


class S3:
    """A server with one bucket. While `full`, it takes nothing more."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.full = False
        self.written: list[str] = []
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] in ("PUT", "POST"):
            if self.full:
                environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
                start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(QUOTA)))])
                return [QUOTA]
            self.written.append(environment["PATH_INFO"])
        found: Iterable[bytes] = self._moto(environment, start)
        return found

    def client(self) -> Any:
        import boto3

        return boto3.client("s3", endpoint_url=self.url)

    def objects(self, prefix: str = "") -> list[str]:
        """Keys of everything in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def __enter__(self) -> "S3":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A server, which the environment names, with the empty bucket BUCKET."""
    server = s3_server
    for name in [one for one in os.environ if one.startswith("AWS_") or one == "MLFLOW_S3_ENDPOINT_URL"]:
        monkeypatch.delenv(name)
    settings = {"ACCESS_KEY_ID": "tests", "SECRET_ACCESS_KEY": SECRET, "DEFAULT_REGION": "us-east-1"}
    for name, value in (settings | {"ENDPOINT_URL": server.url, "EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server.full, server.written[:] = False, []
    reset = urllib.request.Request(f"{server.url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    server.client().create_bucket(Bucket=BUCKET)
    return server
