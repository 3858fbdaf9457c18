"""Promotion in a real store, of models that were really trained."""

import json
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.errors import ModelError, RegistryError
from pipeline.promotion import promotion_log
from pipeline.tracking import candidates, model_files, registry, runs
from tests.support.promotion_lab import STRONG, WEAK, Lab, aliases, latest, rules


def artifact(run: Run, name: str) -> str:
    return runs.read_artifact(run.info.run_id, name).decode()


@pytest.fixture(scope="module")
def promoted(lab: Lab, client: MlflowClient) -> str:
    """A registered model with a weak champion and a strong one after it."""
    lab.promote(lab.config("line", WEAK))
    lab.promote(lab.config("line", STRONG), reason="it is stronger")
    return "line"


def test_first_that_passes_becomes_champion_and_a_better_one_after_it(promoted, client):
    assert aliases(client, promoted) == {"champion": "2", "previous": "1"}


def test_decision_is_recorded_on_the_run_the_parent_and_the_version(promoted, client):
    run = latest(client)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    version = client.get_model_version(promoted, "2")
    for tags in (run.data.tags, parent.data.tags, version.tags):
        assert tags["decision"] == "promoted"
        assert tags["claim"] in ("better", "not worse")
        assert "it is stronger" in tags["reasons"]
        assert tags["decided_by"]
        assert tags["decided_at"].endswith("Z")
    for digests in (run.data.tags, parent.data.tags, registry.digests(version)):
        assert len(digests["data_digest"]) == len(digests["split_digest"]) == 64
    assert sorted(tag for tag in version.tags if not tag.startswith(("zz.", "manifest"))) == [
        *("champion_before", "claim", "decided_at", "decided_by", "decision", "reasons")
    ]
    assert parent.data.tags["model_version"] == "2"
    assert "gate/rule/gain" in run.data.metrics
    assert {name.split("/")[0] for name in parent.data.metrics} == {"cv", "test"}
    assert (
        json.loads(version.tags["zz.rules"]) == json.loads(artifact(run, "decision.json"))["rules"]
    )


def test_every_rule_that_is_set_is_in_the_record_with_its_figures(promoted, client):
    results = rules(latest(client))
    assert set(results) == {
        *("reproduced", "gate.dummy", "gate.calibration", "gate.rule", "gate.primary"),
        "gate.serve_check",
    }
    assert all(rule["passed"] for rule in results.values())
    assert results["gate.rule"]["figures"]["rows"] == 120
    assert results["gate.rule"]["figures"]["least_gain"] > -0.02
    assert (
        results["gate.primary"]["figures"]["first"] < results["gate.primary"]["figures"]["second"]
    )
    assert results["gate.serve_check"]["figures"]["requests"] > 20


def test_model_card_is_an_artifact_and_the_description_with_the_picture(promoted, client):
    run = latest(client)
    page = artifact(run, "model_card.md")
    description = client.get_model_version(promoted, "2").description
    assert page.startswith("# line version 2")
    assert "data:image/png;base64," in artifact(run, "model_card.html")
    assert f"get-artifact?path=curves.png&run_uuid={run.info.run_id}" in description
    assert description.split("(get-artifact")[0] == page.split("(curves.png")[0]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"curves.png"}


def test_champion_that_is_best_already_stays_and_nothing_is_entered(lab, client, promoted):
    before = promotion_log.read(promoted)
    lab.promote(lab.config(promoted, STRONG))
    assert latest(client).data.tags["decision"] == "unchanged"
    assert promotion_log.read(promoted) == before
    assert len(client.search_model_versions(f"name = '{promoted}'")) == 2


def test_challenger_that_breaks_a_rule_is_kept_out_and_recorded_with_why(lab, client):
    lab.promote(lab.config("kept", WEAK))
    lab.promote(lab.config("kept", STRONG, rule="superiority", metric="roc_auc"))
    run = latest(client)
    version = client.get_model_version("kept", "2")
    assert aliases(client, "kept") == {"champion": "1"}
    assert rules(run)["gate.rule"]["passed"] is False
    assert version.tags["decision"] == run.data.tags["decision"] == "kept"
    assert "not proven better" in version.tags["reasons"]
    assert [event.version for event in promotion_log.read("kept").events] == ["1"]


