"""The request log of a real server, which `monitor` reads with labels that came later."""

import json
import signal
from pathlib import Path

from tests.end_to_end.conftest import Run
from tests.support.doors import PATIENT, open_door

LARGE = 1500  # rows, for the process beside the server


def test_rows_that_two_workers_answered_are_monitored_with_labels_that_came_later(
    main_job: object, project: Path, run: Run
) -> None:
    folder = project / "request-log"
    with open_door(project, "--workers", "2", "--serve.log.path", str(folder)) as door:
        large = door.post({"inputs": [PATIENT] * LARGE}, X_Request_Id="large")
        small = [door.post({"inputs": [PATIENT]}) for _ in range(20)]
        assert door.post({"inputs": [{}]}).status == 400
        door.process.send_signal(signal.SIGTERM)
        assert door.process.wait(30) == 0

    lines = [json.loads(text) for one in folder.iterdir() for text in one.read_text().splitlines()]
    ids = {"large", *(reply.headers["x-request-id"] for reply in small)}
    assert {line["request_id"] for line in lines} == ids
    assert len(lines) == LARGE + len(small)
    answers = [line["predicted_probability"] for line in lines if line["request_id"] == "large"]
    assert answers == [one["probability"] for one in large.json["predictions"]]

    labels = [f"large,{row},{row % 2}" for row in range(1, LARGE + 1)]
    (project / "labels.csv").write_text("\n".join(["request_id,row,Outcome", *labels]))
    options = ("--labels", "labels.csv", "--key", "request_id,row")
    done = run("python", "-m", "pipeline", "monitor", "--data", str(folder), *options)
    assert done.returncode == 4, done.stdout + done.stderr  # all rows are one patient's
    assert f"{LARGE} of {len(lines)} rows have a label in labels.csv" in done.stdout + done.stderr
