"""Where `tracking.uri` leads: databases relative to the repository, servers, and addresses that are refused."""

from pathlib import Path

import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import locate


def settings(uri: str = "") -> TrackingParams:
    return TrackingParams(uri=uri, experiment="test", required=True)


def test_databases_are_anchored_at_the_root_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert locate(settings(), tmp_path).database == tmp_path / "mlflow.db"
    assert locate(settings(), tmp_path).artifacts == str(tmp_path / "mlartifacts")
    assert locate(settings("sqlite:///rows/x.db"), tmp_path).database == tmp_path / "rows" / "x.db"
    assert locate(settings("sqlite:////srv/x.db"), tmp_path).database == Path("/srv/x.db")


def test_a_server_decides_itself_where_artifacts_go(tmp_path: Path) -> None:
    assert locate(settings("http://host:5000/"), tmp_path).artifacts is None
    assert locate(settings("http://host:5000/"), tmp_path).uri == "http://host:5000"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///mlruns", "localhost:5000"])
def test_an_address_that_mlflow_cannot_serve_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tracking\.uri: found .*http://host:port"):
        locate(settings(uri), tmp_path)


def test_a_password_in_the_committed_parameters_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        locate(settings("https://me:secret@host"), tmp_path)
    assert "secret" not in str(caught.value)
