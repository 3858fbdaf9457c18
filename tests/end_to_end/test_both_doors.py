"""Both doors over real sockets: MLflow's own, and the production door, which answers alike."""

import json
import re
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.end_to_end.conftest import ROOT
from tests.support.doors import JSON, PATIENT, Door
from tests.support.malformed import MALFORMED, SENTINELS

NAMES, VALUES = list(PATIENT), list(PATIENT.values())
CSV = (",".join(NAMES) + "\n" + ",".join(map(str, VALUES)) + "\n").encode()
FORMS = {
    "records": {"dataframe_records": [PATIENT, {**PATIENT, "Glucose": None}]},
    "split": {"dataframe_split": {"columns": NAMES, "data": [VALUES, VALUES]}},
    "split, index": {"dataframe_split": {"columns": NAMES, "data": [VALUES], "index": [7]}},
    "split, no rows": {"dataframe_split": {"columns": NAMES, "data": []}},
    "inputs, records": {"inputs": [PATIENT]},
    "inputs, columns": {"inputs": {name: [value, value] for name, value in PATIENT.items()}},
    "inputs, values": {"inputs": PATIENT},
    "instances, columns": {"instances": {name: [value] for name, value in PATIENT.items()}},
    "threshold": {"inputs": [PATIENT], "params": {"threshold": 0.99}},
    "explain": {"inputs": [PATIENT], "params": {"explain": True, "version": False}},
}


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


# MLflow's own: `mlflow models serve`.


