import json

import numpy as np
import pytest

from pipeline.config.sections import Limits
from pipeline.inference.predictor import Predictor, Trained
from pipeline.server.http_error import HTTPError
from pipeline.server.request_json import Reader
from pipeline.server.response import QUICK_EXPLAINED, QUICK_ROWS, SlowRequest, respond
from tests.support.pima import CONTRACT, NAMES, PATIENT, text

JSON = "application/json"


@pytest.fixture
def reader():
    """Of a model whose probability is the share of the largest Age."""

    def predict(X):
        share = X[:, -1] / 120
        return np.column_stack([1 - share, share])

    identity = {"model": "visits", "version": "7"}
    trained = Trained(0.5, np.full(8, 60.0), np.full(8, 24.0))
    return Reader(Predictor(CONTRACT, predict, trained, identity), Limits().rows)


def asked(rows, **params):
    return text({"inputs": rows, "params": params}).encode()


def answered(reader, body):
    found = respond(reader, body, JSON, is_quick=True)
    predictions = json.loads(found.body)["predictions"]
    assert found.rows == len(predictions)
    return predictions


def test_rows_are_answered_in_their_order(reader):
    rows = [{**PATIENT, "Age": age} for age in (30, 90, 60)]

    assert answered(reader, asked(rows)) == [
        {"label": 0, "probability": 0.25},
        {"label": 1, "probability": 0.75},
        {"label": 1, "probability": 0.5},
    ]


def test_no_rows_get_no_answers(reader):
    assert answered(reader, asked([])) == []


def test_params_shape_the_answer(reader):
    (told,) = answered(reader, asked([{**PATIENT, "Age": 30}], threshold=0.2, version=True))
    assert told == {"label": 1, "probability": 0.25, "model": "visits", "version": "7"}

    (told,) = answered(reader, asked([{**PATIENT, "Age": 30}], explain=True))
    assert list(told) == ["label", "probability", "base", "contributions"]
    assert told["base"] == pytest.approx(0)
    assert list(told["contributions"]) == NAMES
    assert told["contributions"]["Age"] == pytest.approx(np.log(0.25 / 0.75))
    assert told["contributions"]["BMI"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("most", "params"), [(QUICK_ROWS, {}), (QUICK_EXPLAINED, {"explain": True})]
)
def test_more_rows_than_are_quick_are_heavy_and_answered_elsewhere(reader, most, params):
    assert len(answered(reader, asked([PATIENT] * most, **params))) == most

    more = asked([PATIENT] * (most + 1), **params)
    with pytest.raises(SlowRequest):
        respond(reader, more, JSON, is_quick=True)
    assert respond(reader, more, JSON, is_quick=False).rows == most + 1


def test_what_is_wrong_is_refused_before_it_is_heavy(reader):
    rows = [{**PATIENT, "Age": 7}] * (QUICK_ROWS + 1)

    with pytest.raises(HTTPError) as refused:
        respond(reader, asked(rows), JSON, is_quick=True)

    assert (refused.value.status, refused.value.rule) == (400, "range")


def test_an_answer_that_is_not_finite_is_refused(reader):
    """The column has no range, and the classifier overflows."""
    huge = [{**PATIENT, "Age": 30}, {**PATIENT, "Pregnancies": 25}]
    reader.predictor.predict = lambda X: np.where(X[:, :1] > 24, np.nan, 0.5) * np.ones((1, 2))

    with pytest.raises(HTTPError) as refused:
        answered(reader, asked(huge))

    assert (refused.value.status, refused.value.rule) == (400, "finite")
    assert "row 2, Pregnancies: is larger than" in refused.value.message
