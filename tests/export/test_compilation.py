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
from pipeline.export.compilation import TOLERANCE, compile_model, find_difference
from pipeline.export.onnx_graph import translate
from pipeline.export.random_rows import ROWS
from pipeline.inference.runtimes import Linear, of_graph
from pipeline.models import families as models
from pipeline.results import Training
from pipeline.schema.contract import Contract
from pipeline.tasks import BINARY
from tests.support.builders import COLUMNS, make_dataset
from tests.support.mixed import make_mixed_dataset

EQUAL = f"equal on 84 training and {ROWS} random rows"
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


class Custom(LogisticRegression):
    """A user's estimator."""


# What is compiled.


@pytest.mark.parametrize("family", BINARY.every_family)
def test_every_built_in_family_is_compiled(dataset, family):
    model = fitted(dataset, family)

    compiled = compile_(dataset, model)

    assert compiled.reason == EQUAL
    predict = compiled.linear.predict_proba if compiled.linear else of_graph(compiled.graph)
    np.testing.assert_allclose(
        predict(dataset.X_test.to_numpy()),
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

    compiled = compile_(dataset, model.fit(dataset.X_train, dataset.y_train))

    assert compiled.reason == EQUAL


def test_compiling_twice_gives_the_same_graph(dataset):
    model = fitted(dataset, "extra_trees")

    assert compile_(dataset, model) == compile_(dataset, model)


# What is not.


def test_users_estimator_is_not_compiled(dataset):
    model = make_pipeline(models.impute(), Custom()).fit(dataset.X_train, dataset.y_train)

    assert compile_(dataset, model) == compilation.Compilation(
        None, None, "Custom has no translation"
    )


def test_model_with_a_column_of_texts_is_not_compiled():
    dataset = make_mixed_dataset(with_texts=True)

    compiled = compile_(dataset, models.plain())

    assert compiled.summary == "no: 'note' holds texts, and a graph takes numbers alone"


@pytest.mark.parametrize("is_used", [True, False])
def test_boosting_with_categories_is_compiled(dataset, is_used):
    """Also where no tree asks for one: scikit-learn moves such columns to the front."""
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=["flag"])
    y = dataset.X_train["flag"] > 0 if is_used else dataset.y_train

    compiled = compile_(dataset, model.fit(dataset.X_train, y))

    assert compiled.graph is not None
    assert compiled.reason.startswith("equal on")


@pytest.mark.parametrize("error", [AttributeError("no _predictors"), RuntimeError("no kernel")])
def test_whatever_goes_wrong_in_translation_is_the_reason(dataset, monkeypatch, error):
    """Private attributes may go in the next scikit-learn: the model is served as it is then."""

    def fails(model, columns):
        raise error

    monkeypatch.setattr(compilation, "collapse", lambda _: None)
    monkeypatch.setattr(compilation, "translate", fails)

    compiled = compile_(dataset, fitted(dataset))

    assert (compiled.graph, compiled.reason) == (None, f"{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("family", "largest"), [("hist_gradient_boosting", 1.7e308), ("extra_trees", 3e38)]
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_column_of_giants_does_not_end_the_training(dataset, family, largest):
    """Rows of the proof go beyond the training part, where doubles end, and a forest's floats."""
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

    compiled = compile_(dataset, model.fit(dataset.X_train, dataset.y_train))

    assert compiled.reason == EQUAL
    assert (compiled.linear is not None, compiled.graph is None) == (is_linear, is_linear)
    assert compiled.summary == f"{'collapsed' if is_linear else 'ONNX'}, {EQUAL}"


def test_linear_pipeline_of_three_classes_is_no_sum(tmp_path):
    three = make_dataset(("a", "b", "c"), None)

    compiled = compile_(three, fitted(three, "logistic_regression", **STANDARD), None)

    assert (compiled.linear, compiled.reason[:5]) == (None, "equal")


def test_collapse_that_is_wrong_is_refused(dataset, monkeypatch):
    other = compilation.collapse(fitted(dataset, C=1e-6))
    monkeypatch.setattr(compilation, "collapse", lambda _: other)

    compiled = compile_(dataset, fitted(dataset))

    assert (compiled.linear, compiled.graph) == (None, None)
    assert compiled.reason.startswith("on 84 training rows, probabilities differ by up to 0.")
    assert compiled.summary == f"no: {compiled.reason}"


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

    compiled = compile_(dataset, model)

    assert compiled.graph is None
    assert (
        compiled.reason == f"on 84 training rows, probabilities differ by up to {apart.max():.2g}"
    )


def test_graph_that_is_wrong_beside_the_training_rows_only_is_refused(dataset, monkeypatch):
    """A tree that asks once more whether the flag is missing, which none is in training."""
    model, other = fitted(dataset), fitted(dataset)
    other[0].statistics_[list(COLUMNS).index("flag")] = 0.3
    assert not dataset.X_train["flag"].isna().any()
    lies(monkeypatch, other)

    compiled = compile_(dataset, model)

    assert compiled.graph is None
    assert compiled.reason.startswith(f"on {ROWS} random rows, probabilities differ by up to ")


def test_graph_within_the_tolerance_that_changes_a_label_is_refused(dataset, monkeypatch):
    model, other = fitted(dataset), fitted(dataset)
    other[-1].intercept_ = other[-1].intercept_ - 1e-7
    threshold = model.predict_proba(dataset.X_train)[7, 1]
    lies(monkeypatch, other)

    compiled = compile_(dataset, model, threshold)

    assert (compiled.graph, compiled.reason) == (None, "on 84 training rows, 1 labels differ")


THREE = Contract(columns=COLUMNS, target="label", classes=("a", "b", "c"), positive=None)


@pytest.mark.parametrize(
    ("contract", "threshold", "before", "after", "reason"),
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
def test_difference_is_of_probabilities_or_labels(contract, threshold, before, after, reason):
    models_ = [lambda X, answer=answer: np.array(answer) for answer in (before, after)]

    assert find_difference(*models_, np.zeros((3, 1)), contract, threshold) == reason


def test_proof_names_the_columns_as_the_model_does(dataset):
    """Else scikit-learn would warn, which is an error here."""
    odd = dataset.X_train.rename(columns={"height": "od280/od315: x"})
    columns = dict(zip(odd, COLUMNS.values(), strict=True))
    contract = dataset.contract.model_copy(update={"columns": columns})
    renamed = replace(dataset, contract=contract, X_train=pd.DataFrame(odd))

    assert compile_(renamed, fitted(renamed, "extra_trees")).reason == EQUAL


def test_proof_of_many_training_rows_is_of_a_sample_and_says_so(dataset, monkeypatch):
    monkeypatch.setattr(compilation, "MOST_ROWS", 20)
    compiled = compile_(dataset, fitted(dataset))
    assert f"equal on 20 of {len(dataset.X_train)} training and" in compiled.summary
