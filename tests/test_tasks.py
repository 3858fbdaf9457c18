"""What holds for every task and every metric: a new row of the tables is tested here."""

from math import isnan, nan

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.config.gate import Gate
from pipeline.config.of_task import of_task
from pipeline.evaluation import bootstrap, cross_validation, metrics
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.evaluation.metrics import Predictions
from pipeline.models import ensemble, families, threshold
from pipeline.promotion import gate
from pipeline.reporting import comparison
from pipeline.schema import targets
from pipeline.steps import audit
from pipeline.steps import evaluate as evaluation_step
from pipeline.steps.evaluate import evaluate
from pipeline.steps.train import fit
from pipeline.steps.tune import tune
from pipeline.tasks import CLASSIFICATION, FAMILIES, METRICS, SEARCH_METRICS, TASKS
from tests.support.builders import (
    make_amounts,
    make_config,
    make_dataset,
    make_predictions,
    make_sure,
    make_sure_amounts,
    make_without_ties,
)

TABLES = {
    "targets": targets.TARGETS,
    "splitters": cross_validation.SPLITTERS,
    "thresholds": threshold.THRESHOLDS,
    "ensembles": ensemble.ENSEMBLES,
    "bootstraps": bootstrap.BOOTSTRAPS,
    "row losses": metrics.ROW_LOSSES,
    "rules of calibration": gate.CALIBRATIONS,
    "pictures of models": comparison.COMPARISONS,
    "artifacts of the test part": evaluation_step.ARTIFACTS,
    "models of the audit": audit.OTHERS,
    "baselines": families.BASELINES,
}
LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": None}
FAMILIES_OF = {
    **dict.fromkeys(CLASSIFICATION, ("logistic_regression", "extra_trees")),
    "regression": ("ridge", "extra_trees_regressor"),
}
SAMPLES = {
    "binary, with ties": make_predictions(2),
    "binary, the first is positive": make_predictions(2, positive=0),
    "binary, threshold on a tie": make_predictions(2, threshold=0.3),
    "binary, without ties": make_without_ties(2),
    "multiclass, with ties": make_predictions(3),
    "multiclass, without ties": make_without_ties(3),
    "multiclass, five": make_predictions(5),
    "regression": make_amounts(),
    "regression, odd": make_amounts(61),
}
SURE = {
    **{
        f"{n} classes": (
            *(make_sure(True, classes=n), make_predictions(n), make_sure(False, classes=n)),
        )
        for n in (2, 3)
    },
    "amounts": (make_sure_amounts(True), make_amounts(), make_sure_amounts(False)),
}
EVERY_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
EVERY_METRIC = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
EVERY_SAMPLE = pytest.mark.parametrize(
    ("metric", "sample"),
    [
        pytest.param(METRICS[metric], sample, id=f"{metric} of {name}")
        for name, sample in SAMPLES.items()
        for metric in sample.task.metrics
    ],
)


def of_amounts(name: str, p: AmountPredictions) -> float:
    """The metric by scikit-learn where it has it, else by its definition, row by row."""
    ends = list(zip(p.truth, p.low, p.high, strict=True))
    below = sk.mean_pinball_loss(p.truth, p.low, alpha=0.05)
    above = sk.mean_pinball_loss(p.truth, p.high, alpha=0.95)
    table = {
        "rmse": lambda: sk.mean_squared_error(p.truth, p.value) ** 0.5,
        "mae": lambda: sk.mean_absolute_error(p.truth, p.value),
        "median_absolute_error": lambda: np.median(np.abs(p.truth - p.value)),
        "r2": lambda: sk.r2_score(p.truth, p.value),
        "pinball": lambda: (below + above) / 2,
        "interval_score": lambda: np.mean(
            [up - low + 20 * max(low - y, 0) + 20 * max(y - up, 0) for y, low, up in ends]
        ),
        "coverage": lambda: np.mean([low <= y <= up for y, low, up in ends]),
        "interval_width": lambda: np.mean([up - low for _, low, up in ends]),
    }
    return float(table[name]())


