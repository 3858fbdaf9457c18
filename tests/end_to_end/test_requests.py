"""How often the commands ask a tracking server: each request costs a user a round trip."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow import MlflowClient

from pipeline import flow
from pipeline.config.sections import Config
from pipeline.verbs import Options
from tests.end_to_end.conftest import served
from tests.support.promotion_lab import STRONG, WEAK, Lab, aliases

MODEL = "counted"


@pytest.fixture(scope="module")
def lab(store: Path) -> Iterator[Lab]:
    """A small table beside a real server, which hands out the artifacts too."""
    MlflowClient().search_experiments()  # makes the database, in less time than the server would
    command = ("mlflow", "server", "--backend-store-uri", mlflow.get_tracking_uri())
    with served(store, *command) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", MODEL)  # made by the server, so its files are there
        mlflow.set_tracking_uri(address)
        yield Lab(store)


def config(lab: Lab, C: float) -> Config:
    """Of a search of eight trials."""
    one = lab.config(MODEL, C)
    return one.model_copy(update={"tune": one.tune.model_copy(update={"max_evals": 8})})


def count(verb: str, config: Config, **options: Any) -> Counter[str]:
    """The requests of a command, by method and path."""
    counts: Counter[str] = Counter()
    send = requests.Session.send

    def counted(
        session: requests.Session, request: requests.PreparedRequest, **settings: Any
    ) -> requests.Response:
        counts[f"{request.method} {request.path_url}"] += 1
        return send(session, request, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", counted)
        flow.run(verb, config, Options(**options))
    return counts


def downloads(counts: Counter[str]) -> list[int]:
    """How often each model was downloaded that was."""
    return [
        number
        for call, number in counts.items()
        if call.startswith("GET ") and call.endswith("/model.pkl")
    ]


def newest(client: MlflowClient, step: str) -> str:
    """The id of the run of the step that began last."""
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    order = ["attributes.start_time DESC"]
    result = client.search_runs([experiment], f"tags.step = '{step}'", order_by=order)
    return str(result[0].info.run_id)


@pytest.mark.usefixtures("no_pictures")
def test_commands_ask_a_server_a_bounded_number_of_times(lab: Lab) -> None:
    client = MlflowClient()
    first = count("run", config(lab, WEAK))
    again = count("run", config(lab, WEAK))
    assert aliases(client, MODEL) == {"champion": "1"}
    flow.run("evaluate", config(lab, STRONG), Options())
    evaluated = newest(client, "evaluate")
    named = count("promote", config(lab, STRONG), run=evaluated)
    assert aliases(client, MODEL) == {"champion": "2", "previous": "1"}
    assert first.total() <= 195
    assert again.total() <= 39
    assert named.total() <= 95
    assert downloads(first) == [1]  # trained, tested and served
    assert downloads(again) == [1]  # the champion, held against its manifest
    assert downloads(named) == [1, 1]  # the candidate and the champion
