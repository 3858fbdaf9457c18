"""Files of logged models in a real, empty MLflow store."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import FilesError, ModelError
from pipeline.inference import manifest
from pipeline.tracking import model_files


@pytest.fixture
def model_id(store, tmp_path) -> str:
    """Of a logged model with two files."""
    client = MlflowClient()
    (tmp_path / "code").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    model_id = client.create_logged_model("0", name="m").model_id
    client.log_model_artifacts(model_id, str(tmp_path))
    return model_id


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_sealed_model_is_verified_in_a_copy_that_goes(model_id):
    model_files.seal(model_id)
    with model_files.of(model_id) as folder, model_files.verified(model_id) as copy:
        assert copy != folder
        assert manifest.of(copy) == manifest.of(folder) == model_files.sealed(model_id)
        assert held(copy) == held(folder) == {"MLmodel": "flavors: {}\n", "a.py": "a = 1\n"}
    assert not copy.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("code/a.py", "a = 2\n", "code/a.py was changed"),
        ("code/b.py", "", "code/b.py was added"),
        ("MLmodel", None, "MLmodel is missing"),
    ],
)
def test_sealed_model_that_was_changed_since_is_refused(model_id, name, content, message):
    model_files.seal(model_id)
    with model_files.of(model_id) as folder:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content)
    with (
        pytest.raises(
            ModelError, match=f"logged model {model_id}: the model's .+ logged: {message}; "
        ),
        model_files.verified(model_id),
    ):
        pytest.fail("it was handed out")


def test_model_that_was_not_sealed_is_taken_as_it_is(model_id):
    with model_files.of(model_id) as folder:
        (folder / "code" / "a.py").write_text("a = 2\n")
    with model_files.verified(model_id) as copy:
        assert (copy / "code" / "a.py").read_text() == "a = 2\n"


@pytest.mark.parametrize(("listed", "error"), [([], FilesError), (["MLmodel"], MlflowException)])
def test_files_that_are_gone_from_a_server_are_told_from_a_server_that_fails(
    monkeypatch, listed, error
):
    def fail(*_: object, **__: object) -> None:
        raise MlflowException("404 Client Error: Not Found")

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", fail)
    monkeypatch.setattr(mlflow.artifacts, "list_artifacts", lambda artifact_uri: listed)
    with pytest.raises(error), model_files.at("mlflow-artifacts:/1/models/m-1/artifacts"):
        pytest.fail("it was handed out")
