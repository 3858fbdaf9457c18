from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Evaluate
from pipeline.datasets.dataset import build_dataset
from pipeline.evaluation import metrics
from pipeline.export.compilation import compile_model
from pipeline.models import families as models
from pipeline.models.encoders import Features
from pipeline.results import Dataset, Evaluation, Training
from pipeline.steps import evaluate as step
from pipeline.steps.evaluate import evaluate
from pipeline.tasks import BINARY
from tests.support.builders import (
    COLUMNS,
    make_config,
    make_dataset,
    make_table,
    with_scales_far_apart,
)
from tests.support.mixed import make_mixed_dataset

KINDS = [
    ((0, 1), 1),
    ((0, 1), 0),
    (("no", "yes"), "no"),
    ((False, True), True),
    ((0, 1, 2), None),
    (("a", "b", "c"), None),
]
FEW = Evaluate(resamples=200)


def make_training(dataset: Dataset, threshold: float | None = 0.4) -> Training:
    model = models.build("logistic_regression", {"transform": "standard", "C": 1.0}, seed=0)
    return Training(
        model=model.fit(dataset.X_train, dataset.y_train),
        weights={"logistic_regression": 1.0},
        threshold=None if dataset.contract.positive is None else threshold,
        metrics={},
        spread={},
    )


def run(labels: Any, positive: Any) -> tuple[Dataset, Training, Evaluation]:
    dataset = make_dataset(labels, positive)
    training = make_training(dataset)
    return dataset, training, evaluate(FEW, dataset, training)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request) -> tuple[Dataset, Training, Evaluation]:
    return run(*request.param)


@pytest.fixture(scope="module")
def binary() -> tuple[Dataset, Training, Evaluation]:
    return run((0, 1), 1)


def rare_class(labels: tuple[Any, ...], positive: Any) -> Dataset:
    """Seven rows of the last class: by the rules of the contract enough."""
    table = make_table(labels)
    is_rare = table["label"] == labels[-1]
    table = pd.concat([table[~is_rare], table[is_rare].head(7)], ignore_index=True)
    config = make_config(positive=positive, split={"test_size": 0.05, "stratify": len(labels) == 2})
    return build_dataset(config, table, digest="0" * 64)


def with_column(name: str) -> tuple[Dataset, Training]:
    """`noise` under another name."""
    columns = {name if old == "noise" else old: column for old, column in COLUMNS.items()}
    table = make_table().rename(columns={"noise": name})
    dataset = build_dataset(make_config(columns=columns), table, digest="0" * 64)
    return dataset, make_training(dataset)


def test_every_metric_has_a_value_inside_its_interval(case):
    _, _, evaluation = case
    assert list(evaluation.metrics) == list(BINARY.metrics)
    assert set(evaluation.intervals) == set(BINARY.metrics)
    for name, value in evaluation.metrics.items():
        low, high = evaluation.intervals[name]
        assert low < high
        assert low <= value <= high


def test_dummy_baseline_predicts_the_shares_of_the_classes(case):
    dataset, _, evaluation = case
    shares = dataset.y_train.value_counts(normalize=True)
    expected = -np.log(dataset.y_test.map(shares).astype(float)).mean()
    assert evaluation.baselines["dummy"]["log_loss"] == pytest.approx(expected)
    assert evaluation.baselines["dummy"]["roc_auc"] == pytest.approx(0.5)


def test_tutorial_baseline_is_the_tutorials_model_at_one_half(binary):
    dataset, _, evaluation = binary
    model = models.tutorial().fit(dataset.X_train, dataset.y_train)
    scores = evaluation.baselines["tutorial"]
    assert scores["accuracy"] == model.score(dataset.X_test, dataset.y_test)
    expected = sk.roc_auc_score(dataset.y_test, model.predict_proba(dataset.X_test)[:, 1])
    assert scores["roc_auc"] == pytest.approx(expected)