def test_readme_shows_the_real_answer(endpoint: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    body = re.search(r"-d '(\{.*?\})'", readme, re.DOTALL)
    example = re.search(r'^\{"predictions".*$', readme, re.MULTILINE)
    assert body is not None
    assert example is not None
    status, answer = post(endpoint, body[1])
    assert status == 200
    for got, expected in zip(
        answer["predictions"], json.loads(example[0])["predictions"], strict=True
    ):
        assert got["label"] == expected["label"]
        # Other processors round otherwise, and the search may take another turn.
        assert got["probability"] == pytest.approx(expected["probability"], abs=0.05)


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


def test_bad_row_refuses_its_whole_request_with_a_sentence(endpoint: str) -> None:
    rows = [PATIENT, {**PATIENT, "Glucose": 900}]
    status, answer = post(endpoint, {"dataframe_records": rows})
    assert status == 400
    assert "row 2, Glucose: must be at most 600 mg/dL" in answer["message"]
    assert "predictions" not in answer
    assert not any(word in json.dumps(answer) for word in ("Traceback", ".py"))


# The production door.


@pytest.mark.parametrize("form", FORMS)
def test_both_doors_give_the_same_answer(door: Door, endpoint: str, form: str) -> None:
    reply = door.post(FORMS[form])
    plain_status, plain = post(endpoint, FORMS[form])
    assert (reply.status, plain_status) == (200, 200)
    assert reply.json == plain


def test_both_doors_name_the_version_once_and_in_each_row(door: Door, endpoint: str) -> None:
    body = {"inputs": [PATIENT, PATIENT], "params": {"version": True}}
    reply, version = door.post(body), {"model": "pima-diabetes", "version": "1"}
    assert reply.json.items() >= version.items()
    rows = [{**row, **version} for row in reply.json["predictions"]]
    assert post(endpoint, body) == (200, {"predictions": rows})


def test_both_doors_read_the_same_csv(door: Door, endpoint: str) -> None:
    assert door.post(CSV, "text/csv").json == post(endpoint, CSV.decode(), "text/csv")[1]


def test_no_rows_get_an_empty_answer(door: Door) -> None:
    for body in ({"dataframe_records": []}, {"inputs": []}, FORMS["split, no rows"]):
        reply = door.post(body)
        assert (reply.status, reply.json) == (200, {"predictions": []})


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_both_doors_have_the_same_routes(door: Door, endpoint: str, path: str) -> None:
    with urllib.request.urlopen(endpoint + path) as plain:
        assert door.get(path).content == plain.read()


def test_malformed_requests_are_refused_by_rule_and_without_their_data(door: Door) -> None:
    """All in a row, on one server: none of them may hurt the next."""
    wrong = []
    for case in MALFORMED:
        headers = {"Content-Type": case.kind} if case.kind else {}
        reply = door.ask("POST", "/invocations", case.body, **headers)
        text = reply.content.decode()
        keys = {"error_code", "message", "request_id"}
        is_right = (
            reply.status == case.status
            and reply.headers["content-type"] == JSON
            and set(reply.json) == keys
            and reply.json["request_id"] == reply.headers["x-request-id"]
            and all(word in reply.json["message"] for word in case.words)
            and not any(word in text for word in ("Traceback", ".py", *SENTINELS))
        )
        if not is_right:
            wrong.append((case.name, reply.status, text[:200]))
    assert wrong == []
    assert door.predict()["label"] == 1


def test_every_answer_tells_the_request_and_the_model(door: Door) -> None:
    replies = [door.get(path) for path in ("/ping", "/model", "/metrics", "/nothing", "/docs")]
    replies += [door.post({"inputs": [PATIENT]}), door.post(b"{"), door.ask("PUT", "/ping")]
    for reply in replies:
        assert reply.headers["x-model-version"] == "1"
        assert reply.headers["x-request-id"]
    assert len({reply.headers["x-request-id"] for reply in replies}) == len(replies)


def test_request_id_of_the_caller_is_kept_if_it_is_sensible(door: Door) -> None:
    assert door.get("/ping", X_Request_ID="abc-1").headers["x-request-id"] == "abc-1"
    assert door.get("/ping", X_Request_ID="a b\t").headers["x-request-id"] != "a b"


def test_model_page_tells_what_answers(door: Door) -> None:
    model = door.get("/model").json
    assert (model["name"], model["version"]) == ("pima-diabetes", "1")
    assert model["compiled"] is True
    assert 0 < model["metrics"]["test/roc_auc"] < 1
    assert model["contract"]["columns"]["Glucose"]["unit"] == "mg/dL"


def test_openapi_describes_this_model_and_docs_show_it(door: Door) -> None:
    described = door.get("/openapi.json").json
    age = described["components"]["schemas"]["Row"]["properties"]["Age"]
    assert (age["minimum"], age["maximum"]) == (18, 120)
    assert "openapi.json" in door.get("/docs").content.decode()


def test_example_of_the_openapi_description_is_answered(door: Door) -> None:
    operation = door.get("/openapi.json").json["paths"]["/invocations"]["post"]
    assert door.post(operation["requestBody"]["content"][JSON]["example"]).status == 200


def test_metrics_count_requests_rows_and_broken_rules(door: Door) -> None:
    before = counts(door)
    door.post({"inputs": [PATIENT] * 3})
    door.post({"inputs": [{**PATIENT, "Age": 7}]})
    after = counts(door)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown("serve_rows_total") == 3
    assert grown('serve_requests_total{path="/invocations",status="200"}') == 1
    assert grown('serve_requests_total{path="/invocations",status="400"}') == 1
    assert grown('serve_refusals_total{rule="range"}') == 1
    assert grown('serve_request_seconds_count{path="/invocations"}') == 2
    assert after['serve_model_version{model="pima-diabetes"}'] == 1


def test_log_has_a_line_per_request_without_its_data(door: Door) -> None:
    secret = {**PATIENT, "Age": 119.98765}
    request_id = door.post({"inputs": [secret]}).headers["x-request-id"]
    line = door.wait_for("request", request_id=request_id)
    assert (line["status"], line["rows"], line["model_version"]) == (200, 1, "1")
    assert 0 < line["ms"] < 10_000
    assert "119.98765" not in door.log.read_text()


def test_large_request_is_answered_as_small_ones_are(door: Door) -> None:
    rows = [{**PATIENT, "Age": 21 + place % 60} for place in range(3000)]
    large = door.post({"dataframe_records": rows}).json["predictions"]
    small = door.post({"dataframe_records": rows[:300]}).json["predictions"]
    assert len(large) == 3000
    for one, other in zip(large, small, strict=False):
        assert one["label"] == other["label"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-12)


def test_explanation_adds_up_to_the_log_odds(door: Door) -> None:
    from math import log

    reply = door.post({"inputs": [PATIENT], "params": {"explain": True}})
    (answer,) = reply.json["predictions"]
    p = answer["probability"]
    total = answer["base"] + sum(answer["contributions"].values())
    assert total == pytest.approx(log(p / (1 - p)))
    assert list(answer["contributions"]) == NAMES


def test_many_clients_at_once_get_their_own_answers(door: Door) -> None:
    expected = {age: door.predict(Age=age) for age in range(20, 60)}
    wrong: list[int] = []

    def ask(age: int) -> None:
        if any(door.predict(Age=age) != expected[age] for _ in range(10)):
            wrong.append(age)

    threads = [threading.Thread(target=ask, args=(age,)) for age in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_page_of_the_door_shows_how_a_refusal_looks(door: Door) -> None:
    page = (ROOT / "docs/door.md").read_text("utf-8")
    refusal = door.post({"inputs": [{**PATIENT, "Glucose": 900}]}).json
    assert json.dumps(refusal["message"]) in page


def counts(door: Door) -> dict[str, float]:
    lines = door.get("/metrics").content.decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
