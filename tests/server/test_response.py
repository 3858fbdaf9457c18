"""The response to a request, as the model's probabilities, the params and the limits make it."""

import gzip
import json

import numpy as np
import pytest

from pipeline.config.serve import Limits
from pipeline.inference.predictor import Predictor, Trained
from pipeline.server.content_coding import Codings
from pipeline.server.http_error import HTTPError
from pipeline.server.request_json import JSON, Reader
from pipeline.server.response import (
    QUICK_BYTES,
    QUICK_EXPLAINED,
    QUICK_ROWS,
    SlowRequestError,
    respond,
)
from tests.support.pima import CONTRACT, NAMES, PATIENT, text


@pytest.fixture
def reader():
    """Of a model whose probability is the share of the largest Age."""

    def predict(X):
        share = X[:, -1] / 120
        return np.column_stack([1 - share, share])

    identity = {"model": "visits", "version": "7"}
    trained = Trained(0.5, np.full(8, 60.0), np.full(8, 24.0))
    return Reader(Predictor(CONTRACT, predict, trained, identity), Limits().rows)


def body(rows, **params):
    return text({"inputs": rows, "params": params}).encode()


def predictions(reader, body):
    response = respond(reader, body, JSON, is_quick=True)
    predictions = json.loads(response.body)["predictions"]
    assert response.rows == len(predictions)
    return predictions


def test_rows_are_answered_in_their_order(reader):
    rows = [{**PATIENT, "Age": age} for age in (30, 90, 60)]
    assert predictions(reader, body(rows)) == [
        {"label": 0, "probability": 0.25},
        {"label": 1, "probability": 0.75},
        {"label": 1, "probability": 0.5},
    ]
    assert predictions(reader, body([])) == []


def test_params_shape_the_answer(reader):
    rows = [{**PATIENT, "Age": 30}]
    (answer,) = predictions(reader, body(rows, threshold=0.2))
    assert answer == {"label": 1, "probability": 0.25}
    (answer,) = predictions(reader, body(rows, explain=True))
    assert list(answer) == ["label", "probability", "base", "contributions"]
    assert answer["base"] == pytest.approx(0)
    age = {"Age": pytest.approx(np.log(0.25 / 0.75))}
    assert answer["contributions"] == dict.fromkeys(NAMES, pytest.approx(0)) | age


def test_version_stands_once_beside_the_predictions(reader):
    answer = json.loads(respond(reader, body([PATIENT] * 2, version=True), JSON, False).body)
    assert list(answer) == ["predictions", "model", "version"]
    assert (answer["model"], answer["version"]) == ("visits", "7")
    assert answer["predictions"] == predictions(reader, body([PATIENT] * 2))


def test_body_that_unpacks_to_more_than_is_quick_is_slow_and_answered_elsewhere(reader):
    rows = body([PATIENT])
    large = gzip.compress(rows + b" " * QUICK_BYTES)
    small = respond(reader, gzip.compress(rows), JSON, True, Codings(10**6))
    with pytest.raises(SlowRequestError):
        respond(reader, large, JSON, True, Codings(10**6))
    assert respond(reader, large, JSON, False, Codings(10**6)) == small
    members = gzip.compress(rows) + gzip.compress(b"") * 500
    with pytest.raises(SlowRequestError):
        respond(reader, members, JSON, True, Codings(10**6))
    assert respond(reader, members, JSON, False, Codings(10**6)) == small
    with pytest.raises(HTTPError) as refused:  # more than any process reads
        respond(reader, large, JSON, True, Codings(QUICK_BYTES))
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("limit", "params"), [(QUICK_ROWS, {}), (QUICK_EXPLAINED, {"explain": True})]
)
def test_more_rows_than_are_quick_are_slow_and_answered_elsewhere(reader, limit, params):
    assert len(predictions(reader, body([PATIENT] * limit, **params))) == limit
    more = body([PATIENT] * (limit + 1), **params)
    with pytest.raises(SlowRequestError):
        respond(reader, more, JSON, is_quick=True)
    assert respond(reader, more, JSON, is_quick=False).rows == limit + 1


def test_what_is_wrong_is_refused_before_it_is_slow(reader):
    rows = [{**PATIENT, "Age": 7}] * (QUICK_ROWS + 1)
    with pytest.raises(HTTPError) as caught:
        respond(reader, body(rows), JSON, is_quick=True)
    assert (caught.value.status, caught.value.rule) == (400, "range")


def test_answer_that_is_not_finite_is_refused(reader):
    """The column has no range, and the classifier overflows."""
    huge = [{**PATIENT, "Age": 30}, {**PATIENT, "Pregnancies": 25}]
    reader.predictor.predict = lambda X: np.where(X[:, :1] > 24, np.nan, 0.5) * np.ones((1, 2))
    with pytest.raises(HTTPError, match="row 2, Pregnancies: is larger than") as caught:
        predictions(reader, body(huge))
    assert (caught.value.status, caught.value.rule) == (400, "finite")
