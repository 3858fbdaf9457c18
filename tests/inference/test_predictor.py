import json

import numpy as np
import pytest

from pipeline.errors import ContractError, ModelError
from pipeline.export.onnx_builder import TranslationError
from pipeline.export.onnx_graph import translate
from pipeline.inference import runtimes
from pipeline.inference.predictor import MOST_EXPLAINED, TOO_LARGE, Params, Predictor, Trained
from pipeline.inference.runtimes import Linear, of_estimator
from pipeline.models import families as models
from pipeline.schema.columns import CategoryColumn, NumberColumn, OrdinalColumn
from pipeline.schema.contract import Contract
from pipeline.tasks import BINARY
from tests.support.builders import make_dataset

PARAMS = Params()


def make_predictor(labels=(0, 1), positive=1, threshold=0.4) -> Predictor:
    dataset = make_dataset(labels, positive)
    model = models.build("logistic_regression", {}, 0).fit(dataset.X_train, dataset.y_train)
    return predictor_of(model, dataset, threshold)


def predictor_of(model, dataset, threshold=0.4) -> Predictor:
    trained = Trained.on(dataset.contract, dataset.X_train.to_numpy(), threshold)
    return Predictor(dataset.contract, of_estimator(model, dataset.contract), trained)


@pytest.fixture(scope="module")
def two():
    return make_predictor()


@pytest.fixture(scope="module")
def three():
    return make_predictor(("a", "b", "c"), None, None)


@pytest.fixture(scope="module")
def dataset_of_two():
    return make_dataset()


@pytest.fixture(scope="module")
def rows():
    return make_dataset().X_test.to_numpy()


# Params.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Params()),
        ({"threshold": 0}, Params(threshold=0)),
        ({"threshold": 1}, Params(threshold=1)),
        ({"threshold": 0.25, "version": True}, Params(threshold=0.25, version=True)),
        ({"explain": True, "version": False}, Params(explain=True)),
    ],
)
def test_params_are_taken(two, given, expected):
    assert two.params(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"SECRET": 1}, "params may hold threshold, version, explain only"),
        ({"Threshold": 0.5}, "params may hold threshold, version, explain only"),
        ({"labels": True}, "params may hold threshold, version, explain only"),  # without names
        ({"threshold": True}, "params.threshold must be a number"),
        ({"threshold": "0.5"}, "params.threshold must be a number"),
        ({"threshold": [0.5]}, "params.threshold must be a number"),
        ({"threshold": -0.1}, "params.threshold must be between 0 and 1"),
        ({"threshold": 987654}, "params.threshold must be between 0 and 1"),
        ({"threshold": float("nan")}, "params.threshold must be between 0 and 1"),
        ({"threshold": 10**400}, "params.threshold must be between 0 and 1"),
        ({"version": 1}, "params.version must be true or false"),
        ({"version": "yes"}, "params.version must be true or false"),
        ({"explain": 0}, "params.explain must be true or false"),
    ],
)
def test_params_that_break_a_rule_are_refused(two, given, message):
    with pytest.raises(ContractError) as error:
        two.params(given)

    assert (str(error.value), error.value.rule) == (message, "params")


def test_there_is_no_threshold_past_two_classes(three):
    with pytest.raises(ContractError, match=r"^params may hold version, explain only$"):
        three.params({"threshold": 0.5})


# Answers.


@pytest.mark.parametrize(("threshold", "expected"), [(0.3, 0.3), (None, 0.5)])
def test_label_is_the_positive_class_from_the_models_threshold_on(rows, threshold, expected):
    asked = make_predictor(("no", "yes"), "no", threshold)
    probability = asked.predict(rows)[:, 0]

    answers = asked.answers(rows, PARAMS)

    assert answers["probability"] == probability.tolist()
    assert answers["label"] == ["no" if p >= expected else "yes" for p in probability]


def test_threshold_of_a_request_replaces_the_models_and_belongs_to_the_positive_side(two, rows):
    (probability,) = two.answers(rows[:1], PARAMS)["probability"]

    above = two.answers(rows[:1], Params(threshold=np.nextafter(probability, 1)))
    at = two.answers(rows[:1], Params(threshold=probability))
    assert (above["label"], at["label"]) == ([0], [1])
    assert two.answers(rows, Params(threshold=0))["label"] == [1] * len(rows)


