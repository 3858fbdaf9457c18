"""The full check: a real server in a process of its own."""

import psutil
import pytest
from mlflow import MlflowClient

from pipeline.errors import ModelError
from pipeline.promotion import http_check
from pipeline.tracking import registry
from tests.support.promotion_lab import STRONG, Lab, aliases, latest, rules


def test_full_check_starts_a_server_and_leaves_none(lab: Lab, client: MlflowClient, monkeypatch):
    """Keys and certificates of the environment are for others."""
    monkeypatch.setenv("PIPELINE_API_KEYS", "alice:" + "0" * 64)
    monkeypatch.setenv("UVICORN_SSL_CERTFILE", "nowhere.crt")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    lab.promote(lab.config("full", STRONG, serve_check="full"))
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    rule = rules(latest(client))["gate.latency"]
    assert rule["passed"]
    assert 0 < rule["figures"]["seconds"] < 0.1
    assert rule["figures"]["requests"] > 20
    assert aliases(client, "full") == {"champion": "1"}
    assert after - before <= {child for child in after if _is_tracker(child)}


def _is_tracker(pid: int) -> bool:
    """Python's own, which lives as long as this process."""
    return any("resource_tracker" in word for word in psutil.Process(pid).cmdline())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((57, "", 0.2), "in 200.00 ms, beyond gate.latency 0.1 s"),
        ((57, "a request gives an answer", 0.001), "over HTTP, a request gives an answer"),
    ],
)
def test_server_that_is_slow_or_wrong_keeps_the_candidate_out(
    lab, client, monkeypatch, result, message
):
    monkeypatch.setattr(http_check, "check", lambda *_: result)
    lab.promote(lab.config("slow", STRONG, serve_check="full"))
    rule = rules(latest(client))["gate.latency"]
    assert rule["passed"] is False
    assert message in rule["sentence"]
    assert aliases(client, "slow") == {}


def test_server_that_does_not_start_is_told(lab, client, monkeypatch):
    monkeypatch.setattr(http_check, "START_SECONDS", 30.0)
    monkeypatch.setattr(http_check, "_serve", print)  # ends at once
    config = lab.config("broken", STRONG)
    with pytest.raises(ModelError, match="did not start"), http_check._served(config, "1"):
        pass


def test_full_check_is_not_made_of_a_candidate_that_is_out_already(lab, client):
    lab.promote(lab.config("out", STRONG, serve_check="full", floors={"accuracy": 1.0}))
    assert "gate.latency" not in rules(latest(client))
    assert registry.champion("out") is None
