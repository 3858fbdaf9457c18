import re
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn import metrics as sk

from pipeline.config.sections import LOWER_IS_BETTER, Metric
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.models import families as models
from pipeline.schema.contract import Contract
from tests.support.builders import make_dataset, make_predictions

ONE_LABEL = "ignore:A single label was found:UserWarning"  # scikit-learn on a resample's MCC


def without_ties(classes: int, seed: int = 3) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(50) % classes)
    return Predictions(
        truth, rng.dirichlet(np.ones(classes), size=50), 1 if classes == 2 else None, None
    )


SAMPLES = {
    "two classes with ties": make_predictions(2),
    "two classes, the first is positive": make_predictions(2, positive=0),
    "two classes, threshold on a tie": Predictions(
        make_predictions(2).truth, make_predictions(2).probabilities, 1, threshold=0.3
    ),
    "two classes without ties": without_ties(2),
    "three classes with ties": make_predictions(3),
    "three classes without ties": without_ties(3),
    "five classes with ties": make_predictions(5),
}


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES.keys())
def sample(request: pytest.FixtureRequest) -> Predictions:
    return request.param


def by_scikit_learn(name: Metric, p: Predictions) -> float:
    """The metric by scikit-learn's own multi-class interface, not class by class."""
    two = p.positive is not None
    one_hot = np.eye(p.classes)[p.truth]
    hit, score = (p.truth == p.positive, p.probabilities[:, p.positive]) if two else (None, None)
    average = {"pos_label": p.positive} if two else {"average": "macro"}
    table = {
        "accuracy": lambda: sk.accuracy_score(p.truth, p.labels),
        "roc_auc": lambda: (
            sk.roc_auc_score(hit, score)
            if two
            else sk.roc_auc_score(p.truth, p.probabilities, multi_class="ovr")
        ),
        "average_precision": lambda: (
            sk.average_precision_score(hit, score)
            if two
            else sk.average_precision_score(one_hot, p.probabilities)
        ),
        "log_loss": lambda: sk.log_loss(p.truth, p.probabilities),
        "brier": lambda: sk.brier_score_loss(
            *((hit, score) if two else (p.truth, p.probabilities))
        ),
        "f1": lambda: sk.f1_score(p.truth, p.labels, **average),
        "precision": lambda: sk.precision_score(p.truth, p.labels, **average),
        "recall": lambda: sk.recall_score(p.truth, p.labels, **average),
        "mcc": lambda: sk.matthews_corrcoef(p.truth, p.labels),
    }
    return table[name]()


def repeated(p: Predictions, counts: np.ndarray) -> Predictions:
    rows = np.repeat(np.arange(len(p.truth)), counts.astype(int))
    return Predictions(p.truth[rows], p.probabilities[rows], p.positive, p.threshold)


def test_all_names_every_metric_of_the_config_once():
    assert sorted(metrics.ALL) == sorted(get_args(Metric))
    assert set(metrics.SEARCH_METRICS) <= set(metrics.ALL)


@pytest.mark.parametrize("name", metrics.ALL)
def test_value_equals_scikit_learn(name, sample):
    assert metrics.value(name, sample) == pytest.approx(by_scikit_learn(name, sample), abs=1e-12)


@pytest.mark.parametrize(
    ("positive", "threshold", "labels"),
    [
        (1, None, [0, 1, 1]),
        (1, 0.5, [0, 1, 1]),
        (1, 0.8, [0, 0, 1]),
        (1, 0.2, [1, 1, 1]),
        (0, None, [0, 0, 1]),
        (0, 0.8, [0, 1, 1]),
    ],
)
def test_labels_are_positive_from_the_threshold_on(positive, threshold, labels):
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]])
    predictions = Predictions(np.array([0, 1, 1]), probabilities, positive, threshold)
    assert predictions.labels.tolist() == labels


def test_labels_are_all_positive_at_a_threshold_of_zero():
    probabilities = np.array([[0.9, 0.1], [1.0, 0.0]])
    assert Predictions(np.array([0, 1]), probabilities, 1, threshold=0.0).labels.tolist() == [1, 1]


def test_labels_of_three_classes_are_the_most_probable():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]])
    assert Predictions(np.array([0, 0, 0]), probabilities).labels.tolist() == [2, 0, 1]