def by_scikit_learn(name: str, p: Predictions | AmountPredictions) -> float:
    """The metric by scikit-learn's own multi-class interface, not class by class."""
    if isinstance(p, AmountPredictions):
        return of_amounts(name, p)
    two = p.positive is not None
    one_hot = np.eye(p.classes)[p.truth]
    hit, score = (p.truth == p.positive, p.probabilities[:, p.positive]) if two else (None, None)
    average = {"pos_label": p.positive} if two else {"average": "macro"}
    scores = (hit, score) if two else (p.truth, p.probabilities)
    table = {
        "accuracy": lambda: sk.accuracy_score(p.truth, p.labels),
        "roc_auc": lambda: sk.roc_auc_score(*scores, **({} if two else {"multi_class": "ovr"})),
        "average_precision": lambda: sk.average_precision_score(
            *(scores if two else (one_hot, p.probabilities))
        ),
        "log_loss": lambda: sk.log_loss(p.truth, p.probabilities),
        "brier": lambda: sk.brier_score_loss(*scores),
        "f1": lambda: sk.f1_score(p.truth, p.labels, **average),
        "precision": lambda: sk.precision_score(p.truth, p.labels, **average),
        "recall": lambda: sk.recall_score(p.truth, p.labels, **average),
        "mcc": lambda: sk.matthews_corrcoef(p.truth, p.labels),
    }
    return table[name]()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_by_task_has_a_row_for_each(table):
    assert table.keys() == TASKS.keys()


def test_every_metric_has_a_function_and_every_family_a_model():
    assert metrics.FUNCTIONS.keys() == METRICS.keys()
    assert families.BUILT_IN.keys() == set(FAMILIES)


@EVERY_TASK
def test_task_searches_by_metrics_of_its_own(task):
    assert {task.loss, *task.search_metrics, task.gate_metric} <= set(task.metrics)
    assert task.loss in task.search_metrics
    assert not METRICS[task.loss].greater_is_better
    assert not set(task.families) & set(task.optional_families)


@EVERY_TASK
def test_gate_starts_from_what_the_task_says(task):
    settings = of_task(make_config(tune={"families": FAMILIES_OF[task.name]}), task).gate
    assert (settings.primary, settings.metric, settings.margin, settings.calibration) == (
        *(task.loss, task.gate_metric, task.gate_margin, task.gate_calibration),
    )


@EVERY_METRIC
def test_gate_takes_a_floor_for_every_metric_and_chooses_by_those_of_every_trial(metric):
    assert Gate(floors={metric.name: 0.5}, metric=metric.name).floors == {metric.name: 0.5}
    if metric.name in SEARCH_METRICS:
        assert Gate(primary=metric.name).primary == metric.name
    else:
        with pytest.raises(ValueError, match="primary"):
            Gate(primary=metric.name)


@EVERY_SAMPLE
def test_value_is_scikit_learns(metric, sample):
    assert sample.task.name in metric.tasks
    expected = by_scikit_learn(metric.name, sample)
    assert metrics.value(metric.name, sample) == pytest.approx(expected, abs=1e-12)
    assert bootstrap.values(sample)[metric.name] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "samples"),
    [
        pytest.param(METRICS[metric], samples, id=f"{metric} of {name}")
        for name, samples in SURE.items()
        for metric in samples[0].task.metrics
    ],
)
def test_predictions_that_are_right_and_sure_reach_the_best_bound_and_wrong_ones_the_other(
    metric, samples
):
    best, middle, worst = (metrics.value(metric.name, sample) for sample in samples)
    low, high = metric.bounds
    assert best == pytest.approx(high if metric.greater_is_better else low)
    assert low <= worst <= high
    assert metric.is_better(best, middle)
    assert metric.is_better(middle, worst)
    assert metric.reaches(best, middle)
    assert not metric.reaches(worst, middle)
    assert metric.reaches(worst, metric.worst)


@EVERY_METRIC
def test_metric_that_is_not_defined_reaches_nothing_and_is_not_better(metric):
    assert metric.reaches(0.5, 0.5)
    assert not metric.is_better(0.5, 0.5)
    for value, other in ((nan, 0.5), (0.5, nan)):
        assert not metric.is_better(value, other)
        assert not metric.reaches(value, other)


@EVERY_TASK
def test_task_is_tuned_trained_and_evaluated_with_its_own_metrics_and_figures(task):
    positive = LABELS[task.name][0] if task.has_positive else None
    dataset = make_dataset(LABELS[task.name], positive, rows=90)
    config = make_config(
        positive=positive, tune={"families": FAMILIES_OF[task.name], "max_evals": 2}
    )
    assert dataset.contract.task is task
    training = fit(config, dataset, tune(config, dataset))
    assert tuple(training.metrics) == task.search_metrics
    assert (training.threshold is not None) is task.has_positive
    evaluation = evaluate(config.evaluate, dataset, training)
    assert tuple(evaluation.metrics) == task.metrics
    assert evaluation.baselines.keys() == families.BASELINES[task.name].keys()
    assert not any(isnan(value) for value in evaluation.metrics.values())
    assert evaluation.metrics[task.loss] < evaluation.baselines["dummy"][task.loss]
    assert ("thresholds.png" in evaluation.report.artifacts) is task.has_positive
