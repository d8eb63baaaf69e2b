"""Logged models, the registry and models:/ addresses, in a real MLflow database in this process."""

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import musicgen_lite
from musicgen_lite import model_facts, tracking
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.initial import locate as locate_initial
from musicgen_lite.params import parse
from musicgen_lite.tracking import registry
from musicgen_lite.tracking.connection import connect, locate
from musicgen_lite.tracking.logged import ModelFile, log_model
from tests.support.tracked_runs import begin, client, content, settings
from tests.test_generator import save
from tests.test_params import change

pytestmark = pytest.mark.slow

NAME = "musicgen-lite"
HERE = settings(registered_model=NAME)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "model.safetensors", "b")


def described(model: Path) -> ModelFile:
    return ModelFile(model, model_facts.read(model).metadata("synthetic"))


def close(root: Path, record: dict[str, Any], model: Path, **changes: Any) -> tracking.RunRef:
    given = changes.pop("settings", HERE)
    return tracking.close(given, root, record, **content(**changes), model=described(model))


def find(root: Path, record: dict[str, Any]) -> tracking.RunRef | None:
    given = content()
    return tracking.find(HERE, root, record, given["scoring_params"], given["key_parts"])


def versions(root: Path) -> list[tuple[int, str]]:
    """Number and model type of every version."""
    found = client(root).search_model_versions(f"name = '{NAME}'")
    return sorted((int(one.version), one.tags["model.type"]) for one in found)


def aliases(root: Path) -> dict[str, int]:
    return {name: int(version) for name, version in client(root).get_registered_model(NAME).aliases.items()}


def trained(root: Path, kept: str = "run") -> dict[str, Any]:
    with begin(root, kept=kept) as run:
        pass
    return run.record


def test_a_result_has_one_model_and_one_version_also_where_its_run_is_written_again(
    tmp_path: Path, model: Path
) -> None:
    record = trained(tmp_path)
    ref = close(tmp_path, record, model, metrics={"clap": 0.25, "nll": 4.0})
    assert find(tmp_path, record) == ref
    mlflow = client(tmp_path)
    [logged] = mlflow.search_logged_models(["1"])
    facts = model_facts.read(model)
    assert {one.key: one.value for one in logged.metrics} == {"clap": 0.25, "nll": 4.0}
    assert logged.params["train.steps"] == "2"
    folder = Path(logged.artifact_location)
    assert (folder / "artifacts/model.safetensors").read_bytes() == model.read_bytes()
    assert len(list((tmp_path / "mlartifacts").rglob("*.safetensors"))) == 1  # stored once
    assert not list(folder.rglob("*.pkl"))
    from mlflow.models import Model

    described = Model.load(str(folder))
    assert described.metadata["config"] == facts.config
    assert described.metadata["licence"] == "MIT"
    assert described.signature.inputs.input_names() == ["prompt", "seconds", "seed", "guidance"]
    assert described.saved_input_example_info

    close(tmp_path, record, model)
    mlflow.delete_run(ref.run_id)
    assert find(tmp_path, record) is None
    again = close(tmp_path, record, model)
    assert again.created
    assert versions(tmp_path) == [(1, "b")]
    assert aliases(tmp_path) == {"latest-b": 1}
    assert len(list((tmp_path / "mlartifacts").rglob("*.safetensors"))) == 1
    for name in (str(again.run_id), f"models:/{NAME}@latest-b", f"models:/{NAME}/1", f"models:/{NAME}/latest",
                 f"models:/{logged.model_id}"):  # fmt: skip
        assert tracking.model_file(HERE, tmp_path, name) == folder / "artifacts/model.safetensors"
    # Another result of the same training is another run, with a version of its own.
    close(tmp_path, record, model, key_parts=["other"])
    assert versions(tmp_path) == [(1, "b"), (2, "b")]
    assert aliases(tmp_path) == {"latest-b": 2}
    assert tracking.run_of(HERE, tmp_path, facts.sha256) is not None
    assert tracking.run_of(HERE, tmp_path, "0" * 64) is None