def assert_bootstrap_equals_value(sample: Predictions, weights: np.ndarray) -> None:
    """For every metric, on every resample: the rows repeated by their weights."""
    found = metrics._bootstrap(sample, weights)
    resamples = [repeated(sample, counts) for counts in weights]
    assert sorted(found) == sorted(metrics.ALL)
    for name in metrics.ALL:
        expected = [metrics.value(name, resample) for resample in resamples]
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)


def test_bootstrap_equals_value_on_the_rows_repeated_by_their_weights(sample):
    rng = np.random.default_rng(11)
    rows = len(sample.truth)
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=25).astype(float)
    assert_bootstrap_equals_value(sample, weights)


def test_bootstrap_with_each_row_once_equals_value(sample):
    assert_bootstrap_equals_value(sample, np.ones((1, len(sample.truth))))


def drawn_from_one_class(sample: Predictions, only: int) -> np.ndarray:
    """The weights of two resamples: one row again and again, and rows of the class at random."""
    rows, of_class = len(sample.truth), np.flatnonzero(sample.truth == only)
    drawn = np.random.default_rng(5).choice(of_class, rows)
    return np.stack(
        [rows * (np.arange(rows) == of_class[0]), np.bincount(drawn, minlength=rows)]
    ).astype(float)


@pytest.mark.filterwarnings(ONE_LABEL)
def test_bootstrap_equals_value_on_a_resample_of_one_class(sample):
    for only in range(sample.classes):
        assert_bootstrap_equals_value(sample, drawn_from_one_class(sample, only))


@pytest.mark.parametrize("positive", [0, 1])
def test_bootstrap_of_average_precision_is_nan_on_positives_alone(positive):
    sample = make_predictions(positive=positive)
    weights = drawn_from_one_class(sample, positive)
    assert np.isnan(metrics.value("average_precision", repeated(sample, weights[1])))
    assert np.isnan(metrics._bootstrap(sample, weights)["average_precision"]).all()


def test_intervals_hold_the_value_between_two_different_ends(sample):
    found = metrics.intervals(sample, resamples=400, seed=0)
    assert sorted(found) == sorted(metrics.ALL)
    for name, (low, high) in found.items():
        assert low < metrics.value(name, sample) < high, name


def test_intervals_are_the_same_for_the_same_seed_and_others_for_another():
    first, again, other = (
        metrics.intervals(make_predictions(), resamples=200, seed=seed) for seed in (4, 4, 5)
    )
    assert first == again
    assert first["log_loss"] != other["log_loss"]


def test_intervals_are_nested_by_level():
    wide = metrics.intervals(make_predictions(3), resamples=400, seed=0)
    narrow = metrics.intervals(make_predictions(3), resamples=400, seed=0, level=0.5)
    for name in metrics.ALL:
        assert wide[name][0] < narrow[name][0] < narrow[name][1] < wide[name][1]


def test_interval_of_accuracy_is_the_binomial_one():
    sample = make_predictions(rows=200)
    low, high = metrics.intervals(sample, resamples=4000, seed=0)["accuracy"]
    expected = binom.ppf([0.025, 0.975], 200, metrics.value("accuracy", sample)) / 200
    assert [low, high] == pytest.approx(expected, abs=1.5 / 200)


def test_intervals_leave_out_resamples_without_a_positive():
    truth = np.r_[1, np.zeros(19, dtype=int)]  # a third of the resamples lacks the positive row
    score = np.linspace(0.9, 0.1, 20)
    sample = Predictions(truth, np.c_[1 - score, score], positive=1)
    found = metrics.intervals(sample, resamples=200, seed=0)
    assert np.isfinite(list(found.values())).all()
    assert found["roc_auc"] == (1.0, 1.0)


def test_intervals_are_nan_without_a_warning_where_the_metric_is_not_defined():
    sample = Predictions(np.ones(10, dtype=int), np.tile([0.3, 0.7], (10, 1)), positive=1)
    found = metrics.intervals(sample, resamples=100, seed=0)
    assert np.isnan(found["roc_auc"]).all()
    assert np.isnan(found["average_precision"]).all()
    assert found["accuracy"] == (1.0, 1.0)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("truth", [np.zeros(4, dtype=int), np.ones(4, dtype=int)])
def test_value_is_nan_where_there_is_one_class(name, truth):
    sample = Predictions(truth, np.tile([0.3, 0.7], (4, 1)), positive=1)
    assert np.isnan(metrics.value(name, sample))


