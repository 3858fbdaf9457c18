"""The main job and both doors give what they gave when the example was recorded.

`tests/data/pima_example.json` holds the main job on the default config as of commit c5e51ed: the
metrics, the names of files and tags, what was printed, and what both doors answered to the requests
below. What the code gives now is left as `observed*/observed.json` in pytest's temporary folder:
where a difference is meant, that file is the new example.

Numbers may differ by 1e-5 of themselves, the losses of single trials by 1e-3: where the matrix
products are those of other processors, the tutorial's model moves by 4e-6 and one trial by 2e-4.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import FileInfo, Run
from mlflow.pyfunc import scoring_server

from tests.end_to_end.conftest import MainJob
from tests.support.asgi import ask, parts_of
from tests.support.doors import Door
from tests.support.stores import experiments

EXAMPLE = Path(__file__).parents[1] / "data/pima_example.json"
RECORDED = json.loads(EXAMPLE.read_text("utf-8"))
STEPS = ("ingest", "analyze", "tune", "train", "evaluate", "promote")
MEASURED = ("tune", "train", "evaluate", "promote")
JSON, CSV = "application/json", "text/csv"
OK = 200

NAMES = ["Pregnancies", "Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]
NAMES += ["DiabetesPedigreeFunction", "Age"]
FIRST, SECOND = [6, 148, 72, 35, 0, 33.6, 0.627, 50], [1, 85, 66, 29, None, 26.6, 0.351, 31]


def records(*rows: dict[str, Any], **params: Any) -> Any:
    return {"dataframe_records": rows, "params": params} if params else {"dataframe_records": rows}


def patient(**changes: Any) -> dict[str, Any]:
    return {**dict(zip(NAMES, FIRST, strict=True)), **changes}


def split(*rows: list[Any], columns: list[str] = NAMES) -> Any:
    return {"dataframe_split": {"columns": columns, "data": rows}}


def csv(*rows: list[Any]) -> str:
    lines = [NAMES, *rows]
    return "".join(
        ",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in lines
    )


REQUESTS: dict[str, tuple[str, Any]] = {
    "records": (JSON, records(patient(), dict(zip(NAMES, SECOND, strict=True)))),
    "split, columns in another order": (
        JSON,
        split(FIRST[::-1], SECOND[::-1], columns=NAMES[::-1]),
    ),
    "csv": (CSV, csv(FIRST, SECOND)),
    "every param": (JSON, records(patient(), explain=True, version=True, threshold=0.9)),
    "no rows": (JSON, records()),
    "nothing but gaps": (JSON, split([None] * 8)),
    "two of three rows out of range": (
        JSON,
        records(patient(Glucose=900, Age=-5), patient(), patient(BMI=1e308)),
    ),
    "out of range in csv": (CSV, csv(FIRST, [*FIRST[:-1], 500])),
    "text": (JSON, records(patient(Glucose="high"))),
    "number as text": (JSON, records(patient(Glucose="148"))),
    "boolean": (JSON, records(patient(Glucose=True))),
    "not as JSON writes a number": (CSV, csv(["+6", *FIRST[1:]])),
    "unknown column": (JSON, records(patient(Glucoze=148))),
    "missing columns": (JSON, split(FIRST[:3], columns=NAMES[:3])),
    "threshold out of range": (JSON, records(patient(), threshold=4)),
    "unknown param": (JSON, records(patient(), treshold=0.4)),
    "no JSON": (JSON, '{"dataframe_records": ['),
}


@pytest.fixture(scope="module")
def observed(
    main_job: MainJob,
    project: Path,
    plain: Callable[..., Any],
    door: Door,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What the code gives now, in the form of the example."""
    store = MlflowClient(f"sqlite:///{project}/mlflow.db")
    (parent, *_) = store.search_runs(
        experiments(store), "tags.verb = 'run'", order_by=["start_time"]
    )
    steps = {run.info.run_name: run for run in children(store, parent)}
    version = store.get_model_version("pima-diabetes", "1")
    example = {
        "metrics": {
            "run": parent.data.metrics,
            **{step: steps[step].data.metrics for step in ("analyze", "tune")},
            "steps": {k: v for step in MEASURED for k, v in steps[step].data.metrics.items()},
        },
        "trials": {
            run.info.run_name: run.data.metrics["cv/log_loss"]
            for run in sorted(children(store, steps["tune"]), key=trial_number)
        },
        "printed": lines(main_job.stdout),
        "tags": {
            "run": names(parent.data.tags),
            **{step: names(steps[step].data.tags) for step in STEPS},
            "version": names(version.tags),
        },
        "files": {
            "run": files(store.list_artifacts(parent.info.run_id)),
            **{step: files(store.list_artifacts(steps[step].info.run_id)) for step in STEPS},
            "model": files(
                store.list_logged_model_artifacts(version.source.removeprefix("models:/"))
            ),
        },
        "answers": {
            name: {"plain": plain(*request), "guarded": guarded(door, *request)}
            for name, request in REQUESTS.items()
        },
    }
    path = tmp_path_factory.mktemp("observed") / "observed.json"
    path.write_text(json.dumps(rounded(example), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return example


@pytest.fixture(scope="module")
def plain(main_job: object, project: Path) -> Iterator[Callable[..., Any]]:
    """Asks what `mlflow models serve` runs, in this process."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # MLflow puts the model's code first
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
        model = mlflow.pyfunc.load_model("models:/pima-diabetes/1")
        application = scoring_server.init(model)

        def asked(kind: str, body: Any) -> Any:
            messages = parts_of(content(body))
            reply = ask(application, headers={"content-type": kind}, messages=messages)
            return [reply.status, reply.json if reply.status == OK else why(reply.json)]

        yield asked
    mlflow.set_tracking_uri(before)


def guarded(door: Door, kind: str, body: Any) -> Any:
    """What the production door says, without the number of the request."""
    reply = door.post(content(body), kind)
    answer = reply.json
    answer.pop("request_id", None)
    return [reply.status, answer]


def why(refusal: dict[str, str]) -> str:
    """Without what MLflow says before it of the request."""
    return refusal["message"].rpartition("Error: ")[2]


def content(body: Any) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def children(store: MlflowClient, run: Run) -> list[Run]:
    return list(
        store.search_runs(experiments(store), f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    )


def trial_number(run: Run) -> int:
    return int(run.data.tags["trial"])


def lines(printed: str) -> list[str]:
    """Without those of the progress bar, how long each step took, and the ids of runs."""
    return [
        re.sub(r"[0-9a-f]{32}", "RUN", re.sub("took .*", "took", line))
        for line in printed.splitlines()
        if line and not re.search(r"%\|.*\|", line)
    ]


def names(tags: Iterable[str]) -> str:
    """Of tags of the project's own, but for those that are metrics or carry on another."""
    return " ".join(sorted(tag for tag in tags if not re.search(r"^mlflow\.|/|\.\d+$", tag)))


def files(listed: Iterable[FileInfo]) -> str:
    return " ".join(sorted(file.path for file in listed))


def rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.8g}")
        case dict():
            return {key: rounded(one) for key, one in value.items()}
        case list():
            return [rounded(one) for one in value]
        case _:
            return value


def near(recorded: Any, relative: float = 1e-5) -> Any:
    """The same with numbers that equal those near them."""
    match recorded:
        case float():
            return pytest.approx(recorded, rel=relative)
        case dict():
            return {key: near(value, relative) for key, value in recorded.items()}
        case list():
            return [near(value, relative) for value in recorded]
        case _:
            return recorded


@pytest.mark.parametrize("of", RECORDED["metrics"])
def test_main_job_measures_what_it_measured(observed: dict[str, Any], of: str) -> None:
    assert observed["metrics"][of] == near(RECORDED["metrics"][of])


def test_search_tries_what_it_tried(observed: dict[str, Any]) -> None:
    assert observed["trials"] == near(RECORDED["trials"], relative=1e-3)


def test_main_job_prints_what_it_printed(observed: dict[str, Any]) -> None:
    assert observed["printed"] == RECORDED["printed"]


@pytest.mark.parametrize("what", ["tags", "files"])
def test_main_job_leaves_what_it_left(observed: dict[str, Any], what: str) -> None:
    assert observed[what] == RECORDED[what]


@pytest.mark.parametrize("name", REQUESTS)
def test_both_doors_answer_what_they_answered(observed: dict[str, Any], name: str) -> None:
    assert observed["answers"][name] == near(RECORDED["answers"][name])