def test_without_a_name_a_model_is_logged_and_registered_once_there_is_one(tmp_path: Path, model: Path) -> None:
    record = trained(tmp_path)
    close(tmp_path, record, model, settings=settings())
    assert len(client(tmp_path).search_logged_models(["1"])) == 1
    assert client(tmp_path).search_registered_models() == []
    assert find(tmp_path, record) is None
    close(tmp_path, record, model)
    assert versions(tmp_path) == [(1, "b")]
    assert len(client(tmp_path).search_logged_models(["1"])) == 1


def test_a_registry_that_fails_keeps_the_run_and_is_made_up_for(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "ATTEMPTS", 2)
    record = trained(tmp_path)

    def change_database(statement: str) -> None:
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute(statement)

    change_database(
        "CREATE TRIGGER refused BEFORE INSERT ON model_versions BEGIN SELECT RAISE(ABORT, 'attempt to write'); END"
    )
    with pytest.raises(UserError, match=r"tracking\.uri .*MLflow failed .*tracking\.required"):
        close(tmp_path, record, model)
    ref = close(tmp_path, record, model, settings=settings(required=False, registered_model=NAME))
    assert "warning: tracking.uri" in capsys.readouterr().err
    assert ref.run_id
    assert [one.run_id for one in tracking.finished(HERE, tmp_path)] == [ref.run_id]
    assert find(tmp_path, record) is None  # owed
    change_database("DROP TRIGGER refused")
    assert close(tmp_path, record, model).run_id == ref.run_id
    assert versions(tmp_path) == [(1, "b")]
    assert find(tmp_path, record) is not None


def test_eight_at_once_get_a_version_each_and_the_newest_of_a_type_has_the_alias(tmp_path: Path, model: Path) -> None:
    """As processes of several repositories with one tracking database: the lock of a repository does not part them."""
    kinds = "abababbb"
    runs = [trained(tmp_path, f"run-{number}")["run_id"] for number in range(8)]
    logged = [
        log_model(connect(locate(HERE, tmp_path)), run, f"result-{number}", described(model))
        for number, run in enumerate(runs)
    ]
    connections = [connect(locate(HERE, tmp_path)) for _ in runs]
    start, failed = threading.Barrier(8), list[BaseException]()

    def register(number: int) -> None:
        start.wait()
        try:
            registry.register(connections[number], NAME, runs[number], logged[number], {registry.KIND: kinds[number]})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=register, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    found = client(tmp_path).search_model_versions(f"name = '{NAME}'")
    assert sorted(int(one.version) for one in found) == list(range(1, 9))
    assert sorted(one.run_id for one in found) == sorted(runs)
    newest = {kind: max(int(v.version) for v in found if v.tags["model.type"] == kind) for kind in "ab"}
    assert aliases(tmp_path) == {f"latest-{kind}": version for kind, version in newest.items()}