def test_artifacts_are_tables_and_pictures(case):
    dataset, _, evaluation = case
    kinds = {name: type(artifact) for name, artifact in evaluation.report.artifacts.items()}
    expected = {
        "metrics.csv": pd.DataFrame,
        "classes.csv": pd.DataFrame,
        "importance.csv": pd.DataFrame,
        "importance.png": Figure,
        "worst_rows.csv": pd.DataFrame,
        "confusion.png": Figure,
        "roc.png": Figure,
        "precision_recall.png": Figure,
        "calibration.png": Figure,
    }
    if dataset.contract.positive is not None:
        expected |= {"thresholds.csv": pd.DataFrame, "thresholds.png": Figure}
    assert kinds == expected


def test_table_of_metrics_tells_value_interval_and_baselines(binary):
    _, _, evaluation = binary
    table = evaluation.report.artifacts["metrics.csv"].set_index("metric")
    assert table.index.tolist() == list(BINARY.metrics)
    for name in BINARY.metrics:
        assert table.loc[name].tolist() == [
            evaluation.metrics[name],
            *evaluation.intervals[name],
            evaluation.baselines["dummy"][name],
            evaluation.baselines["tutorial"][name],
        ]


def test_summary_tells_the_metrics_with_their_intervals_and_the_dummys(case):
    dataset, _, evaluation = case
    text = step.summary(dataset, evaluation)
    low, high = evaluation.intervals["roc_auc"]
    assert text.startswith(f"on {len(dataset.y_test)} rows")
    value = evaluation.metrics["roc_auc"]
    assert f"ROC AUC {value:.3f} ({low:.3f} to {high:.3f}; dummy 0.500)" in text


def test_worst_rows_are_sorted_by_the_probability_of_their_true_class(case):
    dataset, training, evaluation = case
    table = evaluation.report.artifacts["worst_rows.csv"]
    worst = table["probability of the truth"]
    probabilities = training.model.predict_proba(dataset.X_test)
    places = [dataset.contract.classes.index(label) for label in dataset.y_test]
    expected = np.sort(probabilities[np.arange(len(places)), places])
    assert worst.tolist() == pytest.approx(expected[:20].tolist())
    assert len(table) == 20


def test_worst_rows_tell_the_sources_row_from_one_its_values_truth_and_prediction(case):
    dataset, training, evaluation = case
    table = evaluation.report.artifacts["worst_rows.csv"]
    source = dataset.X_test.assign(label=dataset.y_test)
    place = dataset.contract.positive_index
    for _, worst in table.iterrows():
        row = source.loc[worst["row"] - 1]
        pd.testing.assert_series_equal(
            worst[list(COLUMNS)].astype(float),
            row[list(COLUMNS)].astype(float),
            check_names=False,
        )
        assert worst["label"] == row["label"]
        (chance,) = training.model.predict_proba(dataset.X_test.loc[[worst["row"] - 1]])
        called = place if place is None or chance[place] >= 0.4 else 1 - place
        expected = chance.argmax() if place is None else called
        assert worst["predicted"] == dataset.contract.classes[expected]
        code = dataset.contract.classes.index(row["label"])
        assert worst["probability of the truth"] == pytest.approx(chance[code])


def test_importance_ranks_the_telling_column_first_and_noise_near_zero(case):
    _, _, evaluation = case
    table = evaluation.report.artifacts["importance.csv"]
    assert sorted(table["name"]) == sorted(COLUMNS)
    assert table["mean"].is_monotonic_decreasing
    assert table["name"].iloc[0] == "height"
    assert abs(table.set_index("name").loc["flag", "mean"]) < table["mean"].iloc[0] / 2


def test_importance_of_a_text_is_one_number():
    dataset = make_mixed_dataset(with_texts=True)
    features = Features.of(dataset.contract)
    model = models.build("logistic_regression", {}, 0, features)
    model.fit(dataset.X_train, dataset.y_train)

    evaluation = evaluate(FEW, dataset, Training(model, {}, 0.4, {}, {}))

    importance = evaluation.report.artifacts["importance.csv"].set_index("name")["mean"]
    assert set(importance.index) == set(dataset.contract.columns)
    assert importance["note"] > importance["shop"]
    assert "note" in evaluation.report.artifacts["worst_rows.csv"]


