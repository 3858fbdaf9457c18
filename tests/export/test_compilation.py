"""What is compiled, what is not, and why: the proof on rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline

from pipeline.export import compilation
from pipeline.export.compilation import (
    RANDOM_ROWS,
    TOLERANCE,
    compile_model,
    difference,
    random_rows,
)
from pipeline.export.onnx_graph import translate
from pipeline.inference.runtimes import Linear, of_graph
from pipeline.models import families as models
from pipeline.results import Training
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.rules import Rules
from tests.support.builders import COLUMNS, make_dataset

EQUAL = f"equal on 84 training and {RANDOM_ROWS} random rows"
CONTRACT = Contract(columns=COLUMNS, target="label", classes=(0, 1), positive=1)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


def training(model, threshold=0.4):
    return Training(model, weights={}, threshold=threshold, metrics={}, spread={})


def fitted(dataset, family="raw_logistic_regression", **params):
    return models.build(family, params, 0).fit(dataset.X_train, dataset.y_train)


def compile_(dataset, model, threshold=0.4):
    return compile_model(dataset, training(model, threshold))


class Own(LogisticRegression):
    """A user's estimator."""


# What is compiled.


@pytest.mark.parametrize("family", models.MODELS)
def test_every_built_in_family_is_compiled(dataset, family):
    model = fitted(dataset, family)

    found = compile_(dataset, model)

    assert found.reason == EQUAL
    compiled = found.linear.predict_proba if found.linear else of_graph(found.graph)
    np.testing.assert_allclose(
        compiled(dataset.X_test.to_numpy()),
        model.predict_proba(dataset.X_test),
        rtol=0,
        atol=1e-9,
    )


def test_blend_with_a_threshold_is_compiled(dataset):
    families = ["logistic_regression", "extra_trees", "hist_gradient_boosting"]
    blend = VotingClassifier(
        [(name, models.build(name, {}, 0)) for name in families], voting="soft", weights=[2, 1, 1]
    )
    model = FixedThresholdClassifier(
        blend, threshold=0.4, pos_label=1, response_method="predict_proba"
    )

    found = compile_(dataset, model.fit(dataset.X_train, dataset.y_train))

    assert found.reason == EQUAL


def test_model_of_three_classes_is_compiled():
    three = make_dataset(("a", "b", "c"), None, rows=150)

    found = compile_(three, fitted(three, "extra_trees"), None)

    assert found.reason == f"equal on 105 training and {RANDOM_ROWS} random rows"


def test_compiling_twice_gives_the_same_graph(dataset):
    model = fitted(dataset, "extra_trees")

    assert compile_(dataset, model) == compile_(dataset, model)


# What is not.


def test_users_estimator_is_not_compiled(dataset):
    model = make_pipeline(models.impute(), Own()).fit(dataset.X_train, dataset.y_train)

    assert compile_(dataset, model) == compilation.Compilation(None, None, "Own has no translation")


def test_machine_of_three_classes_is_not_compiled():
    three = make_dataset(("a", "b", "c"), None)

    found = compile_(three, fitted(three, "svc"), None)

    assert found.graph is None
    assert found.reason == "calibration of other than a machine of two classes by a curve"


@pytest.mark.parametrize("is_used", [True, False])
def test_boosting_with_categories_is_not_compiled(dataset, is_used):
    """Also where no tree asks for one: scikit-learn moves such columns to the front."""
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["flag"])
    y = dataset.X_train["flag"] > 0 if is_used else dataset.y_train

    found = compile_(dataset, model.fit(dataset.X_train, y))

    assert found.graph is None
    assert found.reason == "HistGradientBoostingClassifier with categories"


