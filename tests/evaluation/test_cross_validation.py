from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.evaluation.cross_validation import make_folds, out_of_fold, predicted_rows, score
from pipeline.evaluation.metrics import Predictions
from pipeline.models import families as models
from pipeline.results import Metadata
from pipeline.tasks import BINARY
from tests.support.builders import make_dataset, make_predictions


class Witness(ClassifierMixin, BaseEstimator):
    """Answers with the row's own number, and refuses rows that it has seen."""

    def fit(self, X: pd.DataFrame, y: pd.Series) -> "Witness":
        self.seen_ = set(X["number"])
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        assert not self.seen_ & set(X["number"])
        return np.c_[X["number"], np.full(len(X), len(self.seen_))]


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes"), (0, 1, 2)])
@pytest.mark.parametrize("count", [2, 5])
def test_folds_put_each_row_in_one_test_fold_and_keep_the_class_balance(labels, count):
    y = pd.Series(np.resize(labels, 103), index=np.arange(500, 603))
    folds = make_folds(BINARY, y, count, seed=0)
    assert len(folds) == count
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(103))
    for train, test in folds:
        assert sorted(np.r_[train, test]) == list(range(103))
        for label in labels:
            share = (y == label).sum() / count
            assert abs((y.iloc[test] == label).sum() - share) < 1


def test_folds_are_the_same_for_the_same_seed_and_others_for_another():
    y = pd.Series(np.arange(40) % 2)
    first, again, other = (make_folds(BINARY, y, 4, seed)[0][1].tolist() for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize("count", [2, 3])
def test_out_of_fold_predicts_each_row_once_by_a_model_that_did_not_see_it(count):
    X = pd.DataFrame({"number": np.arange(30)}, index=np.random.default_rng(0).permutation(30))
    y = pd.Series(np.arange(30) % 2, index=X.index)
    result = out_of_fold(Witness(), X, y, make_folds(BINARY, y, count, seed=0))
    assert result[:, 0].tolist() == X["number"].tolist()
    assert set(result[:, 1]) == {30 - 30 / count}


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes"), (False, True), ("a", "b", "c")])
def test_out_of_fold_equals_cross_val_predict(labels):
    dataset = make_dataset(labels, positive=labels[0] if len(labels) == 2 else None)
    X, y = dataset.X_train, dataset.y_train
    model = models.build("logistic_regression", {"transform": "standard", "C": 1.0}, seed=0)
    result = out_of_fold(model, X, y, make_folds(BINARY, y, 3, seed=7))
    splitter = StratifiedKFold(3, shuffle=True, random_state=7)
    expected = cross_val_predict(model, X, y, cv=splitter, method="predict_proba")
    np.testing.assert_allclose(result, expected)


def test_out_of_fold_leaves_the_given_model_unfitted():
    dataset = make_dataset()
    model = Witness()
    X = dataset.X_train.assign(number=np.arange(len(dataset.X_train)))
    out_of_fold(model, X, dataset.y_train, make_folds(BINARY, dataset.y_train, 2, seed=0))
    assert not hasattr(model, "seen_")


@pytest.mark.parametrize("classes", [2, 3])
def test_score_is_the_mean_and_the_deviation_over_the_folds(classes):
    sample = make_predictions(classes)
    y = pd.Series(np.array(["a", "b", "c"])[sample.truth])
    folds = make_folds(BINARY, y, 4, seed=0)
    means, spread = score(sample, folds)
    assert list(means) == list(spread) == list(BINARY.search_metrics)
    for name in BINARY.search_metrics:
        by_fold = [
            metrics.value(
                name,
                Predictions(sample.truth[test], sample.probabilities[test], sample.positive),
            )
            for _, test in folds
        ]
        assert means[name] == pytest.approx(np.mean(by_fold))
        assert spread[name] == pytest.approx(np.std(by_fold, ddof=1))


def test_score_uses_each_folds_own_threshold():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.3, 0.7], [0.1, 0.9]])
    predictions = Predictions(np.array([0, 1, 0, 1]), probabilities, positive=1)
    halves = (np.array([0, 1]), np.array([2, 3]))
    folds = [halves[::-1], halves]
    means, _ = score(predictions, folds)
    assert means["accuracy"] == 0.5
    means, spread = score(predictions, folds, thresholds=[0.2, 0.8])
    assert means["accuracy"] == 1.0
    assert spread["accuracy"] == 0.0
    means, _ = score(predictions, folds, thresholds=[0.8, 0.2])
    assert means["accuracy"] == 0.5