def test_importance_is_the_rise_of_the_loss_whatever_is_asked_at_once(case, monkeypatch):
    dataset, training, evaluation = case
    table = evaluation.report.artifacts["importance.csv"].set_index("name")
    rng = np.random.default_rng(Evaluate().seed)
    orders = [rng.permutation(len(dataset.X_test)) for _ in range(step.REPEATS)]
    truth = np.searchsorted(dataset.contract.classes, dataset.y_test)

    def loss(X):
        probabilities = training.model.predict_proba(X)
        return -np.log(probabilities[np.arange(len(X)), truth]).mean()

    for name in COLUMNS:
        rises = [
            loss(dataset.X_test.assign(**{name: dataset.X_test[name].to_numpy()[order]}))
            - loss(dataset.X_test)
            for order in orders
        ]
        assert table.loc[name, "mean"] == pytest.approx(np.mean(rises), abs=1e-12)
        assert table.loc[name, "std"] == pytest.approx(np.std(rises), abs=1e-12)
    monkeypatch.setattr(step, "MOST_CELLS", 1)
    predictions = metrics.predict(dataset, training.model, None)
    one_by_one = step._importance(Evaluate(), dataset, training, predictions)
    pd.testing.assert_frame_equal(
        one_by_one.set_index("name").loc[list(COLUMNS)], table.loc[list(COLUMNS)], rtol=1e-9
    )


def test_importance_asks_what_the_model_was_compiled_to(binary):
    dataset, training, evaluation = binary
    graph = compile_model(dataset, training).predict
    asked = []

    def compiled(X):
        asked.append(len(X))
        return graph(X)

    again = evaluate(Evaluate(), dataset, replace(training, compiled=compiled))
    rows = len(dataset.X_test)
    assert sum(asked) == rows + rows * len(COLUMNS) * step.REPEATS
    tables = [one.report.artifacts["importance.csv"] for one in (again, evaluation)]
    by_name = [table.set_index("name").loc[list(COLUMNS)] for table in tables]
    pd.testing.assert_frame_equal(*by_name, atol=1e-9)


def test_thresholds_show_the_metrics_at_each(binary):
    dataset, training, evaluation = binary
    table = evaluation.report.artifacts["thresholds.csv"]
    assert table["threshold"].tolist() == pytest.approx([n / 20 for n in range(1, 20)])
    probability = training.model.predict_proba(dataset.X_test)[:, 1]
    for _, row in table.iterrows():
        called = probability >= row["threshold"]
        assert row["accuracy"] == (called == dataset.y_test).mean()
        assert row["recall"] == pytest.approx(sk.recall_score(dataset.y_test, called))
        assert np.isnan(row["precision"]) == (not called.any())
    assert table["recall"].is_monotonic_decreasing


def test_precision_is_nowhere_where_nothing_is_predicted(binary):
    dataset, training, _ = binary
    never = replace(training, model=DummyClassifier().fit(dataset.X_train, dataset.y_train))
    artifacts = evaluate(FEW, dataset, never).report.artifacts
    table = artifacts["thresholds.csv"].set_index("threshold")
    assert table["precision"].notna().tolist() == (table["recall"] > 0).tolist()
    assert 0 < table["precision"].isna().sum() < len(table)
    line = artifacts["thresholds.png"].axes[0].get_lines()[1]
    assert (line.get_label(), np.isnan(line.get_ydata()).sum()) == (
        "precision",
        table["precision"].isna().sum(),
    )


