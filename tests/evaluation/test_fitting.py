from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from pipeline.datasets import splits
from pipeline.errors import ConfigError
from pipeline.evaluation import fitting
from pipeline.evaluation.fitting import fit
from pipeline.models import families
from pipeline.models.encoders import Features
from pipeline.models.ensemble import assemble
from pipeline.models.threshold import with_threshold
from pipeline.results import Metadata
from pipeline.tasks import BINARY, REGRESSION, TASKS
from tests.support.builders import make_dataset
from tests.support.mixed import make_mixed_dataset

DATASET = make_dataset(rows=120)
X, Y = DATASET.X_train, DATASET.y_train
GROUPS = pd.Series(np.arange(len(X)) // 4, X.index, name="patient")


WEIGHTS = pd.Series(np.where(Y == 1, 9.0, 1.0), X.index, name="count")


def blend() -> object:
    members = {name: families.build(name, {}, 0) for name in ("svc", "logistic_regression")}
    model = assemble(BINARY, members, dict.fromkeys(members, 0.5))
    return with_threshold(model, 0.4, DATASET.contract)


@pytest.mark.parametrize("make", [lambda: families.build("svc", {}, 0), blend])
def test_calibration_keeps_groups_together_and_the_model_no_places_of_rows(make, monkeypatch):
    folds: list[object] = []

    def group_folds(*arguments: object, **options: object) -> object:
        folds.extend(splits.group_folds(*arguments, **options))
        return folds

    monkeypatch.setattr(fitting, "group_folds", group_folds)
    grouped, alone = fit(make(), X, Y, Metadata(groups=GROUPS)), fit(make(), X, Y)

    assert len(folds) == 3
    assert all(not set(GROUPS.iloc[a]) & set(GROUPS.iloc[b]) for a, b in folds)
    assert not np.allclose(grouped.predict_proba(X), alone.predict_proba(X))
    fitted = grouped.estimator_.estimators_[0] if make is blend else grouped
    assert fitted.get_params()["calibratedclassifiercv__cv"] == 3
    assert [v for n, v in grouped.get_params().items() if n.endswith("__cv")] == [3]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "make",
    [lambda name=name: families.build(name, {}, 0) for name in BINARY.every_family]
    + [blend, lambda: DummyClassifier(strategy="prior")],
    ids=[*BINARY.every_family, "blend", "dummy"],
)
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_weights_move_every_model_towards_the_rows_that_count_more(make, groups):
    alone = fit(make(), X, Y).predict_proba(X)[:, 1].mean()
    weighted = fit(make(), X, Y, Metadata(groups=groups, weights=WEIGHTS)).predict_proba(X)[:, 1]
    assert alone == pytest.approx(0.5, abs=0.1)
    assert weighted.mean() > alone + 0.15


@pytest.mark.parametrize("name", ["logistic_regression", "svc", "hist_gradient_boosting"])
def test_weights_pass_by_the_encoders_of_columns_of_each_kind(name):
    dataset = make_mixed_dataset(with_texts=True)
    features = Features.of(dataset.contract)
    features = replace(features, categories={"city": features.categories["city"]})
    model, X, y = families.build(name, {}, 0, features), dataset.X_train, dataset.y_train
    weights = pd.Series(np.where(y == "yes", 9.0, 1.0), X.index, name="count")
    alone = fit(model, X, y).predict_proba(X)[:, 1].mean()
    weighted = fit(model, X, y, Metadata(weights=weights)).predict_proba(X)[:, 1].mean()
    assert weighted > alone + 0.15


TREES = ("hist_gradient_boosting", "extra_trees")