@pytest.mark.parametrize("error", [AttributeError("no _predictors"), RuntimeError("no kernel")])
def test_whatever_goes_wrong_in_translation_is_the_reason(dataset, monkeypatch, error):
    """Private attributes may go in the next scikit-learn: the model is served as it is then."""

    def fails(model, columns):
        raise error

    monkeypatch.setattr(compilation, "collapse", lambda _: None)
    monkeypatch.setattr(compilation, "translate", fails)

    found = compile_(dataset, fitted(dataset))

    assert (found.graph, found.reason) == (None, f"{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("family", "largest"), [("hist_gradient_boosting", 1.7e308), ("extra_trees", 3e38)]
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_column_of_giants_does_not_end_the_training(dataset, family, largest):
    """Rows of the proof go beyond what was seen: there doubles end, and the floats of a forest."""
    X = dataset.X_train.copy()
    X.iloc[:2, 0] = [largest, -largest]
    giants = replace(dataset, X_train=X)

    assert compile_(giants, fitted(giants, family)).reason != ""


# What is collapsed.


STANDARD = {"transform": "standard"}


@pytest.mark.parametrize(
    ("family", "params", "is_linear"),
    [
        ("raw_logistic_regression", {}, True),
        ("logistic_regression", STANDARD, True),
        ("logistic_regression", {"transform": "power"}, False),
        ("spline_logistic_regression", {}, False),
        ("mlp", {}, False),
    ],
)
@pytest.mark.parametrize("has_threshold", [True, False])
def test_linear_pipeline_is_collapsed_and_no_other(
    dataset, family, params, is_linear, has_threshold
):
    model = models.build(family, params, 0)
    if has_threshold:
        model = FixedThresholdClassifier(
            model, threshold=0.4, pos_label=1, response_method="predict_proba"
        )

    found = compile_(dataset, model.fit(dataset.X_train, dataset.y_train))

    assert found.reason == EQUAL
    assert (found.linear is not None, found.graph is None) == (is_linear, is_linear)
    assert found.summary == f"{'collapsed' if is_linear else 'ONNX'}, {EQUAL}"


def test_linear_pipeline_of_three_classes_is_no_sum(tmp_path):
    three = make_dataset(("a", "b", "c"), None)

    found = compile_(three, fitted(three, "logistic_regression", **STANDARD), None)

    assert (found.linear, found.reason[:5]) == (None, "equal")


def test_collapse_that_is_wrong_is_refused(dataset, monkeypatch):
    other = compilation.collapse(fitted(dataset, C=1e-6))
    monkeypatch.setattr(compilation, "collapse", lambda _: other)

    found = compile_(dataset, fitted(dataset))

    assert (found.linear, found.graph) == (None, None)
    assert found.reason.startswith("on 84 training rows, probabilities differ by up to 0.")
    assert found.summary == f"no: {found.reason}"


def test_answers_to_rows_asked_alone_are_proven_too(dataset, monkeypatch):
    class Moody(Linear):
        def predict_proba(self, X):
            return super().predict_proba(X) + 1e-3 * (len(X) == 1)

    right = compilation.collapse(fitted(dataset))
    wrong = Moody(right.fill, right.weights, right.intercept)
    monkeypatch.setattr(compilation, "collapse", lambda _: wrong)

    assert compile_(dataset, fitted(dataset)).reason == (
        "on 84 rows one by one, probabilities differ by up to 0.001"
    )


# The proof.


def lies(monkeypatch, model):
    """Whatever is compiled, it is this model's graph that comes out."""
    graph = translate(model, len(COLUMNS))
    monkeypatch.setattr(compilation, "collapse", lambda _: None)
    monkeypatch.setattr(compilation, "translate", lambda *_: graph)


def test_graph_of_another_model_is_refused_with_the_figure(dataset, monkeypatch):
    model, other = fitted(dataset), fitted(dataset, C=1e-6)
    apart = np.abs(model.predict_proba(dataset.X_train) - other.predict_proba(dataset.X_train))
    lies(monkeypatch, other)

    found = compile_(dataset, model)

    assert found.graph is None
    assert found.reason == f"on 84 training rows, probabilities differ by up to {apart.max():.2g}"


def test_graph_that_is_wrong_beside_the_training_rows_only_is_refused(dataset, monkeypatch):
    """A tree that asks once more whether the flag is missing, which none is in training."""
    model, other = fitted(dataset), fitted(dataset)
    other[0].statistics_[list(COLUMNS).index("flag")] = 0.3
    assert not dataset.X_train["flag"].isna().any()
    lies(monkeypatch, other)

    found = compile_(dataset, model)

    assert found.graph is None
    assert found.reason.startswith(f"on {RANDOM_ROWS} random rows, probabilities differ by up to ")


def test_graph_within_the_tolerance_that_changes_a_label_is_refused(dataset, monkeypatch):
    model, other = fitted(dataset), fitted(dataset)
    other[-1].intercept_ = other[-1].intercept_ - 1e-7
    threshold = model.predict_proba(dataset.X_train)[7, 1]
    lies(monkeypatch, other)

    found = compile_(dataset, model, threshold)

    assert (found.graph, found.reason) == (None, "on 84 training rows, 1 labels differ")


ROWS = np.zeros((3, 1))
THREE = Contract(columns=COLUMNS, target="label", classes=("a", "b", "c"), positive=None)


@pytest.mark.parametrize(
    ("contract", "threshold", "before", "after", "told"),
    [
        (CONTRACT, 0.5, [[0.2, 0.8]], [[0.2, 0.8]], ""),
        (CONTRACT, 0.5, [[0.2, 0.8]], [[0.2, 0.8 + TOLERANCE / 2]], ""),
        (CONTRACT, 0.5, [[0.2, 0.8]], [[0.2, 0.8025]], "probabilities differ by up to 0.0025"),
        (CONTRACT, 0.5, [[0.2, 0.8]], [[0.2, np.nan]], "probabilities differ by up to nan"),
        (CONTRACT, 0.8, [[0.2, 0.8]], [[0.2, 0.8 - 1e-9]], "1 labels differ"),
        (CONTRACT, 0.8, [[0.2, 0.8]] * 3, [[0.2, 0.8 - 1e-9]] * 3, "3 labels differ"),
        (CONTRACT, 0.8, [[0.2, 0.8]], [[0.2, 0.8 + 1e-9]], ""),
        (THREE, None, [[0.4, 0.4, 0.2]], [[0.4, 0.4, 0.2]], ""),
        (THREE, None, [[0.4, 0.4, 0.2]], [[0.4, 0.4 + 1e-9, 0.2]], "1 labels differ"),
    ],
)
def test_difference_is_of_probabilities_or_labels(contract, threshold, before, after, told):
    models_ = [lambda X, answer=answer: np.array(answer) for answer in (before, after)]

    assert difference(*models_, ROWS, contract, threshold) == told


# Rows of the proof.


@pytest.mark.parametrize(
    ("column", "seen"),
    [
        (Column(), [-3.0, 5.0]),
        (Column(range=(0, 1)), [0.0, 1.0]),
        (Column(range=(0, 1)), [0.4, 0.6]),
        (Column(range=(18, None)), [20.0, 70.0]),
        (Column(range=(None, 0.1)), [-0.3, 0.1]),
        (Column(range=(7, 7)), [7.0, 7.0]),
        (Column(range=(1, 1500), missing=0), [2.0, np.nan, 900.0]),
        (Column(range=(-5, 5), missing=0), [-5.0, np.nan, 5.0]),
        (Column(range=(0, 1e-300)), [0.0, 1e-300]),
        (Column(range=(1e300, 1e307)), [1e300, 1e307]),
    ],
)
def test_random_rows_keep_the_contract(column, seen):
    columns = {"x": column, "other": Column()}
    contract = Contract(columns=columns, target="y", classes=(0, 1), positive=1)
    rows = random_rows(contract, np.column_stack([seen, np.arange(len(seen))]).astype(float))

    kept = Rules(columns).apply(rows)

    np.testing.assert_array_equal(kept, rows)
    assert len(rows) == RANDOM_ROWS
    assert np.isnan(rows).mean(axis=0) == pytest.approx([0.1, 0.1], abs=0.25)


def test_random_rows_go_beyond_what_was_seen_as_far_as_the_contract_lets_them():
    columns = {"free": Column(), "bound": Column(range=(0, 3))}
    contract = Contract(columns=columns, target="y", classes=(0, 1), positive=1)

    free, bound = random_rows(contract, np.array([[1.0, 1.0], [2.0, 2.0]])).T

    assert np.nanmin(free) < 0
    assert np.nanmax(free) > 3
    assert np.nanmin(bound) == pytest.approx(0, abs=0.01)
    assert np.nanmax(bound) == pytest.approx(3, abs=0.01)
    assert np.isin(free[::2], [1.0, 2.0]).mean() == pytest.approx(0.9, abs=0.02)


def test_random_rows_are_the_same_every_time():
    seen = np.random.default_rng(0).normal(size=(20, len(COLUMNS)))
    seen[:, -1] = np.arange(20) % 2

    np.testing.assert_array_equal(random_rows(CONTRACT, seen), random_rows(CONTRACT, seen))


def test_proof_names_the_columns_as_the_model_knows_them(dataset):
    """Else scikit-learn would warn, which is an error here."""
    odd = dataset.X_train.rename(columns={"height": "od280/od315: x"})
    columns = dict(zip(odd, COLUMNS.values(), strict=True))
    contract = dataset.contract.model_copy(update={"columns": columns})
    renamed = replace(dataset, contract=contract, X_train=pd.DataFrame(odd))

    assert compile_(renamed, fitted(renamed, "extra_trees")).reason == EQUAL
