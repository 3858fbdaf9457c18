"""The served model in this process: answers, refusals, params, version."""

import json
import logging

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from sklearn.model_selection import FixedThresholdClassifier

from pipeline.export.onnx_graph import translate
from pipeline.inference import manifest, mlflow_flavor, model_folder
from pipeline.inference.mlflow_flavor import ServedModel
from pipeline.inference.predictor import Predictor, Trained
from pipeline.inference.runtimes import of_estimator
from pipeline.models.families import tutorial
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract

COLUMNS = {
    "age": NumberColumn(unit="years", range=(0, 120)),
    "dose": NumberColumn(missing=0, optional=True),
}
ROWS = pd.DataFrame({"age": np.linspace(20, 79, 60), "dose": np.tile([1.0, 2.0, 3.0], 20)})


NAMES = ("healthy", "ill")


def make_contract(classes, positive=None) -> Contract:
    return Contract(columns=COLUMNS, target="y", classes=classes, positive=positive)


def make_model(classes, positive=None):
    labels = np.asarray(classes)[np.arange(60) * len(classes) // 60]  # the older, the later
    model = tutorial()
    if positive is not None:
        model = FixedThresholdClassifier(
            model, threshold=0.4, pos_label=positive, response_method="predict_proba"
        )
    return model.fit(ROWS, labels)


def make_served(classes, positive=None, model=None) -> ServedModel:
    model = make_model(classes, positive) if model is None else model
    contract = make_contract(classes, positive)
    trained = Trained.on(contract, ROWS.to_numpy(), None if positive is None else 0.4)
    return ServedModel(Predictor(contract, of_estimator(model, contract), trained))


def save(folder, model, classes=(0, 1), positive=1, **options) -> str:
    """The address of a folder with a model as MLflow writes it."""
    contract = make_contract(classes, positive)
    mlflow_flavor.save_model(
        str(folder),
        mlflow.models.Model(),
        model,
        contract,
        Trained.on(contract, ROWS.to_numpy(), 0.4, class_names=NAMES),
        signature=mlflow_flavor.signature(contract, 0.4, class_names=NAMES),
        pip_requirements=["scikit-learn"],
        **options,
    )
    return str(folder)


@pytest.mark.parametrize(
    ("classes", "positive"), [((0, 1), 1), (("no", "yes"), "no"), (("a", "b", "c"), None)]
)
def test_frame_of_answers_is_what_the_classifier_says(classes, positive):
    model = make_model(classes, positive)
    served = make_served(classes, positive, model)

    answers = served.predict(ROWS)

    probabilities = model.predict_proba(ROWS)
    expected = probabilities.max(axis=1)
    if positive is not None:
        expected = probabilities[:, classes.index(positive)]
    assert answers["label"].tolist() == model.predict(ROWS).tolist()
    np.testing.assert_array_equal(answers["probability"], expected)
    assert list(served.predict(ROWS.head(0))) == list(answers)


def test_params_of_a_request_reach_the_predictor():
    served = make_served((0, 1), 1)
    served.predictor.model_version = {"model": "visits", "version": "7"}

    answers = served.predict(ROWS.head(2), {"version": True, "explain": True, "threshold": 0.0})

    assert list(answers) == [*("label", "probability", "base", "contributions", "model", "version")]
    assert answers["label"].tolist() == [1, 1]
    pd.testing.assert_frame_equal(served.predict(ROWS, {"threshold": None}), served.predict(ROWS))


@pytest.mark.parametrize(
    ("rows", "params", "message"),
    [
        (ROWS.head(3).assign(age=[30, 777, 40]), {}, "row 2, age: must be at most 120 years"),
        (ROWS[["dose"]], {}, "column 'age' is missing\nexpected columns: age, dose"),
        (ROWS, {"threshold": -0.1}, "params.threshold must be between 0 and 1"),
        (ROWS, {"threshold": float("nan")}, "params.threshold must be between 0 and 1"),
        (ROWS.assign(dose=1e308), {}, "row 1, dose: is larger than in all rows of the training"),
    ],
)
def test_refusal_has_status_400_and_names_the_rule_but_not_the_value(rows, params, message):
    served = make_served((0, 1), 1)
    served.predictor.predict = lambda X: np.where(X[:, 1:] > 1e300, np.nan, 0.5) * np.ones((1, 2))

    with pytest.raises(MlflowException) as refused:
        served.predict(rows, params)

    assert refused.value.message.startswith(message)
    assert refused.value.get_http_status_code() == 400


def test_absent_optional_column_null_and_mark_mean_the_same():
    served = make_served((0, 1), 1)
    age = ROWS[["age"]]
    absent = served.predict(age)
    pd.testing.assert_frame_equal(served.predict(age.assign(dose=np.nan)), absent)
    pd.testing.assert_frame_equal(served.predict(age.assign(dose=0)), absent)
    assert not absent.equals(served.predict(ROWS))


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda X: np.full((len(X), 2), np.nan), "the model's answer is not a finite number"),
        (lambda X: X["age"], "the classifier failed on these rows"),
    ],
)
def test_what_a_model_does_wrong_has_a_sentence_and_no_stack_trace(predict, message):
    served = make_served((0, 1), 1)
    served.predictor.predict = predict

    with pytest.raises(MlflowException, match=message) as error:
        served.predict(ROWS)

    assert error.value.get_http_status_code() == 500
    assert "Traceback" not in error.value.serialize_as_json()


