import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from pipeline.config.sections import Audit as Settings
from pipeline.config.sections import Config
from pipeline.datasets.dataset import build_dataset
from pipeline.errors import ContractError, SearchError
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.models import families as models
from pipeline.results import Dataset, Report, Training, Tuning
from pipeline.steps import audit as step
from pipeline.steps import procedure
from pipeline.steps.audit import OuterFold, audit
from pipeline.tasks import BINARY, METRICS
from pipeline.tuning import worker_pool as workers
from tests.support import builders
from tests.support.builders import make_config, make_dataset, make_table, make_trial

KINDS = [((0, 1), 1), ((0, 1), 0), (("no", "yes"), "no"), (("a", "b", "c"), None)]
INNER = {"log_loss": 0.5, "roc_auc": 0.8, "brier": 0.2, "accuracy": 0.7}
BEST = {"transform": "standard", "C": 0.05}
OTHERS = ("best_trial", "plain", "tutorial")


def make_audit_config(folds: int = 3, seed: int = 0, tune: dict[str, Any] | None = None) -> Config:
    config = make_config(tune=tune)
    return config.model_copy(update={"audit": Settings(folds=folds, seed=seed)})


def hand_on(dataset: Dataset, model: Any, inner: dict[str, float]) -> tuple[Tuning, Training]:
    """A model of its own, and a search whose best trial is a logistic regression."""
    trial = make_trial(0, "logistic_regression", 0.5, BEST)
    worse = make_trial(1, "svc", 0.6, {"C": 1.0, "gamma": 0.1})
    training = Training(
        model=model.fit(dataset.X_train, dataset.y_train),
        weights={"logistic_regression": 1.0},
        threshold=None if dataset.contract.positive is None else 0.4,
        metrics=inner,
        spread=dict.fromkeys(inner, 0.01),
    )
    return Tuning((trial, worse), {"logistic_regression": trial}, {}), training