def many_levels() -> tuple[pd.DataFrame, "pd.Series[int]"]:
    """300 and 60 levels; those below half the count are the class 1's, but for a tenth."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "few": rng.integers(60, size=600).astype(float),
            "many": np.arange(600) % 300.0,
            "number": rng.normal(size=600),
        }
    )
    noise = rng.random(600) < 0.1
    return X, ((X["few"] < 30) ^ noise).astype(int)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("task", "family"),
    [(task, name) for task in (BINARY, TASKS["regression"]) for name in task.every_family],
)
@pytest.mark.parametrize("with_groups", [False, True])
def test_every_family_takes_weights_and_groups_with_categories_of_many_levels(
    task, family, with_groups
):
    X, truth = many_levels()
    y = truth if task.has_classes else truth.astype(float)
    features = Features(("number",), (), (), {"few": 60, "many": 300}, not task.has_classes)
    groups = pd.Series(np.arange(600) // 4, name="patient") if with_groups else None
    weights = pd.Series(np.where(truth == 1, 9.0, 1.0), name="count")
    model = fit(families.build(family, {}, 0, features), X, y, Metadata(groups, None, weights))
    predicted = model.predict_proba(X)[:, 1] if task.has_classes else model.predict(X)
    assert roc_auc_score(truth, predicted) > 0.75
    assert predicted.mean() > y.mean() + 0.1
    encoders = [one for one in model.get_params().values() if isinstance(one, TargetEncoder)]
    assert [encoder.cv.n_splits for encoder in encoders] == [3]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_few_groups_are_folds_enough_to_encode_and_to_calibrate(groups):
    X, y = many_levels()
    features = Features(("number",), (), (), {"few": 60, "many": 300})
    sites = pd.Series(np.arange(len(y)) % groups, X.index, name="site")

    model = fit(families.build("svc", {}, 0, features), X, y, Metadata(groups=sites))

    assert roc_auc_score(y, model.predict_proba(X)[:, 1]) > 0.75


def test_weights_leave_the_folds_of_target_encoders_as_they_are_and_groups_part_them():
    X, y = many_levels()
    features = Features(("number",), (), (), {"many": 300})
    ones, groups = pd.Series(np.ones(600), name="count"), X["many"].rename("patient")

    def predicted(metadata: Metadata) -> object:
        members = {name: families.build(name, {}, 0, features) for name in TREES}
        model = assemble(BINARY, members, dict.fromkeys(members, 0.5))
        return fit(model, X, y, metadata).predict_proba(X)

    alone = predicted(Metadata())
    np.testing.assert_allclose(predicted(Metadata(weights=ones)), alone, atol=1e-9)
    assert not np.allclose(predicted(Metadata(groups=groups)), alone)


def test_weights_reach_the_members_of_a_blend_of_amounts_behind_their_transformed_targets():
    amounts = make_dataset(None, None)
    rows, y = amounts.X_train, amounts.y_train
    weights = pd.Series(np.where(y > y.median(), 50.0, 1.0), rows.index, name="count")

    def predicted(metadata: Metadata) -> float:
        members = {name: families.build(name, {"target": "log"}, 0) for name in ("ridge", "svr")}
        model = assemble(REGRESSION, members, dict.fromkeys(members, 0.5))
        return float(fit(model, rows, y, metadata).predict(rows).mean())

    assert predicted(Metadata(weights=weights)) > predicted(Metadata()) + 0.01


def test_weights_count_as_that_many_rows():
    counts = np.arange(len(X)) % 3 + 1
    rows = np.repeat(np.arange(len(X)), counts)
    weights = pd.Series(counts.astype(float), X.index, name="count")
    one, other = (families.build("raw_logistic_regression", {}, 0) for _ in range(2))
    weighted = fit(one, X, Y, Metadata(weights=weights)).predict_proba(X)
    repeated = fit(other, X.iloc[rows], Y.iloc[rows]).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-3)


def test_classifier_that_takes_no_weights_is_refused():
    model = make_pipeline(KNeighborsClassifier())
    with pytest.raises(
        ConfigError, match=r"data.weight is 'count', and KNeighborsClassifier takes"
    ):
        fit(model, X, Y, Metadata(weights=WEIGHTS))