def test_names_of_the_classes_stand_beside_the_labels_where_they_are_asked_for(rows):
    predictor = make_predictor((0, 1, 2), None, None)
    predictor.trained = predictor.trained._replace(class_names=("healthy", "ill", "very ill"))
    answers = predictor.answers(rows, predictor.params({"labels": True}))
    names = {"healthy": 0, "ill": 1, "very ill": 2}
    assert [names[name] for name in answers.pop("label_name")] == answers["label"]
    assert answers == predictor.answers(rows, predictor.params({"labels": False}))


@pytest.mark.parametrize("params", [Params(), Params(explain=True, version=True)])
@pytest.mark.parametrize("name", ["two", "three"])
def test_no_rows_get_no_answers(request, rows, name, params):
    asked = request.getfixturevalue(name)

    answers = asked.answers(rows[:0], params)

    assert list(answers) == list(asked.answers(rows[:2], params))
    assert set(map(len, answers.values())) == {0}


def test_version_adds_name_and_number_to_each_row(rows):
    asked = make_predictor()
    asked.model_version = {"model": "visits", "version": "7"}

    answers = asked.answers(rows[:2], Params(version=True))

    assert (answers["model"], answers["version"]) == (["visits"] * 2, ["7"] * 2)
    assert "model" not in asked.answers(rows[:2], PARAMS)


def log_odds(probability):
    return np.log(probability / (1 - probability))


@pytest.mark.parametrize("place", [0, 1])
def test_explanation_leads_to_the_positive_classs_log_odds(rows, place):
    asked = make_predictor((0, 1), place)

    answers = asked.answers(rows[:5], Params(explain=True))

    for probability, base, shares in zip(
        *(answers[name] for name in ("probability", "base", "contributions")), strict=True
    ):
        assert list(shares) == ["height", "gap", "noise", "flag"]
        assert base == pytest.approx(log_odds(asked.predict(asked.reference[None])[0, place]))
        assert base + sum(shares.values()) == pytest.approx(log_odds(probability))


def test_explanation_past_two_classes_is_of_the_label(three, rows):
    answers = three.answers(rows[:5], Params(explain=True))

    places = ["abc".index(label) for label in answers["label"]]
    expected = log_odds(three.predict(three.reference[None])[0, places])
    np.testing.assert_allclose(answers["base"], expected)
    reached = [
        base + sum(shares.values())
        for base, shares in zip(answers["base"], answers["contributions"], strict=True)
    ]
    np.testing.assert_allclose(reached, log_odds(np.array(answers["probability"])))


def test_explanation_takes_missing_values(two, rows):
    gaps = np.full_like(rows[:1], np.nan)

    answers = two.answers(gaps, Params(explain=True))

    assert np.isfinite(list(answers["contributions"][0].values())).all()


def test_as_many_rows_are_explained_as_a_request_may_ask(two, rows):
    most = np.resize(rows, (MOST_EXPLAINED, rows.shape[1]))

    assert len(two.answers(most, Params(explain=True))["base"]) == MOST_EXPLAINED
    with pytest.raises(ContractError, match=r"^params\.explain takes at most 100 rows$") as error:
        two.answers(np.vstack([most, most[:1]]), Params(explain=True))
    assert error.value.rule == "params"


def test_answers_are_plain_python_for_every_encoder(two, three, rows):
    for asked in (two, three):
        answers = asked.answers(rows[:2], Params(explain=True, version=True))
        assert json.loads(json.dumps(answers)) == answers


# Numbers so large that no answer is finite.

FAMILIES = [*BINARY.families, "raw_logistic_regression"]
HUGE = [(1e308, 1e308), (1e308, -1e308), (-1.7e308, 1e308), (1e155, -1e155), (-1e39, 0), (0, 1e20)]