# Folds by group and by time.

ROWS = 240
Y = pd.Series(np.arange(ROWS) % 2, index=np.arange(100, 100 + ROWS))
GROUPS = pd.Series(np.arange(ROWS) // 3 % 20, index=Y.index, name="patient")
TIMES = pd.Series(np.random.default_rng(0).integers(0, 60, ROWS), index=Y.index, name="day")


@pytest.mark.parametrize("count", [2, 5])
def test_folds_keep_the_rows_of_a_group_together(count):
    folds = make_folds(BINARY, Y, count, 0, Metadata(groups=GROUPS))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(ROWS))
    for train, test in folds:
        assert not set(GROUPS.iloc[train]) & set(GROUPS.iloc[test])
        assert abs(Y.iloc[test].mean() - 0.5) < 0.05
        assert len(train) + len(test) == ROWS


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_folds_by_time_train_on_what_came_before_and_on_no_group_of_the_test_rows(groups):
    folds = make_folds(BINARY, Y, 4, 0, Metadata(groups, TIMES))
    assert len(folds) == 4
    for place, (train, test) in enumerate(folds, 1):
        assert TIMES.iloc[train].max() < TIMES.iloc[test].min()
        assert len(test) == pytest.approx(ROWS / 5, abs=8)
        if groups is None:
            assert len(train) == pytest.approx(place * ROWS / 5, abs=8)
            assert TIMES.drop(Y.index[train]).min() == TIMES.iloc[test].min()
        else:
            assert not set(groups.iloc[train]) & set(groups.iloc[test])
    earliest = ~predicted_rows(folds, ROWS)
    assert earliest.sum() == pytest.approx(ROWS / 5, abs=8)
    assert TIMES[earliest].max() < TIMES[~earliest].min()


def test_rows_that_no_fold_tests_are_not_predicted():
    X = pd.DataFrame({"number": np.arange(ROWS)}, index=Y.index)
    folds = make_folds(BINARY, Y, 3, 0, Metadata(times=TIMES))
    result = out_of_fold(Witness(), X, Y, folds)
    predicted = predicted_rows(folds, ROWS)
    assert np.isnan(result[~predicted]).all()
    assert result[predicted, 0].tolist() == np.flatnonzero(predicted).tolist()


def test_score_of_folds_by_time_is_that_of_their_test_rows():
    folds = make_folds(BINARY, Y, 3, 0, Metadata(times=TIMES))
    sample = make_predictions(rows=ROWS)
    probabilities = np.where(predicted_rows(folds, ROWS)[:, None], sample.probabilities, np.nan)
    expected, _ = score(sample, folds)
    means, _ = score(replace(sample, probabilities=probabilities), folds)
    assert means == expected


@pytest.mark.parametrize(
    ("y", "metadata", "parts"),
    [
        (
            Y,
            Metadata(groups=GROUPS % 3),
            ["4 folds need as many groups of split.group 'patient', and 240 rows have 3: ask for"],
        ),
        (
            Y,
            Metadata(times=TIMES % 4),
            ["4 folds need 5 distinct values of split.time 'day', and 240 rows have 4 distinct"],
        ),
        (
            (TIMES > 40).astype(int),
            Metadata(times=TIMES),
            ["fold 1 of 4 has no row of the class 1 among the", "by split.time 'day': ask for"],
        ),
        (
            (GROUPS == 7).astype(int),
            Metadata(groups=GROUPS),
            ["has no row of the class 1 among the 1", "by split.group 'patient': ask for fewer"],
        ),
    ],
)
def test_rows_that_do_not_suffice_for_folds_are_refused_with_the_rule(y, metadata, parts):
    with pytest.raises(ContractError) as refused:
        make_folds(BINARY, y, 4, 0, metadata)
    assert all(part in str(refused.value) for part in parts)