def test_candidate_that_misses_a_floor_is_no_champion_though_there_is_none(lab, client):
    lab.promote(lab.config("floor", STRONG, floors={"roc_auc": 0.999}))
    assert aliases(client, "floor") == {}
    assert "there is no champion" in latest(client).data.tags["mlflow.note.content"]


def test_dry_run_decides_and_tells_and_leaves_the_registry_as_it_was(lab, client, caplog):
    caplog.set_level("INFO")
    lab.promote(lab.config("dry", STRONG), dry_run=True)
    assert "would become champion" in caplog.text
    assert "gate.serve_check" in caplog.text
    assert latest(client).data.tags["decision"] == "dry run"
    assert not client.search_registered_models("name = 'dry'")


def test_dry_run_beside_a_champion_moves_nothing(lab, client, caplog):
    lab.promote(lab.config("dry-beside", WEAK))
    before = promotion_log.read("dry-beside")
    caplog.set_level("INFO")
    lab.promote(lab.config("dry-beside", STRONG), dry_run=True)
    assert "would become champion" in caplog.text
    assert aliases(client, "dry-beside") == {"champion": "1"}
    assert promotion_log.read("dry-beside") == before


def test_run_that_is_named_is_the_candidate_though_it_is_not_the_best(lab, client):
    lab.promote(lab.config("named", WEAK))
    weak = latest(client).data.tags["mlflow.parentRunId"]
    lab.promote(lab.config("named", STRONG))
    lab.promote(lab.config("named", STRONG, rule="none"), run=weak)
    assert aliases(client, "named") == {"champion": "1", "previous": "2"}
    assert f"asked for by its run {weak}" in latest(client).data.tags["reasons"]


@pytest.mark.parametrize(
    ("run", "message"),
    [("0" * 32, "is not in the tracking store"), ("no id", "is not in the tracking store")],
)
def test_run_that_is_not_there_is_told(lab, run, message):
    with pytest.raises(RegistryError, match=message):
        lab.promote(lab.config("none", STRONG), run=run)


def test_run_without_an_evaluation_is_told(lab, client):
    empty = client.create_run("0").info.run_id
    with pytest.raises(RegistryError, match="has no finished evaluation"):
        lab.promote(lab.config("none", STRONG), run=empty)


def test_run_of_another_split_is_told_with_the_remedy(lab, client, promoted):
    lab.promote(lab.config("split", STRONG, split=2), dry_run=True)
    other = latest(client).data.tags["mlflow.parentRunId"]
    with pytest.raises(
        RegistryError, match=r"split\.seed was 2 and is 1 here; .*: --split\.seed 2$"
    ):
        lab.promote(lab.config("split", STRONG), run=other)


def test_champion_of_another_split_is_compared_on_the_rows_that_neither_has_seen(lab, client):
    lab.promote(lab.config("splits", WEAK))
    lab.promote(lab.config("splits", STRONG, split=2))
    results = rules(latest(client))
    assert 10 < results["gate.rule"]["figures"]["rows"] < 120
    assert results["gate.primary"]["passed"] is None
    assert "cross-validated on other rows" in results["gate.primary"]["sentence"]


def test_champion_whose_training_rows_are_gone_cannot_be_compared(lab, client):
    name = "unknown"
    lab.promote(lab.config(name, WEAK))
    model_id = registry.model_id(name, "1")
    train = client.get_run(registry.training_run(model_id))
    path = Path(train.info.artifact_uri.removeprefix("file://")) / "training_rows.npz"
    with replaced(path, None):
        lab.promote(lab.config(name, STRONG, split=2))
    run = latest(client)
    assert rules(run)["gate.rule"]["passed"] is False
    assert "which rows version 1 was trained on is not known" in run.data.tags["reasons"]
    assert aliases(client, name) == {"champion": "1"}


@contextmanager
def replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """A file with another content, or none, meanwhile."""
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_dry_run_says_that_it_starts_no_server(lab, caplog):
    caplog.set_level("INFO")
    lab.promote(lab.config("dry", STRONG, serve_check="full", latency=1e-7), dry_run=True)
    assert "gate.latency: not asked in a dry run" in caplog.text


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