@pytest.mark.parametrize("params", [{}, {"version": True, "explain": True}])
def test_mlflows_server_is_given_records_that_hold_the_same(monkeypatch, params):
    served = make_served((0, 1), 1)
    expected = served.predict(ROWS, params).to_dict(orient="records")
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    assert served.predict(ROWS, params) == expected


def test_signature_is_of_doubles_with_the_threshold_as_default():
    contract = Contract(columns=COLUMNS, target="y", classes=("no", "yes"), positive="yes")
    signature = mlflow_flavor.signature(contract, 0.3)
    assert [column.type.name for column in signature.inputs.inputs] == ["double", "double"]
    assert signature.inputs.required_input_names() == ["age"]
    assert signature.outputs.input_names() == ["label", "probability"]
    assert {spec.name: spec.default for spec in signature.params} == {
        "version": False,
        "explain": False,
        "threshold": 0.3,
    }


def test_both_flavors_load_from_one_folder(tmp_path):
    model = make_model((0, 1), 1)
    folder = save(tmp_path / "model", model)
    loaded = mlflow.pyfunc.load_model(folder)
    bare = mlflow.sklearn.load_model(folder)
    named = loaded.predict(ROWS, {"labels": True})
    assert named["label_name"].tolist() == [NAMES[label] for label in named["label"]]
    pd.testing.assert_frame_equal(loaded.predict(ROWS), make_served((0, 1), 1).predict(ROWS))
    assert bare.predict(ROWS).tolist() == model.predict(ROWS).tolist()
    assert isinstance(bare, FixedThresholdClassifier)


def test_graph_beside_the_model_answers_and_nothing_is_unpickled(tmp_path):
    model = make_model((0, 1), 1)
    graph = translate(model, len(COLUMNS)).SerializeToString()
    folder = save(tmp_path / "model", model, graph=graph)
    (tmp_path / "model" / model_folder.PICKLE).write_bytes(b"no pickle")
    answers = mlflow.pyfunc.load_model(folder).predict(ROWS)
    pd.testing.assert_frame_equal(answers, make_served((0, 1), 1).predict(ROWS), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")  # in MLflow, of pandas 3
def test_example_is_saved_with_its_answer(tmp_path):
    save(tmp_path / "model", make_model((0, 1), 1), input_example=ROWS.head(3))
    saved = json.loads((tmp_path / "model" / model_folder.EXAMPLE_ANSWER).read_text())
    expected = make_served((0, 1), 1).predict(ROWS.head(3)).to_dict(orient="records")
    assert saved == {"predictions": expected}


def test_model_of_another_environment_is_refused_with_status_400(tmp_path, monkeypatch):
    folder = save(tmp_path / "model", make_model((0, 1), 1))
    monkeypatch.setattr(model_folder, "version", lambda name: "0.1")
    with pytest.raises(
        MlflowException, match=r"and this is scikit-learn 0\.1, numpy 0\.1"
    ) as refused:
        mlflow.pyfunc.load_model(folder)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("meta", ["{}", "model_name: visits\nmodel_version: 7\n"])
def test_model_without_a_registry_in_reach_is_served_unverified_and_says_so(
    tmp_path, monkeypatch, caplog, meta
):
    """As in a container with nothing but the model."""
    monkeypatch.setattr(mlflow, "get_registry_uri", lambda: f"sqlite:///{tmp_path}/none.db")
    folder = save(tmp_path / "model", make_model((0, 1), 1))
    (tmp_path / "model" / manifest.REGISTERED).write_text(meta)
    with caplog.at_level(logging.WARNING, "pipeline"):
        loaded = mlflow.pyfunc.load_model(folder)
    (answer, *_) = loaded.predict(ROWS, params={"version": True}).to_dict(orient="records")
    is_registered = "visits" in meta
    warnings = ["visits version 7 is not verified: its registry is out of reach"]
    assert [
        r.getMessage() for r in caplog.records if r.name == "pipeline.inference.mlflow_flavor"
    ] == (warnings if is_registered else [])
    assert (answer["model"], answer["version"]) == (
        ("visits", "7") if is_registered else ("model", "")
    )
    assert not (tmp_path / "none.db").exists()