def test_draws_of_two_models_are_of_the_same_rows():
    """A model that is right on just the rows where the other is wrong: each draw sums to one."""
    one = make_predictions()
    right = one.labels == one.truth
    labels = np.where(right, 1 - one.truth, one.truth)
    other = Predictions(one.truth, np.eye(2)[labels], 1)
    drawn = [metrics.draws(sample, 50, seed=7)["accuracy"] for sample in (one, other)]
    assert np.ptp(drawn[0]) > 0
    np.testing.assert_allclose(drawn[0] + drawn[1], 1)


def test_draws_do_not_depend_on_the_classes_or_the_threshold_of_a_model():
    two = make_predictions(2)
    three = Predictions(two.truth, np.c_[two.probabilities, np.zeros(60)])
    moved = Predictions(two.truth, two.probabilities, 1, threshold=0.8)
    first, second, third = (metrics.draws(one, 20, 3)["log_loss"] for one in (two, three, moved))
    np.testing.assert_allclose(first, second)
    np.testing.assert_array_equal(first, third)


@pytest.mark.parametrize("resamples", [1, 30])
def test_draws_have_a_value_of_every_metric_for_each_resample(sample, resamples):
    found = metrics.draws(sample, resamples, seed=0)
    assert sorted(found) == sorted(metrics.ALL)
    assert {len(values) for values in found.values()} == {resamples}


def test_intervals_are_the_middle_of_the_draws(sample):
    drawn = metrics.draws(sample, 200, seed=2)
    for name, ends in metrics.intervals(sample, 200, seed=2, level=0.8).items():
        assert ends == pytest.approx(tuple(np.quantile(drawn[name], [0.1, 0.9])))


@pytest.mark.parametrize(
    ("values", "level", "ends"),
    [
        (range(101), 0.9, (5, 95)),
        (range(100, -1, -1), 0.5, (25, 75)),
        ([1, np.nan, 3, np.nan, 2], 1.0, (1, 3)),
        ([np.nan, 4.0], 0.9, (4, 4)),
        ([0, 1], 0.5, (0.25, 0.75)),
        ([np.nan, np.nan], 0.9, (np.nan, np.nan)),
        ([], 0.9, (np.nan, np.nan)),
    ],
    ids=["all", "unsorted", "some not defined", "one", "between two", "none defined", "none"],
)
def test_middle_is_between_the_percentiles_of_what_is_defined(values, level, ends):
    found = metrics.middle(np.array(values, dtype=float), level)
    np.testing.assert_allclose(found, ends)


def rare(positives: int, rows: int = 60) -> Predictions:
    """The last rows are of the class 1, and the only ones that are called so."""
    truth = (np.arange(rows) >= rows - positives).astype(int)
    return Predictions(truth, np.eye(2)[truth] * 0.8 + 0.1, positive=1)


@pytest.mark.parametrize(("positives", "share"), [(1, 0.37), (2, 0.13)])
def test_interval_that_leaves_out_resamples_without_a_class_is_doubted(positives, share):
    sentence = metrics.doubt("roc_auc", rare(positives), 2000, 0)
    left_out = float(re.search(r"leaves out (\d+)%", sentence)[1]) / 100
    assert left_out == pytest.approx(share, abs=0.03)  # (1 - positives / rows) ** rows


def test_interval_without_width_is_doubted():
    assert metrics.doubt("roc_auc", rare(20), 200, 0) == "has no width"


def test_interval_with_some_width_is_not_doubted(sample):
    for name in metrics.ALL:
        assert metrics.doubt(name, sample, 200, 0) == ""


@pytest.mark.parametrize(
    ("rows", "count", "blocks"), [(10, 25, [25]), (3, 1, [1]), (1_500_000, 3, [2, 1])]
)
def test_resamples_come_in_blocks_and_draw_as_many_rows_as_there_are(rows, count, blocks):
    found = list(metrics._resamples(rows, count, np.random.default_rng(0)))
    assert [len(weights) for weights in found] == blocks
    for weights in found:
        assert (weights.sum(axis=1) == rows).all()


def test_intervals_do_not_depend_on_the_size_of_a_block(monkeypatch):
    whole = metrics.intervals(make_predictions(), resamples=50, seed=0)
    drawn = metrics._resamples

    def row_by_row(rows, count, rng):
        for block in drawn(rows, count, rng):
            yield from block[:, None, :]

    monkeypatch.setattr(metrics, "_resamples", row_by_row)
    split = metrics.intervals(make_predictions(), resamples=50, seed=0)
    for name in metrics.ALL:
        assert split[name] == pytest.approx(whole[name], abs=1e-12)


