import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.models.families import plain
from pipeline.schema.contract import Contract
from tests.support.builders import make_dataset, make_predictions


@pytest.mark.parametrize(
    ("positive", "threshold", "labels"),
    [
        (1, None, [0, 1, 1]),
        (1, 0.5, [0, 1, 1]),
        (1, 0.8, [0, 0, 1]),
        (1, 0.2, [1, 1, 1]),
        (0, None, [0, 0, 1]),
        (0, 0.8, [0, 1, 1]),
        (1, 0.0, [1, 1, 1]),
    ],
)
def test_labels_are_positive_from_the_threshold_on(positive, threshold, labels):
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]])
    predictions = Predictions(np.array([0, 1, 1]), probabilities, positive, threshold)
    assert predictions.labels.tolist() == labels


def test_labels_of_three_classes_are_the_most_probable():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]])
    assert Predictions(np.array([0, 0, 0]), probabilities).labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("truth", [np.zeros(4, dtype=int), np.ones(4, dtype=int)])
def test_value_is_nan_where_there_is_one_class(name, truth):
    sample = Predictions(truth, np.tile([0.3, 0.7], (4, 1)), positive=1)
    assert np.isnan(metrics.value(name, sample))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("step", [1, 3, 60])
def test_where_takes_the_rows_that_are_asked_for_and_nothing_else(classes, step):
    sample = make_predictions(classes, threshold=0.3)
    rows = np.arange(len(sample.truth)) % step == step - 1
    part = sample.where(rows)
    np.testing.assert_array_equal(part.truth, sample.truth[rows])
    np.testing.assert_array_equal(part.probabilities, sample.probabilities[rows])
    np.testing.assert_array_equal(part.labels, sample.labels[rows])
    assert (part.positive, part.threshold, part.classes) == (
        *(sample.positive, sample.threshold, sample.classes),
    )
    assert len(part.truth) == 60 // step


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
    predictions = metrics.of_rows(contract, y, probabilities, 0.4)
    assert predictions.truth.tolist() == truth
    assert predictions.probabilities is probabilities
    assert predictions.positive == (None if positive is None else classes.index(positive))
    assert predictions.threshold == 0.4


class Fixed:
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
    model = Fixed(rng.dirichlet(np.ones(len(labels)), size=120))
    predictions = metrics.predict(dataset, model, threshold=0.3)
    pd.testing.assert_frame_equal(model.asked, dataset.X_test)
    np.testing.assert_array_equal(predictions.probabilities, model.probabilities[:36])
    truth = [sorted(labels).index(label) for label in dataset.y_test]
    assert predictions.truth.tolist() == truth
    assert (predictions.positive, predictions.threshold) == (place, 0.3)


def test_predict_scores_a_fitted_model_as_it_scores_itself():
    dataset = make_dataset(("no", "yes"), "no")
    model = plain().fit(dataset.X_train, dataset.y_train)
    predictions = metrics.predict(dataset, model, threshold=None)
    assert metrics.value("accuracy", predictions) == model.score(dataset.X_test, dataset.y_test)
    expected = sk.log_loss(dataset.y_test, model.predict_proba(dataset.X_test))
    assert metrics.value("log_loss", predictions) == pytest.approx(expected)


def test_row_losses_are_finite_and_have_the_log_loss_as_their_mean():
    sample = make_predictions(3)
    losses = metrics.row_losses(metrics.true_class_probability(sample.probabilities, sample.truth))
    assert losses.shape == sample.truth.shape
    assert losses.mean() == pytest.approx(sk.log_loss(sample.truth, sample.probabilities))
    worst, best = metrics.row_losses(np.array([0.0, 1.0]))
    assert worst == pytest.approx(-np.log(np.finfo(float).eps))
    assert best == 0
