"""The real `mlflow models serve` over HTTP: answers and refusals."""

import json
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.end_to_end.conftest import ROOT
from tests.support.doors import PATIENT


def post(endpoint: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{endpoint}/invocations", data=data, headers={"Content-Type": kind}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def one(endpoint: str, patient: dict[str, Any], **params: Any) -> tuple[int, Any]:
    return post(endpoint, {"dataframe_records": [patient], "params": params})


def test_answer_has_label_and_probability(endpoint: str) -> None:
    status, answer = one(endpoint, PATIENT)
    (prediction,) = answer["predictions"]
    assert status == 200
    assert prediction["label"] == int(prediction["probability"] >= 0.5)
    assert set(prediction) == {"label", "probability"}


def test_readme_shows_the_real_answer(endpoint: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    body = re.search(r"-d '(\{.*?\})'", readme, re.DOTALL)
    shown = re.search(r'^\{"predictions".*$', readme, re.MULTILINE)
    assert body is not None
    assert shown is not None
    status, answer = post(endpoint, body[1])
    assert status == 200
    for got, told in zip(answer["predictions"], json.loads(shown[0])["predictions"], strict=True):
        assert got["label"] == told["label"]
        # Other processors round otherwise, and the search may take another turn.
        assert got["probability"] == pytest.approx(told["probability"], abs=0.05)


def test_every_form_of_request_gives_the_same_answer(endpoint: str) -> None:
    _, records = one(endpoint, PATIENT)
    names, values = list(PATIENT), list(PATIENT.values())
    csv = ",".join(names) + "\n" + ",".join(map(str, values)) + "\n"
    forms = [
        post(endpoint, {"dataframe_split": {"columns": names, "data": [values]}}),
        post(endpoint, {"inputs": [PATIENT]}),
        post(endpoint, {"inputs": {name: [value] for name, value in PATIENT.items()}}),
        post(endpoint, csv, "text/csv"),
    ]
    for status, answer in forms:
        assert status == 200
        assert answer["predictions"] == records["predictions"]


@pytest.mark.parametrize("gap", [None, 0])
def test_missing_value_is_imputed(endpoint: str, gap: float | None) -> None:
    status, answer = one(endpoint, {**PATIENT, "Glucose": gap})
    _, full = one(endpoint, PATIENT)
    assert status == 200
    assert answer["predictions"][0]["probability"] != full["predictions"][0]["probability"]


def test_null_and_mark_mean_the_same(endpoint: str) -> None:
    assert one(endpoint, {**PATIENT, "BMI": None}) == one(endpoint, {**PATIENT, "BMI": 0})


def test_rows_are_answered_in_order(endpoint: str) -> None:
    rows = [{**PATIENT, "Glucose": glucose} for glucose in (190, 80, 140)]
    status, answer = post(endpoint, {"dataframe_records": rows})
    got = [prediction["probability"] for prediction in answer["predictions"]]
    each = [one(endpoint, row)[1]["predictions"][0]["probability"] for row in rows]
    assert status == 200
    assert got == pytest.approx(each)


def test_fraction_is_not_cut_off(endpoint: str) -> None:
    whole = one(endpoint, {**PATIENT, "Pregnancies": 1})[1]["predictions"][0]["probability"]
    half = one(endpoint, {**PATIENT, "Pregnancies": 1.9})[1]["predictions"][0]["probability"]
    assert half != whole


def test_threshold_moves_the_decision_for_one_request(endpoint: str) -> None:
    low = one(endpoint, PATIENT, threshold=0.01)[1]["predictions"][0]
    high = one(endpoint, PATIENT, threshold=0.99)[1]["predictions"][0]
    assert (low["label"], high["label"]) == (1, 0)
    assert low["probability"] == high["probability"]


def test_version_tells_which_model_spoke(endpoint: str) -> None:
    prediction = one(endpoint, PATIENT, version=True)[1]["predictions"][0]
    assert (prediction["model"], prediction["version"]) == ("pima-diabetes", "1")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"Glucose": 900}, "row 1, Glucose: must be at most 600 mg/dL"),
        ({"Age": -5}, "row 1, Age: must be at least 18 years"),
        ({"BMI": 1e308}, "row 1, BMI: must be at most 100 kg/m²"),
        ({"Glucose": "high"}, "Glucose"),
    ],
)
def test_bad_row_is_refused_with_a_sentence(
    endpoint: str, change: dict[str, Any], sentence: str
) -> None:
    status, answer = one(endpoint, {**PATIENT, **change})
    assert status == 400
    assert sentence in answer["message"]
    assert "Traceback" not in json.dumps(answer)
    assert ".py" not in json.dumps(answer)


def test_bad_row_refuses_its_whole_request(endpoint: str) -> None:
    rows = [PATIENT, {**PATIENT, "Glucose": 900}]
    status, answer = post(endpoint, {"dataframe_records": rows})
    assert status == 400
    assert "row 2, Glucose" in answer["message"]
    assert "predictions" not in answer


def test_missing_column_is_refused(endpoint: str) -> None:
    status, answer = one(endpoint, {k: v for k, v in PATIENT.items() if k != "Glucose"})
    assert status == 400
    assert "Glucose" in answer["message"]


def test_threshold_outside_0_and_1_is_refused(endpoint: str) -> None:
    status, answer = one(endpoint, PATIENT, threshold=4.0)
    assert status == 400
    assert "params.threshold must be between 0 and 1" in answer["message"]
