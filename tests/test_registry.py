"""Promotion in a real, empty MLflow store."""

from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

from pipeline import manifest, registry, scorer, serving
from pipeline.columns import Column
from pipeline.contract import Contract
from pipeline.errors import ModelError, RegistryError
from pipeline.results import Candidate, Decision

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


def decide(client: MlflowClient, model_id: str, passed: bool = True) -> Decision:
    """A decision for a logged model, in a run of its own."""
    candidate = Candidate(
        run_id=client.create_run("0").info.run_id,
        model_id=model_id,
        metrics={"cv/log_loss": 0.4512345678, "test/accuracy": 0.8, "test/roc_auc": float("nan")},
        params={"tune.max_evals": "48", "data.columns.x": "y" * 6000},
        digests={"data_digest": "d", "split_digest": "s"},
    )
    return Decision(candidate, passed, ("the reason",))


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


def test_line_of_promotions(client, tmp_path):
    """One store for the whole line: making one costs a second."""
    # Nothing passes: nothing is registered.
    first = decide(client, log_model(client, tmp_path / "1"))
    kept = registry.promote(NAME, decide(client, first.candidate.model_id, passed=False))
    assert (kept.verdict, kept.version) == ("kept", None)
    assert "there is no champion" in kept.sentence
    assert "the reason" in kept.sentence
    assert registry.champion(NAME) is None
    assert registry.champion_version(NAME) is None
    assert client.search_registered_models() == []

    # The first that passes becomes champion, with its story as tags.
    promoted = registry.promote(NAME, first)
    assert (promoted.verdict, promoted.version) == ("promoted", "1")
    assert aliases(client) == {"champion": 1}
    assert registry.champion_version(NAME) == "1"
    tags = client.get_model_version(NAME, "1").tags
    assert tags["cv/log_loss"] == "0.451235"
    assert (tags["data_digest"], tags["tune.max_evals"]) == ("d", "48")

    # Twice changes nothing.
    again = registry.promote(NAME, first)
    assert (again.verdict, again.version) == ("unchanged", "1")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1

    # The next moves the alias; the one before is kept by name.
    other = log_model(client, tmp_path / "2")
    second = registry.promote(NAME, decide(client, other))
    assert (second.verdict, second.version) == ("promoted", "2")
    assert aliases(client) == {"champion": 2, "previous": 1}

    # A candidate that fails leaves all as it was.
    failed = registry.promote(NAME, decide(client, first.candidate.model_id, passed=False))
    assert (failed.verdict, failed.version) == ("kept", "2")
    assert "version 2 stays champion" in failed.sentence
    assert aliases(client) == {"champion": 2, "previous": 1}

    # A known model gets its own version again, not a third.
    back = registry.promote(NAME, decide(client, first.candidate.model_id))
    assert (back.verdict, back.version) == ("promoted", "1")
    assert aliases(client) == {"champion": 1, "previous": 2}
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_promoted_gives_the_champion_with_the_manifest_of_its_files(client, tmp_path):
    decision = decide(client, log_model(client, tmp_path / "m"))
    registry.promote("listed", decision)

    version, address = registry.promoted("listed")

    assert (version.name, version.version) == ("listed", "1")
    assert version.run_id == decision.candidate.run_id
    assert version.metrics["cv/log_loss"] == 0.451235
    assert set(version.metrics) == {"cv/log_loss", "test/accuracy", "test/roc_auc"}
    assert set(version.manifest) == {"MLmodel", "code/a.py"}
    assert version.manifest == manifest.of(tmp_path / "m")
    with registry.files(address) as folder:
        manifest.copy(folder, version.manifest, tmp_path / "copy")
    assert (tmp_path / "copy" / "code" / "a.py").read_text() == "a = 1\n"


def test_promoted_refuses_where_there_is_no_champion():
    with pytest.raises(RegistryError, match=r"registry\.model 'nobody' has no version with the a"):
        registry.promoted("nobody")


def test_promoted_refuses_a_champion_without_manifest(client, tmp_path):
    register_by_hand(client, "by-hand", log_model(client, tmp_path / "m"))

    with pytest.raises(ModelError, match="by-hand version 1 has no manifest to verify it by; prom"):
        registry.promoted("by-hand")


def test_promoting_a_champion_without_manifest_gives_it_one(client, tmp_path):
    """It is what the refusal above tells the user to do."""
    model_id = log_model(client, tmp_path / "m")
    register_by_hand(client, "mended", model_id)

    promotion = registry.promote("mended", decide(client, model_id))

    version, _ = registry.promoted("mended")
    assert promotion.version == version.version == "1"
    assert version.manifest == manifest.of(tmp_path / "m")


def test_promoting_a_version_registered_by_hand_gives_it_a_manifest(client, tmp_path):
    model_id = log_model(client, tmp_path / "m")
    register_by_hand(client, "waiting", model_id)
    client.delete_registered_model_alias("waiting", registry.CHAMPION)

    promotion = registry.promote("waiting", decide(client, model_id))

    assert (promotion.verdict, promotion.version) == ("promoted", "1")
    assert registry.promoted("waiting")[0].manifest == manifest.of(tmp_path / "m")


ROWS = pd.DataFrame({"a": [0.0, 1.0]})


@pytest.fixture(scope="module")
def real(client, tmp_path_factory) -> str:
    """The id of a logged model that can answer, promoted as `real`."""
    contract = Contract(columns={"a": Column()}, target="y", classes=(0, 1), positive=1)
    folder = tmp_path_factory.mktemp("real") / "model"
    serving.save_model(
        str(folder),
        mlflow.models.Model(),
        LogisticRegression().fit(ROWS, [0, 1]),
        contract,
        scorer.describe(0.5, ROWS.to_numpy()),
        signature=serving.signature(contract, 0.5),
        pip_requirements=["scikit-learn"],
    )
    model_id = client.create_logged_model("0", name="m").model_id
    client.log_model_artifacts(model_id, str(folder))
    registry.promote("real", decide(client, model_id))
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
    ("name", "content", "told"),
    [
        ("model.pkl", b"no pickle", "model.pkl was changed"),
        ("added.pkl", b"", "added.pkl was added"),
    ],
)
def test_mlflow_refuses_a_promoted_model_that_was_changed_unread(client, real, name, content, told):
    """What is no pickle would fail otherwise if it were read."""
    path = files(client, real) / name
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        with pytest.raises(MlflowException, match=f"the model is not what was promoted: {told}; "):
            mlflow.pyfunc.load_model("models:/real@champion")
    finally:
        path.unlink() if before is None else path.write_bytes(before)