def test_candidate_that_was_tampered_with_is_refused_before_it_is_unpickled(lab, client, tmp_path):
    lab.promote(lab.config("tampered", STRONG), dry_run=True)
    run = latest(client).data.tags["mlflow.parentRunId"]
    evil = pickle.dumps(Payload(tmp_path / "it-ran"))
    with (
        model_files.of(candidates.of_run(run).data.tags["model_id"]) as folder,
        replaced(folder / "model.pkl", evil),
        pytest.raises(ModelError, match=r"model\.pkl was changed; restore them, or train it anew"),
    ):
        lab.promote(lab.config("tampered", STRONG), run=run)
    assert not (tmp_path / "it-ran").exists()
    assert client.search_model_versions("name = 'tampered'") == []


def test_champion_that_was_damaged_is_told_though_nothing_is_to_be_done(lab, client):
    lab.promote(lab.config("damaged", STRONG))
    with (
        model_files.of(registry.model_id("damaged", "1")) as folder,
        replaced(folder / "contract.json", None),
        pytest.raises(ModelError, match=r"contract\.json is missing"),
    ):
        lab.promote(lab.config("damaged", STRONG))


@contextmanager
def without_files(*model_ids: str) -> Iterator[None]:
    """Logged models whose folders are gone, meanwhile."""
    with ExitStack() as stack:
        for model_id in model_ids:
            folder = stack.enter_context(model_files.of(model_id))
            aside = folder.with_name(f"{folder.name}-aside")
            folder.rename(aside)
            stack.callback(aside.rename, folder)
        yield


def test_champion_without_files_is_not_compared_and_makes_room_for_the_new_one(lab, client, caplog):
    lab.promote(lab.config("lost", WEAK))
    with without_files(registry.model_id("lost", "1")):
        lab.promote(lab.config("lost", STRONG))
    rule = rules(latest(client))["gate.rule"]
    assert aliases(client, "lost") == {"champion": "2", "previous": "1"}
    assert rule["passed"] is None
    assert rule["sentence"] == "version 1, the champion, is unusable: it is not compared"
    assert "version 1, the champion, is unusable: the model's files are not what was" in caplog.text
    assert client.get_model_version("lost", "2").tags["claim"] == "not compared"


def test_other_rules_hold_for_the_one_that_follows_a_champion_without_files(lab, client):
    lab.promote(lab.config("lost-floor", WEAK))
    with without_files(registry.model_id("lost-floor", "1")):
        lab.promote(lab.config("lost-floor", STRONG, floors={"roc_auc": 0.999}))
    assert aliases(client, "lost-floor") == {"champion": "1"}


def test_candidate_without_files_is_left_out(lab, client, caplog):
    lab.promote(lab.config("gone", 0.6), dry_run=True)
    gone = latest(client).data.tags["mlflow.parentRunId"]
    with without_files(candidates.of_run(gone).data.tags["model_id"]):
        lab.promote(lab.config("gone", WEAK))
    assert f"run {gone} is left out: its model's files are gone" in caplog.text
    assert aliases(client, "gone") == {"champion": "1"}
    assert "(1 left out: without files)" in latest(client).data.tags["reasons"]


def test_candidate_that_was_deleted_is_left_out(lab, client, caplog):
    lab.promote(lab.config("deleted", 0.7), dry_run=True)
    gone = candidates.candidate(candidates.of_run(latest(client).data.tags["mlflow.parentRunId"]))
    client.delete_logged_model(gone.model_id)
    lab.promote(lab.config("deleted", WEAK))
    assert f"run {gone.run_id} is left out: its model's files are gone" in caplog.text
    assert aliases(client, "deleted") == {"champion": "1"}


def test_model_trained_anew_replaces_its_twin_without_files_as_the_remedy_says(lab, client):
    lab.promote(lab.config("twin", STRONG))
    with without_files(registry.model_id("twin", "1")):
        with pytest.raises(ModelError, match=r"run --fresh --gate\.rule none` with the same"):
            lab.promote(lab.config("twin", STRONG))
        lab.promote(lab.config("twin", STRONG), fresh=True)
        assert aliases(client, "twin") == {"champion": "2", "previous": "1"}
        lab.promote(lab.config("twin", STRONG))
        assert aliases(client, "twin") == {"champion": "2", "previous": "1"}
