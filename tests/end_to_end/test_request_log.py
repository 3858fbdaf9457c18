"""The logs of a real server, of its requests and of its shadow, which `monitor` reads."""

import json
import re
import signal
from pathlib import Path

from mlflow import MlflowClient

from tests.end_to_end.conftest import Run, working_in
from tests.support.doors import PATIENT, eventually, open_door

LARGE = 1500  # rows, for the process beside the server
SMALL = 20  # requests of one row


def test_rows_that_two_workers_answered_are_monitored_with_labels_that_came_later(
    main_job: object, project: Path, run: Run
) -> None:
    """The shadow is a second version of the same model, so it differs nowhere."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    first = client.get_model_version_by_alias("pima-diabetes", "champion")
    same = {"run_id": first.run_id, "tags": first.tags, "model_id": first.model_id}
    with working_in(project, f"sqlite:///{project}/mlflow.db"):  # where its files are looked for
        second = client.create_model_version("pima-diabetes", first.source, **same)
    folder, shadows = project / "request-log", project / "both"
    logs = ("--serve.log.path", str(folder), "--serve.shadow_log", str(shadows))
    options = ("--workers", "2", *logs, "--serve.shadow", str(second.version))
    try:
        with open_door(project, *options) as door:

            def compared() -> float:
                metrics = door.get("/metrics").content.decode()
                (count,) = re.findall(r"^serve_shadow_rows_total (\S+)$", metrics, re.MULTILINE)
                return float(count)

            large = door.post({"inputs": [PATIENT] * LARGE}, X_Request_Id="large")
            small = [door.post({"inputs": [PATIENT]}) for _ in range(SMALL)]
            assert door.post({"inputs": [{}]}).status == 400
            assert eventually(lambda: compared() == LARGE + SMALL)
            door.process.send_signal(signal.SIGTERM)
            assert door.process.wait(30) == 0

        lines = [json.loads(text) for text in texts(folder)]
        ids = {"large", *(reply.headers["x-request-id"] for reply in small)}
        assert {line["request_id"] for line in lines} == ids
        assert len(lines) == LARGE + SMALL
        answers = [one["predicted_probability"] for one in lines if one["request_id"] == "large"]
        assert answers == [one["probability"] for one in large.json["predictions"]]
        both = [json.loads(text) for text in texts(shadows)]
        assert {line["request_id"] for line in both} == ids
        assert {(one["champion"], one["shadow"]) for one in both} == {("1", str(second.version))}

        labels = [f"large,{row},{row % 2}" for row in range(1, LARGE + 1)]
        (project / "labels.csv").write_text("\n".join(["request_id,row,Outcome", *labels]))
        joined = ("--labels", "labels.csv", "--key", "request_id,row")
        done = run("python", "-m", "pipeline", "monitor", "--data", str(folder), *joined)
        assert done.returncode == 4, done.stdout + done.stderr  # all rows are one patient's
        assert f"{LARGE} of {len(lines)} rows have a label in labels.csv" in done.stdout
        monitored = ("-e", "monitor", "-P", "shadow=true", "-P", f"data={shadows}")
        done = run("mlflow", "run", ".", "--env-manager", "local", *monitored)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{LARGE + SMALL} rows, and version {second.version} beside it" in done.stdout
    finally:
        client.delete_model_version("pima-diabetes", second.version)  # others share the store


def texts(folder: Path) -> list[str]:
    """The lines of all files."""
    return [text for one in folder.iterdir() for text in one.read_text().splitlines()]
