"""Versions and aliases in a real, empty MLflow store."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel, RegisteredModelAlias
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from pipeline.errors import ModelError, RegistryError
from pipeline.inference import manifest, mlflow_flavor
from pipeline.inference.predictor import Trained
from pipeline.results import Candidate
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.tracking import durable, model_files, registry

NAME = "visits"


@pytest.fixture(scope="module")
def client(store) -> MlflowClient:
    return MlflowClient()


def log_model(client: MlflowClient, folder: Path) -> str:
    """The id of a logged model of small files."""
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "code" / "a.py").write_text("a = 1\n")
    model_id = client.create_logged_model("0", name="m").model_id
    client.log_model_artifacts(model_id, str(folder))
    return model_id


def candidate(client: MlflowClient, model_id: str) -> Candidate:
    """For a logged model, of a run of its own."""
    return Candidate(
        run_id=client.create_run("0").info.run_id,
        model_id=model_id,
        metrics={"cv/log_loss": 0.4512345678, "test/accuracy": 0.8, "test/roc_auc": float("nan")},
        params={"tune.max_evals": "48", "data.columns.x": "y" * 6000},
        digests={"data_digest": "d", "split_digest": "s"},
    )


def promote(client: MlflowClient, name: str, model_id: str) -> Candidate:
    """Registers a logged model and makes it champion."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    promoted = candidate(client, model_id)
    registry.set_aliases(name, str(registry.register(name, promoted).version), previous=None)
    return promoted


def register_by_hand(client: MlflowClient, name: str, model_id: str) -> str:
    """As in MLflow's own pages: a champion without the project's tags."""
    client.create_registered_model(name)
    version = client.create_model_version(name, source=f"models:/{model_id}", model_id=model_id)
    client.set_registered_model_alias(name, registry.CHAMPION, version.version)
    return str(version.version)


def files(client: MlflowClient, model_id: str) -> Path:
    """Where the store keeps a logged model."""
    return Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))