def test_a_copied_repository_has_its_models_and_versions_at_home(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    record = trained(first)
    ref = close(first, record, model)
    shutil.copytree(first, second)
    shutil.rmtree(first)
    for name in (f"models:/{NAME}@latest-b", str(ref.run_id)):
        assert tracking.model_file(HERE, second, name).is_relative_to(second / "mlartifacts")
    # A training starts from it.
    initial = locate_initial(parse(change("train.init", f"models:/{NAME}@latest-b")), second, tracking.model_file)
    assert initial
    assert initial.path.read_bytes() == model.read_bytes()
    # `load` finds the database of the working directory.
    monkeypatch.chdir(second)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert musicgen_lite.load(f"models:/{NAME}@latest-b", clap="").model.config.type == "b"


def test_models_of_deleted_runs_leave_unless_they_are_registered(tmp_path: Path, model: Path) -> None:
    kept = close(tmp_path, trained(tmp_path, "kept"), model)
    gone = close(tmp_path, trained(tmp_path, "gone"), model, settings=settings())
    folders = {
        one.source_run_id: Path(one.artifact_location).parent for one in client(tmp_path).search_logged_models(["1"])
    }
    for ref in (kept, gone):
        client(tmp_path).delete_run(ref.run_id)
    stray = tmp_path / "mlartifacts" / "models" / f"m-{'0' * 32}"
    stray.mkdir()
    found = tracking.leftovers(HERE, tmp_path, 0)
    assert [tmp_path / "mlartifacts" / "models" / one for one in found.models] == [folders[str(gone.run_id)]]
    assert found.unknown == [stray]
    tracking.discard(HERE, tmp_path, found)
    assert folders[str(kept.run_id)].is_dir()
    assert not folders[str(gone.run_id)].exists()
    assert not stray.exists()
    assert tracking.leftovers(HERE, tmp_path, 0).folders == []
    assert tracking.model_file(HERE, tmp_path, f"models:/{NAME}/1").is_file()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A database with version 1 of this project, and a model of somebody else's."""
    root = tmp_path_factory.mktemp("registered")
    close(root, trained(root), model)
    import mlflow

    (root / "other.py").write_text(
        "from mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n\n\nclass Other(PythonModel):\n"
        "    def predict(self, context, model_input: list[str]): return model_input\n\n\nset_model(Other())\n"
    )
    mlflow.pyfunc.save_model(root / "mlartifacts/other", python_model=root / "other.py", pip_requirements=[])
    client(root).create_registered_model("other")
    client(root).create_model_version("other", str(root / "mlartifacts/other"))
    return root


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("models:/nobody@latest-a", "has no registered model 'nobody'; it has musicgen-lite, other"),
        ("models:/musicgen-lite@latest-a", "musicgen-lite has no alias 'latest-a'; it has latest-b"),
        ("models:/musicgen-lite/7", "musicgen-lite has no version 7; it has 1"),
        ("models:/musicgen-lite", "not the address of a model in MLflow; allowed are models:/NAME@ALIAS"),
        (f"models:/m-{'0' * 32}", "no logged model of this id"),
        ("models:/other/1", "a model of another kind (python_function), not of this project"),
        ("nobody", "'nobody': no finished run has this name or id; the newest are a-delay-"),
    ],
)
def test_what_is_not_there_is_named(
    registered: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: str, message: str
) -> None:
    monkeypatch.chdir(registered)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for command in (
        ["generate", "A piano.", "--experiment", "test", "--model", wanted, "-o", str(tmp_path / "out.wav")],
        ["export", wanted, str(tmp_path / "folder"), "--experiment", "test"],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        assert f"model {wanted!r}: " in done.stderr
        assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--tracking", "http://127.0.0.1:9"]
    for command in (["generate", "A piano.", "--model"], ["export"]):
        for model in ("models:/musicgen-lite@latest-a", "my-run"):
            rest = ["folder"] if command == ["export"] else []
            done = CliRunner().invoke(app, [*command, model, *rest, *options])
            assert done.exit_code == 2, done.output
            assert "http://127.0.0.1:9: no MLflow server answers" in done.stderr
    done = CliRunner().invoke(app, ["generate", "A piano.", "--model", "my-run"])
    assert done.exit_code == 2
    assert "no mlflow.db here" in done.stderr
    assert "allowed are shipped, shipped-a" in done.stderr


def test_names_that_a_registry_refuses_are_named(tmp_path: Path) -> None:
    for name in ("a/b", "a:b", "a@b", "it's", " "):
        with pytest.raises(UserError, match=r"tracking\.registered_model: found .*letters, digits"):
            parse(change("tracking.registered_model", name))
    assert parse(change("tracking.registered_model", "")).tracking.registered_model == ""


def test_a_file_that_is_no_model_of_this_project_is_named_before_anything_is_logged(tmp_path: Path) -> None:
    import numpy as np

    with pytest.raises(UserError, match=r"gone\.safetensors: there is no model file"):
        model_facts.read(tmp_path / "gone.safetensors")
    save_file({"x": np.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    for name in ("other", "cut"):
        with pytest.raises(UserError, match=rf"{name}\.safetensors: not a whole model file of this project"):
            model_facts.read(tmp_path / f"{name}.safetensors")