@pytest.fixture(scope="module", params=[2, 3], ids="{} classes".format)
def fitted(request):
    """By family, the fitted model; and the data set."""
    labels, positive = ((0, 1), 1) if request.param == 2 else (("a", "b", "c"), None)
    dataset = make_dataset(labels, positive)
    X = dataset.X_train.fillna(0)
    return dataset, {
        family: models.build(family, {}, 0).fit(X, dataset.y_train) for family in FAMILIES
    }


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scikit-learn's, of the overflow itself
def test_huge_numbers_have_a_finite_answer_or_are_refused_by_row_and_column(
    fitted, family, is_compiled
):
    dataset, by_family = fitted
    asked = predictor_of(by_family[family], dataset)
    if is_compiled:
        try:
            graph = translate(by_family[family], 4)
        except TranslationError:
            pytest.skip("it is not compiled")
        asked.predict = runtimes.of_graph(graph.SerializeToString())
    usual = dataset.X_test.fillna(0).to_numpy()[:1]
    for pair in HUGE:
        X = np.vstack([usual, usual])
        X[1, :2] = pair
        huge = [name for name, value in zip(("height", "gap"), pair, strict=True) if value]
        refused = "\n".join(f"row 2, {name}: {TOO_LARGE}" for name in sorted(huge))
        assert finite_or_refused(asked, X) in ("finite", ("finite", refused))


def finite_or_refused(asked, X):
    """Whether all numbers are finite, or the rule and the message of the refusal."""
    try:
        answers = asked.answers(X, Params(explain=True))
    except ContractError as error:
        return error.rule, str(error)
    numbers = [answers["probability"], answers["base"]]
    numbers += [list(shares.values()) for shares in answers["contributions"]]
    return "finite" if np.isfinite(np.concatenate(numbers)).all() else "not finite"


def test_rows_that_overflow_are_refused_whichever_way_the_sum_goes(dataset_of_two):
    asked = predictor_of(None, dataset_of_two)
    asked.predict = Linear([0.0] * 4, [5.0, 5.0, -9.0, 0.0], 0.0).predict_proba
    for X in ([[1e308, 1e308, 1e308, 0]], [[1e308] * 4] * 100, [[1e308, 0, 0, 0]]):
        with pytest.raises(ContractError, match="row 1, height: is larger than"):
            asked.answers(np.array(X), PARAMS)


def test_an_answer_that_is_not_finite_for_usual_rows_is_the_models_fault(dataset_of_two):
    X = dataset_of_two.X_train.to_numpy()
    asked = predictor_of(None, dataset_of_two)
    asked.predict = lambda X: np.full((len(X), 2), np.nan)
    with pytest.raises(ModelError, match="not a finite number"):
        asked.answers(X[:2], PARAMS)


def test_what_a_classifier_raises_on_usual_rows_is_not_blamed_on_them(dataset_of_two):
    X = dataset_of_two.X_train.to_numpy()
    asked = predictor_of(None, dataset_of_two)

    def fail(_):
        raise ZeroDivisionError

    asked.predict = fail
    with pytest.raises(ZeroDivisionError):
        asked.answers(X[:2], PARAMS)
    with pytest.raises(ContractError, match="row 1, noise: is larger than"):
        asked.answers(np.array([[0, 0, 1e9, 0]]), PARAMS)


# What the training part leaves for the predictor.


def test_training_part_is_measured_by_column():
    columns = {
        "a": NumberColumn(),
        "b": NumberColumn(),
        "kind": CategoryColumn(levels=("x", "y", "z")),
        "size": OrdinalColumn(levels=("s", "m", "l")),
    }
    contract = Contract(columns=columns, target="y", classes=(0, 1), positive=1)
    rows = [[1, np.nan, 2, 2], [2, 5, np.nan, 0], [-9, 7, 0, 1], [1, 6, 2, 2]]
    X_train = np.array(rows, dtype=np.float64)

    trained = Trained.on(contract, X_train, 0.4)

    assert trained.threshold == 0.4
    assert trained.reference.tolist() == [1.0, 6.0, 2.0, 1.0]  # median, mode, a level there is
    assert trained.magnitude.tolist() == [9.0, 7.0, 2.0, 2.0]
