"""The served model in this process: answers, refusals, params, identity."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline

from pipeline import serving
from pipeline.columns import Column
from pipeline.contract import Contract
from pipeline.models import tutorial
from pipeline.serving import ServedModel

COLUMNS = {
    "age": Column(unit="years", range=(0, 120)),
    "dose": Column(missing=0, optional=True),
}
ROWS = pd.DataFrame({"age": np.linspace(20, 79, 60), "dose": np.tile([1.0, 2.0, 3.0], 20)})


def make_served(classes, positive=None, identity=None) -> ServedModel:
    labels = np.asarray(classes)[np.arange(60) * len(classes) // 60]  # the older, the later
    model = tutorial()
    if positive is not None:
        model = FixedThresholdClassifier(
            model, threshold=0.4, pos_label=positive, response_method="predict_proba"
        )
    contract = Contract(columns=COLUMNS, target="y", classes=classes, positive=positive)
    return ServedModel(model.fit(ROWS, labels), contract, identity or {})


@pytest.mark.parametrize(
    ("classes", "positive"),
    [((0, 1), 1), ((0, 1), 0), (("no", "yes"), "yes"), ((False, True), True)],
)
def test_label_has_the_targets_type_and_probability_is_the_positive_classs(classes, positive):
    served = make_served(classes, positive)
    answers = served.predict(ROWS)
    expected = served.model.predict_proba(ROWS)[:, classes.index(positive)]
    assert [type(label) for label in answers["label"].tolist()] == [type(classes[0])] * 60
    assert answers["label"].tolist() == served.model.predict(ROWS).tolist()
    np.testing.assert_array_equal(answers["probability"], expected)
    assert list(answers) == ["label", "probability"]


def test_three_classes_have_a_probability_each():
    answers = make_served(("a", "b", "c")).predict(ROWS)
    each = answers[["probability_a", "probability_b", "probability_c"]]
    assert answers["label"].tolist() == [name[-1] for name in each.idxmax(axis=1)]
    np.testing.assert_array_equal(answers["probability"], each.max(axis=1))


@pytest.mark.parametrize(("classes", "positive"), [((0, 1), 1), (("a", "b", "c"), None)])
def test_no_rows_get_no_answers_with_the_same_names(classes, positive):
    served = make_served(classes, positive)
    none = served.predict(ROWS.head(0))
    assert len(none) == 0
    assert list(none) == list(served.predict(ROWS))


def test_absent_optional_column_null_and_mark_mean_the_same():
    served = make_served((0, 1), 1)
    age = ROWS[["age"]]
    absent = served.predict(age)
    pd.testing.assert_frame_equal(served.predict(age.assign(dose=np.nan)), absent)
    pd.testing.assert_frame_equal(served.predict(age.assign(dose=0)), absent)
    assert not absent.equals(served.predict(ROWS))


def test_threshold_of_a_request_replaces_the_models():
    served = make_served((0, 1), 1)
    probability = served.predict(ROWS)["probability"]
    for threshold in (0.0, 0.4, 0.7, 1.0):
        labels = served.predict(ROWS, {"threshold": threshold})["label"]
        assert labels.tolist() == (probability >= threshold).astype(int).tolist()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(MlflowException, match=r"params\.threshold must be between 0 and 1"):
        make_served((0, 1), 1).predict(ROWS, {"threshold": threshold})


def test_version_adds_the_models_name_to_each_answer():
    served = make_served((0, 1), 1, {"model": "visits", "version": "7"})
    answers = served.predict(ROWS, {"version": True})
    assert set(answers["model"]) == {"visits"}
    assert set(answers["version"]) == {"7"}
    assert list(served.predict(ROWS, {"version": False})) == ["label", "probability"]


def test_refusal_names_row_column_and_rule_but_not_the_value():
    rows = ROWS.head(3).assign(age=[30, 777, 40])
    with pytest.raises(MlflowException) as refused:
        make_served((0, 1), 1).predict(rows)
    assert refused.value.message == "row 2, age: must be at most 120 years"
    assert refused.value.get_http_status_code() == 400


def test_signature_is_of_doubles_with_the_threshold_as_default():
    contract = Contract(columns=COLUMNS, target="y", classes=("no", "yes"), positive="yes")
    signature = serving.signature(contract, 0.3)
    assert [column.type.name for column in signature.inputs.inputs] == ["double", "double"]
    assert signature.inputs.required_input_names() == ["age"]
    assert signature.outputs.input_names() == ["label", "probability"]
    assert {spec.name: spec.default for spec in signature.params} == {
        "version": False,
        "threshold": 0.3,
    }


def test_both_flavors_load_from_one_folder(tmp_path):
    served = make_served((0, 1), 1)
    serving.save_model(
        str(tmp_path / "model"),
        mlflow.models.Model(),
        served.model,
        served.contract,
        signature=serving.signature(served.contract, 0.4),
        pip_requirements=["scikit-learn"],
    )
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    bare = mlflow.sklearn.load_model(str(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.predict(ROWS), served.predict(ROWS))
    assert bare.predict(ROWS).tolist() == served.model.predict(ROWS).tolist()
    assert isinstance(bare, FixedThresholdClassifier)


def test_a_model_without_threshold_is_served_by_its_likeliest_class():
    model = make_pipeline(LogisticRegression()).fit(ROWS, np.arange(60) % 3)
    contract = Contract(columns=COLUMNS, target="y", classes=(0, 1, 2), positive=None)
    answers = ServedModel(model, contract, {}).predict(ROWS)
    assert answers["label"].tolist() == model.predict(ROWS).tolist()