def bayes(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
    return hand_on(dataset, make_pipeline(SimpleImputer(), GaussianNB()), INNER)


def by_heart(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
    """It knows the label of every row that it has seen, and believes that this is knowledge."""
    model = make_pipeline(SimpleImputer(), KNeighborsClassifier(1))
    model.fit(dataset.X_train, dataset.y_train)
    inner = {**INNER, "accuracy": model.score(dataset.X_train, dataset.y_train)}
    return hand_on(dataset, model, inner)


def fails(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
    raise SearchError("no way")


def says_a_lot(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
    print("100%|##########| 48/48")
    warnings.warn("the fit is poor", UserWarning, stacklevel=1)
    return bayes(config, dataset)


class Recorder:
    """A procedure that keeps what it was given."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.parts: list[Dataset] = []

    def __call__(self, config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
        self.configs.append(config)
        self.parts.append(dataset)
        return bayes(config, dataset)


def run(config: Config, dataset: Dataset, procedure: Any = bayes) -> tuple[Report, list[OuterFold]]:
    folds: list[OuterFold] = []
    return audit(config, dataset, procedure, folds.append), folds


def assert_same(one: Report, other: Report) -> None:
    assert (one.metrics, one.note) == (other.metrics, other.note)
    for name in ("audit.csv", "folds.csv"):
        pd.testing.assert_frame_equal(one.artifacts[name], other.artifacts[name])


def outer_folds(dataset: Dataset, folds: int = 3, seed: int = 0) -> list[Dataset]:
    """The data set with each outer fold as its test part."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    X, y = dataset.X, dataset.y
    return [
        replace(dataset, X_train=X.loc[a], y_train=y.loc[a], X_test=X.loc[b], y_test=y.loc[b])
        for a, b in splitter.split(X, y)
    ]


def scores(part: Dataset, model: Any, threshold: float | None = None) -> dict[str, float]:
    """Of a fitted model on the test part."""
    truth = np.array([part.contract.classes.index(label) for label in part.y_test])
    probabilities = model.predict_proba(part.X_test)
    predictions = Predictions(truth, probabilities, part.contract.positive_index, threshold)
    return {name: metrics.value(name, predictions) for name in BINARY.metrics}


def with_rows_of_a_class(rows: int) -> Dataset:
    """So many rows of the class 1, and 60 of the class 0."""
    table = make_table()
    is_rare = table["label"] == 1
    table = pd.concat([table[~is_rare], table[is_rare].head(rows)], ignore_index=True)
    return build_dataset(make_config(), table, digest="0" * 64)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request) -> tuple[Dataset, Report, list[OuterFold]]:
    dataset = make_dataset(*request.param)
    return dataset, *run(make_audit_config(), dataset)


@pytest.fixture(scope="module")
def binary() -> tuple[Dataset, Report]:
    dataset = make_dataset()
    return dataset, run(make_audit_config(), dataset)[0]


@pytest.mark.parametrize("folds", [2, 5])
def test_every_row_is_tested_once_by_a_procedure_that_learns_from_all_others(folds):
    dataset, recorded = make_dataset(), Recorder()
    result, _ = run(make_audit_config(folds), dataset, recorded)
    assert len(recorded.parts) == folds
    tested = pd.concat([part.X_test.assign(label=part.y_test) for part in recorded.parts])
    pd.testing.assert_frame_equal(tested.sort_index(), dataset.X.assign(label=dataset.y))
    for part in recorded.parts:
        others = dataset.X.index.difference(part.X_test.index)
        pd.testing.assert_frame_equal(part.X_train, dataset.X.loc[others])
        pd.testing.assert_series_equal(part.y_train, dataset.y.loc[others])
    assert result.artifacts["folds.csv"]["rows"].sum() == len(dataset.X)


def test_procedure_that_learns_noise_by_heart_is_found_to_know_nothing():
    table = make_table(rows=400).assign(label=np.random.default_rng(0).integers(0, 2, 400))
    dataset = build_dataset(make_config(), table, digest="0" * 64)
    result, _ = run(make_audit_config(), dataset, by_heart)
    assert result.metrics["audit/accuracy"] == pytest.approx(0.5, abs=0.08)
    optimism = 1 - result.metrics["audit/accuracy"]
    assert result.metrics["optimism/accuracy"] == pytest.approx(optimism, abs=1e-12)


def test_classes_are_as_frequent_in_every_fold_as_in_the_table():
    recorded = Recorder()
    run(make_audit_config(folds=5), with_rows_of_a_class(30), recorded)
    assert [part.y_test.value_counts().to_dict() for part in recorded.parts] == [{0: 12, 1: 6}] * 5


def test_search_of_a_fold_runs_in_one_process_of_this_machine_and_is_otherwise_as_set():
    recorded = Recorder()
    config = make_audit_config(2, tune={"backend": "spark", "max_evals": 7, "seed": 5})
    run(config, make_dataset(), recorded)
    expected = config.tune.model_copy(update={"backend": "local"})
    assert [one.tune for one in recorded.configs] == [expected] * 2
    assert [one.train for one in recorded.configs] == [config.train] * 2


def test_folds_are_those_of_the_seed_with_the_procedure_and_the_others_fitted_in_each(case):
    dataset, result, _ = case
    table = result.artifacts["folds.csv"]
    threshold = None if dataset.contract.positive is None else 0.4
    for place, part in enumerate(outer_folds(dataset)):
        fitted = {
            "procedure": make_pipeline(SimpleImputer(), GaussianNB()),
            "best_trial": models.build("logistic_regression", BEST, seed=0),
            "plain": models.plain(),
            "tutorial": models.tutorial(),
        }
        assert table.loc[place, "fold"] == place + 1
        assert table.loc[place, "rows"] == len(part.X_test)
        for name, model in fitted.items():
            at = threshold if name == "procedure" else None
            for metric, value in scores(part, model.fit(part.X_train, part.y_train), at).items():
                assert table.loc[place, f"{name} {metric}"] == pytest.approx(value)
    assert len(table) == 3


def test_each_fold_is_told_once_with_its_rows_and_scores(case):
    dataset, result, folds = case
    table = result.artifacts["folds.csv"]
    assert [fold.place for fold in folds] == [0, 1, 2]
    for fold in folds:
        assert fold.rows_train + fold.rows_test == len(dataset.X)
        assert fold.rows_test == table.loc[fold.place, "rows"]
        assert fold.inner == INNER
        assert set(fold.scores) == {"procedure", *OTHERS}
        for model, values in fold.scores.items():
            assert list(values) == list(BINARY.metrics)
            assert values["log_loss"] == table.loc[fold.place, f"{model} log_loss"]


def test_fold_is_told_as_it_ends():
    recorded = Recorder()

    def stop(fold: OuterFold) -> None:
        raise KeyboardInterrupt(fold.place)

    with pytest.raises(KeyboardInterrupt, match="0"):
        audit(make_audit_config(), make_dataset(), recorded, stop)
    assert len(recorded.parts) == 1


def test_metrics_are_named_by_what_they_are_of(case):
    _, result, _ = case
    groups = ("audit", "audit_std", *OTHERS)
    expected = {f"{group}/{name}" for group in groups for name in BINARY.metrics}
    expected |= {f"p_value/{other}_{name}" for other in OTHERS for name in BINARY.metrics}
    expected |= {f"optimism/{name}" for name in BINARY.search_metrics}
    assert set(result.metrics) == expected
    assert np.isfinite(list(result.metrics.values())).all()


def test_metrics_are_means_deviations_and_corrected_t_tests_over_the_folds(case):
    _, result, _ = case
    table = result.artifacts["folds.csv"]
    for name in BINARY.metrics:
        values = table[f"procedure {name}"]
        assert result.metrics[f"audit/{name}"] == pytest.approx(values.mean())
        assert result.metrics[f"audit_std/{name}"] == pytest.approx(values.std())
        for other in OTHERS:
            its_values = table[f"{other} {name}"]
            assert result.metrics[f"{other}/{name}"] == pytest.approx(its_values.mean())
            gap = values - its_values
            error = gap.std() * np.sqrt(1 / 3 + 1 / 2)  # a third of the rows against the rest
            t = gap.mean() / error if gap.any() else 0.0
            expected = 2 * stats.t.sf(abs(t), df=2)
            assert result.metrics[f"p_value/{other}_{name}"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("inner", "sign"),
    [
        ({"log_loss": 0.05, "roc_auc": 0.99, "brier": 0.01, "accuracy": 0.99}, 1),
        ({"log_loss": 3.0, "roc_auc": 0.3, "brier": 0.9, "accuracy": 0.2}, -1),
    ],
)
def test_optimism_is_above_zero_where_the_procedure_thought_better_of_itself(inner, sign):
    def boasts(config: Config, dataset: Dataset) -> tuple[Tuning, Training]:
        return hand_on(dataset, make_pipeline(SimpleImputer(), GaussianNB()), inner)

    result, _ = run(make_audit_config(), make_dataset(), boasts)
    for name, thought in inner.items():
        direction = 1 if METRICS[name].greater_is_better else -1
        expected = direction * (thought - result.metrics[f"audit/{name}"])
        assert result.metrics[f"optimism/{name}"] == pytest.approx(expected)
        assert sign * result.metrics[f"optimism/{name}"] > 0


def test_table_holds_the_procedure_against_each_other_model_and_against_itself(case):
    _, result, _ = case
    table = result.artifacts["audit.csv"]
    alone = "its own cross-validation (optimism)"
    expected = [
        (name, other)
        for name in BINARY.metrics
        for other in (*OTHERS, *([alone] if name in BINARY.search_metrics else []))
    ]
    assert list(zip(table["metric"], table["against"], strict=True)) == expected
    for _, row in table.iterrows():
        name, other = row["metric"], row["against"]
        assert row["procedure"] == result.metrics[f"audit/{name}"]
        assert row["procedure std"] == result.metrics[f"audit_std/{name}"]
        assert row["low"] <= row["difference"] <= row["high"]
        if other == alone:
            assert row["its value"] == pytest.approx(INNER[name])
            assert row["difference"] == result.metrics[f"optimism/{name}"]
        else:
            assert row["its value"] == result.metrics[f"{other}/{name}"]
            assert row["difference"] == pytest.approx(row["procedure"] - row["its value"])
            assert row["p_value"] == result.metrics[f"p_value/{other}_{name}"]


def test_summary_tells_folds_differences_and_optimism(case):
    _, result, _ = case
    lines = result.note.splitlines()
    assert lines[0].startswith("3 outer folds")
    table = result.artifacts["audit.csv"]
    table = table[table["metric"].isin(BINARY.search_metrics)]
    for _, row in table.iterrows():
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        if row["against"] in OTHERS:
            values = f"{row['procedure']:.4f} | {row['against']} | {row['its value']:.4f}"
            gap = f"{row['difference']:+.4f} | {interval} | {row['p_value']:.3f}"
            assert f"| {row['metric']} | {values} | {gap} |" in lines
        else:
            assert f"- {row['metric']}: {row['difference']:+.4f} ({interval})" in lines
    assert sum(line.startswith("| ") for line in lines) == 2 + 4 * 3


def test_result_has_the_folds_in_order_in_whatever_order_they_end(binary, monkeypatch):
    dataset, in_order = binary
    as_they_end = step._run
    monkeypatch.setattr(step, "_run", lambda *jobs: reversed(list(as_they_end(*jobs))))
    result, folds = run(make_audit_config(), dataset)
    assert [fold.place for fold in folds] == [2, 1, 0]
    assert result.artifacts["folds.csv"]["fold"].tolist() == [1, 2, 3]
    assert_same(result, in_order)


def test_audit_is_the_same_in_two_processes_as_in_one(binary):
    dataset, alone = binary
    result, folds = run(make_audit_config(tune={"parallelism": 2}), dataset)
    assert sorted(fold.place for fold in folds) == [0, 1, 2]
    assert_same(result, alone)
    assert workers._pools == {}


@pytest.mark.parametrize(
    ("parallelism", "folds", "processes"), [("auto", 10, 6), ("auto", 4, 4), (3, 10, 3), (9, 2, 2)]
)
def test_processes_are_as_many_as_asked_for_and_never_more_than_folds(
    parallelism, folds, processes, monkeypatch
):
    def stop(size: int) -> None:
        raise KeyboardInterrupt(size)

    monkeypatch.setattr(workers, "cores", lambda: 6)
    monkeypatch.setattr(workers, "pool", stop)
    with pytest.raises(KeyboardInterrupt, match=f"^{processes}$"):
        run(make_audit_config(folds, tune={"parallelism": parallelism}), make_dataset())


@pytest.mark.parametrize("parallelism", [1, 2])
def test_error_of_a_fold_ends_the_audit_and_its_processes(parallelism):
    with pytest.raises(SearchError, match="no way"):
        run(make_audit_config(2, tune={"parallelism": parallelism}), make_dataset(), fails)
    assert workers._pools == {}


def test_audit_depends_on_its_seed_and_not_on_the_split(binary):
    _, first = binary
    config = make_config(split={"seed": 9, "test_size": 0.5})
    split_anew = build_dataset(config, make_table(), digest="0" * 64)
    assert list(split_anew.X_test.index) != list(make_dataset().X_test.index)
    assert_same(run(make_audit_config(), split_anew)[0], first)
    other, _ = run(make_audit_config(seed=1), split_anew)
    assert other.metrics["audit/log_loss"] != first.metrics["audit/log_loss"]


def test_audit_keeps_progress_bars_and_warnings_of_the_folds_to_itself(capsys):
    run(make_audit_config(2), make_dataset(), says_a_lot)
    assert capsys.readouterr().out == ""


def test_audit_says_nothing_when_the_tutorials_model_does_not_converge():
    result, _ = run(make_audit_config(2), builders.with_scales_far_apart(make_dataset()))
    assert result.metrics["tutorial/roc_auc"] > 0.5


@pytest.mark.parametrize(
    ("rows", "folds", "tune_folds"), [(11, 2, 2), (10, 11, 2), (20, 2, 11), (8, 3, 2)]
)
def test_class_with_too_few_rows_is_told_before_anything_runs(rows, folds, tune_folds):
    recorded = Recorder()
    config = make_audit_config(folds, tune={"folds": tune_folds})
    message = rf"label: the class 1 has {rows} .* audit.folds {folds}"
    with pytest.raises(ContractError, match=message):
        run(config, with_rows_of_a_class(rows), recorded)
    assert recorded.parts == []


@pytest.mark.parametrize(("rows", "folds", "tune_folds"), [(12, 2, 2), (9, 9, 2), (22, 2, 11)])
def test_class_with_just_enough_rows_is_audited(rows, folds, tune_folds):
    recorded = Recorder()
    run(make_audit_config(folds, tune={"folds": tune_folds}), with_rows_of_a_class(rows), recorded)
    assert len(recorded.parts) == folds
    for part in recorded.parts:
        assert (part.y_test == 1).sum() >= 1
        assert (part.y_train == 1).sum() >= max(6, tune_folds)


@pytest.mark.parametrize(("labels", "positive"), [((0, 1), 1), (("a", "b", "c"), None)])
def test_real_procedure_is_audited_fold_by_fold(labels, positive):
    dataset = make_dataset(labels, positive)
    families = ("logistic_regression", "spline_logistic_regression")
    config = make_audit_config(2, tune={"families": families, "max_evals": 3})
    result, audited = run(config, dataset, procedure.run)
    for fold, part in zip(audited, outer_folds(dataset, folds=2), strict=True):
        tuning, training = procedure.run(config, part)
        best = models.build(tuning.best.family, tuning.best.params, config.tune.seed)
        best.fit(part.X_train, part.y_train)
        assert fold.scores["procedure"] == scores(part, training.model, training.threshold)
        assert fold.scores["best_trial"] == pytest.approx(scores(part, best))
        assert fold.inner == training.metrics
    assert result.metrics["audit/log_loss"] < np.log(len(labels))