@pytest.mark.parametrize("name", metrics.ALL)
@pytest.mark.parametrize("classes", [2, 3])
def test_direction_of_each_metric_is_that_of_perfect_predictions(name, classes):
    sample = make_predictions(classes)
    sure = Predictions(sample.truth, np.eye(classes)[sample.truth], sample.positive)
    lower = metrics.value(name, sure) < metrics.value(name, sample)
    assert lower is (name in LOWER_IS_BETTER)


def test_where_keeps_the_rows_that_are_asked_for_and_nothing_else(sample):
    rows = np.arange(len(sample.truth)) % 3 == 0
    part = sample.where(rows)
    np.testing.assert_array_equal(part.truth, sample.truth[rows])
    np.testing.assert_array_equal(part.probabilities, sample.probabilities[rows])
    np.testing.assert_array_equal(part.labels, sample.labels[rows])
    assert (part.positive, part.threshold, part.classes) == (
        *(sample.positive, sample.threshold, sample.classes),
    )
    assert len(sample.truth) > len(part.truth)


@pytest.mark.parametrize(("rows", "left"), [(True, 60), (False, 0)])
def test_where_takes_all_rows_or_none(rows, left):
    part = make_predictions(3).where(np.full(60, rows))
    assert (len(part.truth), part.classes, len(part.labels)) == (left, 3, left)


@pytest.mark.parametrize(
    ("classes", "positive", "labels", "truth"),
    [
        ((0, 1), 1, [1, 0, 0], [1, 0, 0]),
        ((-5, 10), -5, [10, -5, 10], [1, 0, 1]),
        (("no", "yes"), "no", ["yes", "yes", "no"], [1, 1, 0]),
        ((False, True), True, [True, False, True], [1, 0, 1]),
        (("B", "a", "c"), None, ["c", "B", "a"], [2, 0, 1]),
    ],
)
def test_rows_have_the_places_of_their_labels_among_the_classes(classes, positive, labels, truth):
    contract = Contract(columns={}, target="label", classes=classes, positive=positive)
    probabilities = np.full((3, len(classes)), 1 / len(classes))
    y = pd.Series(labels, index=[7, 3, 5])
    found = metrics.of_rows(contract, y, probabilities, threshold=0.4)
    assert found.truth.tolist() == truth
    assert found.probabilities is probabilities
    assert found.positive == (None if positive is None else classes.index(positive))
    assert found.threshold == 0.4


class Told:
    """A fitted model that answers with its own table of probabilities, by row."""

    def __init__(self, probabilities: np.ndarray) -> None:
        self.probabilities = probabilities
        self.asked: pd.DataFrame | None = None

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        self.asked = X
        return self.probabilities[: len(X)]


@pytest.mark.parametrize(
    ("labels", "positive", "place"),
    [
        ((0, 1), 1, 1),
        ((0, 1), 0, 0),
        ((-5, 10), 10, 1),
        (("no", "yes"), "no", 0),
        ((False, True), True, 1),
        ((1, 2, 10), None, None),
        (("a", "B", "ccc"), None, None),
    ],
)
def test_predict_asks_the_model_of_the_test_part_alone(labels, positive, place):
    dataset = make_dataset(labels, positive)
    rng = np.random.default_rng(0)
    model = Told(rng.dirichlet(np.ones(len(labels)), size=120))
    found = metrics.predict(dataset, model, threshold=0.3)
    pd.testing.assert_frame_equal(model.asked, dataset.X_test)
    np.testing.assert_array_equal(found.probabilities, model.probabilities[:36])
    truth = [sorted(labels).index(label) for label in dataset.y_test]
    assert found.truth.tolist() == truth
    assert (found.positive, found.threshold) == (place, 0.3)


def test_predict_leaves_the_threshold_at_one_half_when_there_is_none():
    dataset = make_dataset()
    chance = np.linspace(0, 1, 36)
    found = metrics.predict(dataset, Told(np.c_[1 - chance, chance]), threshold=None)
    assert found.labels.tolist() == (chance >= 0.5).astype(int).tolist()


def test_predict_scores_a_fitted_model_as_it_scores_itself():
    dataset = make_dataset(("no", "yes"), "no")
    model = models.plain().fit(dataset.X_train, dataset.y_train)
    predictions = metrics.predict(dataset, model, threshold=None)
    own = model.score(dataset.X_test, dataset.y_test)
    assert metrics.value("accuracy", predictions) == own
    expected = sk.log_loss(dataset.y_test, model.predict_proba(dataset.X_test))
    assert metrics.value("log_loss", predictions) == pytest.approx(expected)