def aliases(client: MlflowClient) -> dict[str, int]:
    return {k: int(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def test_register_makes_a_version_with_its_story_once(client, tmp_path):
    client.create_registered_model(NAME)
    model = candidate(client, log_model(client, tmp_path / "1"))

    version = registry.register(NAME, model)

    assert (str(version.version), version.status) == ("1", "READY")
    assert registry.metrics(version)["cv/log_loss"] == 0.4512345678
    assert registry.digests(version)["data_digest"] == "d"
    (shown,) = json.loads(client.get_logged_model(model.model_id).tags["mlflow.modelVersions"])
    assert (shown["name"], str(shown["version"])) == (NAME, "1")
    config = json.loads(version.tags["zz.config"] + version.tags["zz.config.1"])
    assert config == model.params
    assert manifest.from_tags(version.tags) == manifest.of(tmp_path / "1")
    assert aliases(client) == {}
    assert registry.register(NAME, model).version == version.version
    other = candidate(client, log_model(client, tmp_path / "2"))
    assert str(registry.register(NAME, other).version) == "2"


def test_register_syncs_the_files_before_the_version_is_there(client, tmp_path, monkeypatch):
    client.create_registered_model("synced")
    calls = []

    def sync(folder):
        calls.append((folder, client.search_model_versions("name = 'synced'")))

    monkeypatch.setattr(durable, "sync", sync)
    model_id = log_model(client, tmp_path / "m")
    registry.register("synced", candidate(client, model_id))
    assert calls == [(files(client, model_id), [])]


def test_register_refuses_a_version_that_is_not_ready(client, tmp_path, monkeypatch):
    client.create_registered_model("pending")
    model = candidate(client, log_model(client, tmp_path / "m"))
    original = MlflowClient.create_model_version

    def pending(*arguments, **options):
        version = original(*arguments, **options)
        version._status = "PENDING_REGISTRATION"
        return version

    monkeypatch.setattr(MlflowClient, "create_model_version", pending)
    with pytest.raises(ModelError, match="pending version 1 is PENDING_REGISTRATION, not READY"):
        registry.register("pending", model)


def test_move_sets_the_champion_after_the_previous(client, monkeypatch):
    calls = []
    for method in ("set_registered_model_alias", "delete_registered_model_alias"):
        monkeypatch.setattr(MlflowClient, method, lambda _, *arguments: calls.append(arguments))
    aliases = [RegisteredModelAlias("champion", "2"), RegisteredModelAlias("previous", "1")]
    model = RegisteredModel(NAME, aliases=aliases)
    monkeypatch.setattr(MlflowClient, "get_registered_model", lambda *_: model)
    registry.set_aliases(NAME, "2", "1")
    registry.set_aliases(NAME, "1", None)
    first = [(NAME, "previous", "1"), (NAME, "champion", "2")]
    assert calls == [*first, (NAME, "previous"), (NAME, "champion", "1")]


@pytest.mark.parametrize(
    ("message", "is_set"),
    [
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: model_version_tags.key", True),
        ("(psycopg2.errors.UniqueViolation) duplicate key value", True),
        ("no permission", False),
    ],
)
def test_tag_that_another_set_at_the_same_moment_is_set_once_more(
    client, tmp_path, monkeypatch, message, is_set
):
    name = f"raced {len(message)}"
    client.create_registered_model(name)
    version = registry.register(name, candidate(client, log_model(client, tmp_path / "m")))
    put = MlflowClient.set_model_version_tag
    refusals = [MlflowException(message)]

    def refused_once(*arguments):
        if refusals:
            raise refusals.pop()
        return put(*arguments)

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", refused_once)
    if is_set:
        registry.tag(version, {"reasons": "it is better"})
        tags = client.get_model_version(name, str(version.version)).tags
        assert tags["reasons"] == "it is better"
    else:
        with pytest.raises(MlflowException, match=message):
            registry.tag(version, {"reasons": "it is better"})


def test_promoted_gives_the_champion_with_the_manifest_of_its_files(client, tmp_path):
    model = promote(client, "listed", log_model(client, tmp_path / "m"))

    version, address = registry.promoted("listed")

    assert (version.name, version.version) == ("listed", "1")
    assert version.run_id == model.run_id
    assert version.metrics["cv/log_loss"] == 0.4512345678
    assert set(version.metrics) == {"cv/log_loss", "test/accuracy", "test/roc_auc"}
    assert set(version.manifest) == {"MLmodel", "code/a.py"}
    assert version.manifest == manifest.of(tmp_path / "m")
    with model_files.at(address) as folder:
        manifest.copy(folder, version.manifest, tmp_path / "copy")
    assert (tmp_path / "copy" / "code" / "a.py").read_text() == "a = 1\n"


def test_promoted_refuses_where_there_is_no_champion():
    with pytest.raises(RegistryError, match=r"registry\.model 'nobody' has no version with the a"):
        registry.promoted("nobody")


def test_promoted_tells_which_versions_there_are(client, tmp_path):
    register_by_hand(client, "one-only", log_model(client, tmp_path / "m"))
    with pytest.raises(RegistryError, match=r"'one-only' has no version 99; it has 1$"):
        registry.promoted("one-only", "99")
    with pytest.raises(RegistryError, match=r"'nobody' has no version 1; it has none$"):
        registry.promoted("nobody", "1")
    client.set_registered_model_alias("one-only", "old", "1")
    with pytest.raises(RegistryError, match=r"'one-only' has no alias 'new'; it has champion, old"):
        registry.version("one-only", None, "new")


def test_promoted_refuses_a_champion_without_manifest(client, tmp_path):
    register_by_hand(client, "by-hand", log_model(client, tmp_path / "m"))
    with pytest.raises(ModelError, match="by-hand version 1 has no manifest to verify it by; prom"):
        registry.promoted("by-hand")


def test_manifest_is_added_to_a_champion_without_one(client, tmp_path):
    """It is what the refusal above tells the user to do."""
    model_id = log_model(client, tmp_path / "m")
    register_by_hand(client, "mended", model_id)
    registry.add_manifest(registry.champion("mended"), model_id)
    version, _ = registry.promoted("mended")
    assert version.manifest == manifest.of(tmp_path / "m")


def test_version_registered_by_hand_gets_a_manifest_when_it_is_a_candidate(client, tmp_path):
    model_id = log_model(client, tmp_path / "m")
    register_by_hand(client, "waiting", model_id)
    version = registry.register("waiting", candidate(client, model_id))
    assert str(version.version) == "1"
    assert registry.promoted("waiting")[0].manifest == manifest.of(tmp_path / "m")


ROWS = pd.DataFrame({"a": [0.0, 1.0]})


@pytest.fixture(scope="module")
def real(client, tmp_path_factory) -> str:
    """The id of a logged model that can answer, promoted as `real`."""
    contract = Contract(columns={"a": NumberColumn()}, target="y", classes=(0, 1), positive=1)
    folder = tmp_path_factory.mktemp("real") / "model"
    mlflow_flavor.save_model(
        str(folder),
        mlflow.models.Model(),
        LogisticRegression().fit(ROWS, [0, 1]),
        contract,
        Trained.on(contract, ROWS.to_numpy(), 0.5),
        signature=mlflow_flavor.signature(contract, 0.5),
        pip_requirements=["scikit-learn"],
    )
    model_id = client.create_logged_model("0", name="m").model_id
    client.log_model_artifacts(model_id, str(folder))
    promote(client, "real", model_id)
    return model_id


def test_mlflow_loads_a_promoted_model_that_is_as_it_was(real, caplog):
    loaded = mlflow.pyfunc.load_model("models:/real@champion")
    answers = loaded.predict(ROWS, params={"version": True})
    assert answers["label"].tolist() == [0, 1]
    assert set(zip(answers["model"], answers["version"], strict=True)) == {("real", "1")}
    assert "is not verified" not in caplog.text


def test_mlflow_loads_a_model_that_was_never_promoted_and_says_so(client, real, caplog):
    register_by_hand(client, "unknown", real)
    loaded = mlflow.pyfunc.load_model("models:/unknown@champion")
    assert loaded.predict(ROWS)["label"].tolist() == [0, 1]
    assert "unknown version 1 is not verified: it was never promoted" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.pkl", b"no pickle", "model.pkl was changed"),
        ("added.pkl", b"", "added.pkl was added"),
    ],
)
def test_mlflow_refuses_a_promoted_model_that_was_changed_unread(
    client, real, name, content, message
):
    """What is no pickle would fail otherwise if it were read."""
    path = files(client, real) / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        with pytest.raises(MlflowException, match=f"files are not what was logged: {message}; "):
            mlflow.pyfunc.load_model("models:/real@champion")
    finally:
        path.unlink() if before is None else path.write_bytes(before)


def test_name_of_a_prompt_is_refused_with_the_remedy(client):
    client.register_prompt("greeting", "Hello {{name}}")
    message = r"registry\.model is 'greeting', and the registry has a prompt of that name"
    for ask in (registry.check_name, registry.promoted):
        with pytest.raises(RegistryError, match=message):
            ask("greeting")


def test_name_that_nothing_has_and_that_of_a_model_are_taken(client):
    client.create_registered_model("by hand")
    assert registry.registered_model("by hand").name == "by hand"
    assert registry.registered_model("of nothing") is None


def test_metrics_and_digests_of_a_version_that_an_earlier_pipeline_made_are_read(client, tmp_path):
    client.create_registered_model("earlier")
    tags = {"cv/log_loss": "0.451235", "dummy/log_loss": "0.6", "data_digest": "d", "config": "{}"}
    source = f"models:/{log_model(client, tmp_path / 'm')}"
    version = client.create_model_version("earlier", source, tags=tags)
    assert registry.metrics(version) == {"cv/log_loss": 0.451235}
    assert registry.digests(version) == {"data_digest": "d"}