def test_evaluation_is_the_same_for_the_same_seed(binary):
    dataset, training, first = binary
    again = evaluate(FEW, dataset, training)
    other = evaluate(FEW.model_copy(update={"seed": 1}), dataset, training)
    assert (first.metrics, first.intervals) == (again.metrics, again.intervals)
    tables = [e.report.artifacts["importance.csv"] for e in (first, again, other)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert other.intervals["log_loss"] != first.intervals["log_loss"]
    assert not tables[0].equals(tables[2])


def test_evaluation_leaves_data_and_model_as_they_are(binary):
    dataset, training, _ = binary
    X, y = dataset.X_test.copy(), dataset.y_test.copy()
    before = training.model.predict_proba(X)
    evaluate(FEW, dataset, training)
    pd.testing.assert_frame_equal(dataset.X_test, X)
    pd.testing.assert_series_equal(dataset.y_test, y)
    np.testing.assert_array_equal(training.model.predict_proba(X), before)


@pytest.mark.parametrize(("labels", "positive"), [((0, 1), 1), ((0, 1, 2), None)])
def test_test_part_without_a_row_of_a_rare_class_is_evaluated(labels, positive):
    dataset = rare_class(labels, positive)
    assert dataset.y_test.nunique() < len(labels)  # as ingest hands it on
    evaluation = evaluate(FEW, dataset, make_training(dataset))
    assert np.isfinite(evaluation.metrics["log_loss"])
    assert np.isnan(evaluation.metrics["roc_auc"])


def test_evaluation_says_nothing_when_the_baseline_does_not_converge():
    dataset = with_scales_far_apart(make_dataset())
    with pytest.warns(ConvergenceWarning), threadpool_limits(1):  # what it would say
        models.tutorial().fit(dataset.X_train, dataset.y_train)
    assert evaluate(FEW, dataset, make_training(dataset)).metrics["roc_auc"] > 0.5


@pytest.mark.parametrize(
    "name",
    [
        "mean",
        "name",
        "index",
        "row",
        "predicted",
        "probability of the truth",
    ],
)
def test_worst_rows_keep_a_column_of_any_name(name):
    dataset, training = with_column(name)
    table = evaluate(FEW, dataset, training).report.artifacts["worst_rows.csv"]
    values = set(dataset.X_test[name])
    assert any(set(cells) <= values for _, cells in table.items() if len(set(cells)) > 5)


def test_figures_call_the_classes_by_their_names():
    dataset = replace(make_dataset(), labels={0: "healthy", 1: "ill"})
    artifacts = evaluate(FEW, dataset, make_training(dataset)).report.artifacts
    axes, _ = artifacts["confusion.png"].axes  # and the color bar
    assert [label.get_text() for label in axes.get_xticklabels()] == ["healthy", "ill"]
    for name in ("roc", "precision_recall", "calibration", "thresholds"):
        assert "class ill" in artifacts[f"{name}.png"].get_suptitle()


def test_metrics_are_of_all_rows_where_the_rest_is_of_a_sample_and_says_so(monkeypatch, binary):
    dataset, training, whole = binary
    sizes = {"MOST_DRAWN": 30, "MOST_FITTED": 30, "MOST_SHUFFLED": 0, "FEWEST_SHUFFLED": 60}
    for name, size in sizes.items():
        monkeypatch.setattr(step, name, size)
    monkeypatch.setattr(step.metrics, "PART", 7)
    sampled = evaluate(FEW, dataset, training)
    assert sampled.metrics == pytest.approx(whole.metrics)
    assert "Drawn by chance" not in whole.report.note
    tested, trained = len(dataset.y_test), len(dataset.y_train)
    for sentence in (f"importances are of 30 of {tested}", f"fitted on 30 of {trained}"):
        assert sentence in sampled.report.note
    first, second = (one.report.artifacts["importance.csv"] for one in (whole, sampled))
    assert first["name"].iloc[0] == second["name"].iloc[0]
    assert first["mean"].iloc[0] != second["mean"].iloc[0]


@pytest.mark.parametrize(("labels", "positive"), [((0, 1), 1), (("a", "b", "c"), None)])
def test_each_class_has_its_precision_recall_and_roc_auc(labels, positive):
    dataset = make_dataset(labels, positive)
    model = models.tutorial().fit(dataset.X_train, dataset.y_train)
    training = Training(model, weights={}, threshold=None, metrics={}, spread={})
    table = evaluate(Evaluate(resamples=100), dataset, training).report.artifacts["classes.csv"]
    table = table.set_index("class")
    predicted = model.predict(dataset.X_test)
    for label in labels:
        right = (predicted == label) & (dataset.y_test == label)
        assert table.loc[str(label), "recall"] == right.sum() / (dataset.y_test == label).sum()
    assert table["roc_auc, class against rest"].notna().sum() == len(labels)
    assert {"macro avg", "weighted avg"} < set(table.index)
