"""The best of many candidates, asked of a real store a page at a time."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from math import nan
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipeline.errors import RegistryError
from pipeline.promotion.select import select
from pipeline.results import Candidate
from pipeline.tasks import BINARY
from pipeline.tracking import candidates, runs
from pipeline.tracking.candidates import Candidates, Select
from tests.support.builders import make_dataset
from tests.support.promotion_lab import STRONG, WEAK, Lab, latest

# Losses of evaluations in the order of their starts, with equals; NaN and None are no metric.
LOSSES = (0.5, 0.3, nan, 0.7, 0.3, 0.2, None, 0.2, 0.6, 0.9, 0.8, 0.4, 0.7, 0.7, 0.75, 0.65, 0.5)
NAMES = (f"run {n}" for n in count())
DATASET = make_dataset()
TAGS = DATASET.digests


def evaluated(client: MlflowClient, place: int, loss: float | None, model: str, **tags: str) -> Run:
    """A finished evaluation; with a loss, accuracy and ROC AUC are the better the lower it is."""
    name = next(NAMES)
    named = {
        runs.STEP: "evaluate",
        runs.FINGERPRINT: "f",
        MLFLOW_PARENT_RUN_ID: f"parent of {name}",
        "model_id": f"model of {name}",
        "registered_model": model,
        **TAGS,
        **tags,
    }
    run_id = client.create_run("0", start_time=1_000 + place).info.run_id
    measured = {} if loss is None else metric_values(loss)
    logged = [Metric(key, value, 1, 0) for key, value in measured.items()]
    client.log_batch(run_id, logged, tags=[RunTag(key, text) for key, text in named.items()])
    client.set_terminated(run_id)
    return client.get_run(run_id)


def metric_values(loss: float) -> dict[str, float]:
    return {
        f"cv/{name}": loss if name in ("log_loss", "brier") else 1 - loss
        for name in BINARY.search_metrics
    }


@pytest.fixture(scope="module")
def evaluations(client: MlflowClient) -> list[Run]:
    """In the order of their starts."""
    return [evaluated(client, place, loss, "many") for place, loss in enumerate(LOSSES)]


@pytest.fixture(autouse=True)
def _active_run(store: object, request: pytest.FixtureRequest) -> Iterator[None]:
    if "lab" in request.fixturenames:  # it opens runs itself
        yield
        return
    with runs.parent_run("promote", "people"):
        yield


def select_by(primary: str = "log_loss", rolled_back: dict[str, Any] | None = None) -> Select:
    return lambda among, is_all: select(primary, among, rolled_back or {}, is_all)


def among_all(evaluations: list[Run]) -> list[Candidate]:
    """The latest first."""
    return [candidates.candidate(run) for run in reversed(evaluations)]


@pytest.mark.parametrize("primary", BINARY.search_metrics)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_best_is_that_of_all_candidates_whoever_else_must_not_be_champion(
    evaluations, monkeypatch, size, primary
):
    monkeypatch.setattr(candidates, "PAGE", size)
    among = candidates.of_experiment("many", primary, evaluations[3])
    everyone = among_all(evaluations)
    excluded: set[str] = set()
    rolled_back: dict[str, dict[str, float]] = {}
    expected: Candidate | None = everyone[0]
    for turn in count():
        left = [one for one in everyone if one.run_id not in excluded]
        expected, whole = select(primary, left, rolled_back)
        best, choice = among.choose(select_by(primary, rolled_back), excluded)
        assert best == expected
        if best is None or expected is None:
            assert choice == whole
            break
        assert f"by cv/{primary} {best.metrics[f'cv/{primary}']:.4f}" in choice
        if turn % 3 == 2:  # then its equals are taken for its twins
            rolled_back[best.model_id] = {f"cv/{primary}": best.metrics[f"cv/{primary}"]}
        else:
            excluded.add(best.run_id)
    assert turn > 8
    assert "was rolled back" in choice


@pytest.mark.parametrize("primary", BINARY.search_metrics)
def test_best_costs_two_pages_however_many_candidates_there_are(
    evaluations, monkeypatch, primary, searches
):
    monkeypatch.setattr(candidates, "PAGE", 4)
    best, choice = candidates.of_experiment("many", primary, evaluations[0]).choose(
        select_by(primary)
    )
    assert best == candidates.candidate(evaluations[5])
    assert choice.startswith("best of at least ")
    assert len(searches) == 2
    assert sum(searches) <= 8


def test_candidates_of_one_page_cost_one_search(evaluations, searches):
    best, choice = candidates.of_experiment("many", "log_loss", evaluations[0]).choose(select_by())
    assert best == candidates.candidate(evaluations[5])
    assert choice == "best of 15 by cv/log_loss 0.2000"
    assert searches == [len(LOSSES)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_there_is_no_other_candidate_only_when_all_are_excluded(evaluations, monkeypatch, size):
    monkeypatch.setattr(candidates, "PAGE", size)
    among = candidates.of_experiment("many", "log_loss", evaluations[0])
    runs = [one.run_id for one in among_all(evaluations) if "cv/log_loss" in one.metrics]
    assert among.has_other_than(runs[1:])
    assert among.has_other_than(runs[:-1])
    every = {one.run_id for one in among_all(evaluations)}
    assert not candidates.of_experiment("many", "log_loss", evaluations[0]).has_other_than(every)


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("loss", [0.1, 0.2, 0.3])
def test_reused_evaluation_counts_though_it_was_made_for_another_registered_model(
    evaluations, client, monkeypatch, size, loss
):
    monkeypatch.setattr(candidates, "PAGE", size)
    is_best = loss <= 0.2
    reused = evaluated(client, 50, loss, f"another {size} {loss}")
    among = candidates.of_experiment("many", "log_loss", reused)
    best, _ = among.choose(select_by())
    assert (best == candidates.candidate(reused)) is is_best
    if is_best:
        second, _ = among.choose(select_by(), {best.run_id})
        assert second == candidates.candidate(evaluations[5])


@pytest.mark.parametrize(
    "tags",
    [
        {"registered_model": "no other"},
        {"data_digest": "0"},
        {"split_digest": "0"},
        {runs.STEP: "train"},
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_better_evaluation_of_something_else_is_no_candidate(
    evaluations, client, monkeypatch, size, tags
):
    monkeypatch.setattr(candidates, "PAGE", size)
    evaluated(client, 60, 0.01, "many", **tags)
    best, _ = candidates.of_experiment("many", "log_loss", evaluations[0]).choose(select_by())
    assert best == candidates.candidate(evaluations[5])


@pytest.mark.parametrize("size", [1, 100])
def test_better_evaluation_that_has_not_come_to_its_end_is_no_candidate(
    evaluations, client, monkeypatch, size
):
    monkeypatch.setattr(candidates, "PAGE", size)
    for status in ("RUNNING", "FAILED", "KILLED"):
        client.update_run(evaluated(client, 60, 0.01, "many").info.run_id, status)
    run = evaluated(client, 61, 0.01, "many")
    client.delete_tag(run.info.run_id, runs.FINGERPRINT)
    best, _ = candidates.of_experiment("many", "log_loss", evaluations[0]).choose(select_by())
    assert best == candidates.candidate(evaluations[5])


@pytest.mark.parametrize("loss", [1e-17, 1e16, 1.5e300, 0.1 + 0.2, 1 / 3])
def test_bound_of_any_size_is_understood_by_the_store(client, monkeypatch, loss):
    monkeypatch.setattr(candidates, "PAGE", 1)
    model = f"bound {loss!r}"
    first, last = (evaluated(client, place, loss, model) for place in range(2))
    best, _ = candidates.of_experiment(model, "log_loss", last).choose(select_by())
    assert best == candidates.candidate(first)


def test_models_of_a_test_part_are_counted_as_far_as_a_page_goes(client, monkeypatch, searches):
    rows = {"data_digest": "counted", "split_digest": "counted"}
    dataset = replace(DATASET, digest="counted", split_digest="counted")
    assert str(candidates.count_models(dataset)) == "0"
    for place in range(3):
        evaluated(client, place, 0.5, "any", model_id=f"model {place % 2}", **rows)
    assert str(candidates.count_models(dataset)) == "2"
    monkeypatch.setattr(candidates, "PAGE", 2)
    assert str(candidates.count_models(dataset)) == "at least 2"
    assert searches == [0, 3, 2]


def test_rerun_and_promotion_read_no_more_runs_where_there_are_more_evaluations(
    client, lab: Lab, monkeypatch, searches
):
    monkeypatch.setattr(candidates, "PAGE", 4)
    lab.promote(lab.config("rerun", WEAK))
    first = latest(client, "evaluate")
    read: list[tuple[int, int]] = []
    for place in range(12):
        rows = {name: first.data.tags[name] for name in TAGS}
        evaluated(client, place, 10.0 + place, "rerun", **rows)
        if place in (5, 11):
            searches.clear()
            lab.promote(lab.config("rerun", WEAK))
            read.append((len(searches), sum(searches)))
            assert latest(client).data.tags["decision"] == "unchanged"
    assert read[0] == read[1]
    lab.promote(lab.config("rerun", STRONG))
    assert latest(client).data.tags["decision"] == "promoted"
    assert "best of at least 4 by" in latest(client).data.tags["reasons"]
    page = runs.read_artifact(latest(client).info.run_id, "model_card.md").decode()
    assert "has judged at least 4 models;" in page


def test_candidates_of_a_run_are_its_one(evaluations, searches):
    evaluated = candidates.of_run(evaluations[3].info.run_id)
    candidates.check(evaluated, DATASET, {})
    among = Candidates("log_loss", [evaluated])
    assert among.latest() == candidates.candidate(evaluations[3])
    assert not among.has_other_than({among.latest().run_id})
    assert searches == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"split_digest": "0" * 64},
            r"another test part: split.seed was 7 and is 1 here; .* run: --split.seed 7$",
        ),
        ({"data_digest": "f" * 64}, r"another table than data.source holds here .* ffffffffffff"),
    ],
)
def test_model_of_another_test_part_is_refused_in_the_words_of_the_config(client, changes, message):
    evaluated_run = evaluated(client, 0, 0.5, "other rows", **changes)
    client.log_param(evaluated_run.info.run_id, "split.seed", "7")
    client.log_param(evaluated_run.info.run_id, "split.stratify", "true")
    other = candidates.of_run(evaluated_run.info.run_id)
    with pytest.raises(RegistryError, match=message):
        candidates.check(other, DATASET, {"split.seed": 1, "split.stratify": True})
